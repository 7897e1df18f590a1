"""GoogLeNet: published sizes, pooling, normalisation, auxiliary heads."""

import itertools

import draw
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import googlenet
from boneage_jax.models.weights import load as load_weights

GoogLeNet = googlenet.GoogLeNet
OUTPUTS = 1024 * 1000 + 1000  # parameters of a last layer of ImageNet


def abstract(**arguments):
  return nnx.eval_shape(lambda: GoogLeNet(rngs=nnx.Rngs(0), **arguments))


def size(net, kind=nnx.Param):
  leaves = jax.tree.leaves(nnx.to_pure_dict(nnx.state(net, kind)))
  return sum(leaf.size for leaf in leaves)


def map_shape(net, *hw):
  image = jax.ShapeDtypeStruct((1, *hw, 3), jnp.float32)
  return nnx.eval_shape(lambda net, x: net(x), net, image).shape


def test_parameters_are_torchvisions():
  assert size(abstract()) + OUTPUTS == 6_624_904
  assert size(abstract(auxiliary=True)) + 3 * OUTPUTS == 13_004_888


def test_maps_of_both_forms():
  for form in googlenet.FORMS:
    # 224 pixels give 7 places as published; 301 an odd side before a pooling.
    assert map_shape(abstract(form=form), 224, 301) == (1, 7, 9, 1024)
  assert size(abstract(form='paper'), nnx.BatchStat) == 0
  with pytest.raises(ValueError, match="torchvision, paper, not 'caffe'"):
    abstract(form='caffe')


@pytest.mark.parametrize('length', [6, 7, 8, 9])
def test_the_last_window_may_hang_over(length):
  x = draw.normal((1, length, length, 2))
  found = np.asarray(ops.max_pool(x, 3, 2, 'CEIL'))
  starts = range(0, length - 1, 2)  # of windows of two pixels or three
  wanted = [
    [np.asarray(x)[0, i : i + 3, j : j + 3].max((0, 1)) for j in starts]
    for i in starts
  ]
  np.testing.assert_array_equal(found[0], wanted)


@pytest.mark.parametrize('hw', [(14, 14), (4, 9), (3, 5)])
def test_adaptive_pooling_is_pytorchs(hw):
  x = np.asarray(draw.normal((1, *hw, 2)), np.float64)
  wanted = np.zeros((4, 4, 2))
  for i, j in itertools.product(range(4), repeat=2):
    (a, b), (c, d) = (
      (int(np.floor(k * n / 4)), int(np.ceil((k + 1) * n / 4)))
      for k, n in zip((i, j), hw, strict=True)
    )
    wanted[i, j] = x[0, a:b, c:d].mean((0, 1))
  found = ops.adaptive_avg_pool(jnp.asarray(x, jnp.float32), 4)
  np.testing.assert_allclose(found[0], wanted, rtol=1e-5, atol=1e-6)


def test_normalisation_is_over_neighbouring_channels():
  x = np.asarray(draw.normal((1, 2, 1, 7)), np.float64) * 100
  wanted = np.zeros_like(x)
  for c in range(7):
    near = x[..., max(c - 2, 0) : c + 3]
    scale = 1 + 1e-4 / 5 * np.sum(near**2, -1)
    wanted[..., c] = x[..., c] / scale**0.75
  found = layers.local_response_norm(jnp.asarray(x, jnp.float32))
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  assert np.abs(wanted / x).min() < 0.9  # it does something


def test_auxiliary_heads_follow_their_blocks(monkeypatch):
  monkeypatch.setattr(ops, 'FORM', 'native')  # compiles faster
  net = GoogLeNet(
    width=0.05, auxiliary=True, endpoint='inception4b', rngs=nnx.Rngs(0)
  )
  assert abstract(auxiliary=True, endpoint='inception4d').auxiliaries == (
    'aux1',
  )
  net.eval()
  assert net.auxiliaries == ('aux1',)
  x = draw.normal((2, 64, 64, 3))

  @nnx.jit
  def run(net, x):
    middle = net.run(x, stop=3 + 1)  # to inception4a
    last = net.run(middle, start=3 + 1)
    return net.features_and_auxiliaries(x), last, net.aux1(middle, None)

  (found, numbers), last, wanted = run(net, x)
  np.testing.assert_allclose(found, last, rtol=1e-5, atol=1e-6)
  assert numbers['aux1'].shape == (2, 48)
  np.testing.assert_allclose(numbers['aux1'], wanted, rtol=1e-5, atol=1e-6)
  assert np.abs(np.asarray(wanted)).max() > 0


@pytest.mark.large
def test_equal_to_torchvision(tmp_path):
  """All heads, on a film of odd sides; torchvision draws its own weights."""
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  operators = torch.library.Library('torchvision', 'DEF')
  try:  # builds for other accelerators lack the operators that they check
    operators.define('nms(Tensor d, Tensor s, float t) -> Tensor')
    operators.define('qnms(Tensor d, Tensor s, float t) -> Tensor')
  except RuntimeError:
    pass
  torchvision = pytest.importorskip(
    'torchvision', reason='torchvision is not installed'
  )
  safetensors = pytest.importorskip('safetensors.numpy')
  torch.manual_seed(0)
  theirs = torchvision.models.googlenet(
    weights=None, aux_logits=True, init_weights=False
  )
  for module in theirs.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      module.running_mean.uniform_(-0.3, 0.3)
      module.running_var.uniform_(0.7, 1.3)
  weights = {k: v.numpy() for k, v in theirs.state_dict().items()}
  path = str(tmp_path / 'googlenet.safetensors')
  safetensors.save_file(weights, path)
  make = lambda: GoogLeNet(auxiliary=True, rngs=nnx.Rngs(0))
  graph, params, stats = nnx.split(
    nnx.eval_shape(make), nnx.Param, nnx.BatchStat
  )
  params, stats, report = load_weights.load(
    path, nnx.to_pure_dict(params), nnx.to_pure_dict(stats), 'googlenet'
  )
  assert not report.missing + report.unexpected + report.fresh
  net = nnx.merge(graph, params, stats)
  net.eval()
  theirs.eval()
  x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 225, 257))
  x = torch.tensor(x, dtype=torch.float32)
  kept = {}
  for name in ('inception5b', 'aux1.fc1', 'aux2.fc1'):
    theirs.get_submodule(name).register_forward_hook(
      lambda _, __, out, name=name: kept.update({name: out.numpy()})
    )
  with torch.no_grad():
    theirs(x)
    for head, block in (('aux1', 'inception4a'), ('aux2', 'inception4d')):
      maps = {}
      hook = theirs.get_submodule(block).register_forward_hook(
        lambda _, __, out, maps=maps: maps.update(out=out)
      )
      theirs(x)
      hook.remove()
      theirs.get_submodule(head)(maps['out'])
  ours, numbers = nnx.jit(lambda net, x: net.features_and_auxiliaries(x))(
    net, jnp.asarray(x.numpy().transpose(0, 2, 3, 1))
  )
  wanted = {'inception5b': kept['inception5b'].transpose(0, 2, 3, 1)}
  found = {'inception5b': ours}
  for head in ('aux1', 'aux2'):
    wanted[head] = np.maximum(kept[f'{head}.fc1'], 0)
    found[head] = numbers[head]
  for name, value in wanted.items():
    error = np.abs(np.asarray(found[name]) - value).max()
    assert error < 1e-4 * np.abs(value).max(), name
