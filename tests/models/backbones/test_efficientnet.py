"""EfficientNet: the compound rule, both paddings, dropped paths, geometry."""

import draw
from flax import nnx
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import ops
from boneage_jax.models.backbones import efficientnet

EfficientNet = efficientnet.EfficientNet


def abstract(**arguments):
  """Build without memory; return the net and its two trees."""
  net = nnx.eval_shape(lambda: EfficientNet(rngs=nnx.Rngs(0), **arguments))
  _, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)
  return net, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def size(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  'variant, parameters',  # as Keras counts them, less its 7 of the input
  [
    ('b0', 4_049_571),
    ('b3', 10_783_535),
    ('b4', 17_673_823),
  ],
)
def test_parameter_counts(variant, parameters):
  _, *trees = abstract(variant=variant)
  assert size(trees) == parameters - 7


def test_map_shapes():
  for arguments, hwc, shape in [
    ({}, (224, 224, 3), (2, 7, 7, 1280)),
    ({'padding': 'torch'}, (225, 97, 3), (2, 8, 4, 1280)),
    ({'variant': 'b4', 'endpoint': 'block5'}, (380, 380, 3), (2, 24, 24, 160)),
    ({'width': 0.25, 'in_channels': 1}, (100, 100, 1), (2, 4, 4, 320)),
  ]:
    net, params, _ = abstract(**arguments)
    image = jax.ShapeDtypeStruct((2, *hwc), jnp.float32)
    assert nnx.eval_shape(lambda net, x: net(x), net, image).shape == shape
    assert net.channels == shape[-1]
    assert set(net.stages) == set(params)
  net, params, stats = abstract(width=0.25, dtype=jnp.bfloat16)
  leaves = jax.tree.leaves((params, stats))
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype('float32')}
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  out = nnx.eval_shape(lambda net, x: net(x), net, image)
  assert out.dtype == jnp.bfloat16


def test_channels_do_not_fall_by_more_than_a_tenth():
  assert efficientnet.scale_channels(32, 1.4) == 48  # 44.8
  assert efficientnet.scale_channels(16, 1.1) == 16  # 17.6
  assert efficientnet.scale_channels(11, 1.0) == 16  # 8 would be 27 % less
  assert efficientnet.scale_channels(16, 0.25) == 8


@pytest.mark.parametrize('form', ['shifted', 'native'])
@pytest.mark.parametrize('kernel', [3, 5])
@pytest.mark.parametrize('hw', [(7, 10), (8, 1)])
@pytest.mark.parametrize('even', [False, True])
def test_strided_depthwise(monkeypatch, form, kernel, hw, even):
  """Both forms, value and gradients, against a dense convolution."""
  monkeypatch.setattr(ops, 'FORM', form)
  x = draw.normal((2, *hw, 4))
  taps = draw.normal((kernel, kernel, 1, 4), 1)
  padding = kernel // 2 if even else 'SAME'

  def dense(x, taps):
    diagonal = taps * jnp.eye(4)[None, None]
    sides = [(padding, padding)] * 2 if even else padding
    return lax.conv_general_dilated(
      x, diagonal, (2, 2), sides, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )

  ours = lambda x, taps: ops.depthwise(x, taps, 2, padding)
  results = []
  for function in (ours, dense):
    y = jax.jit(function)(x, taps)
    weight = jnp.cos(jnp.arange(y.size)).reshape(y.shape)
    loss = lambda *a, f=function, w=weight: jnp.sum(f(*a) * w)
    results.append((y, jax.jit(jax.grad(loss, (0, 1)))(x, taps)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    *results,
  )


def test_paddings_are_different_functions_of_the_same_kernels():
  out = []
  x = draw.normal((1, 32, 32, 3))
  for padding in efficientnet.PADDINGS:
    net = EfficientNet(
      width=0.25, endpoint='block2', padding=padding, rngs=nnx.Rngs(0)
    )
    net.eval()
    out.append(nnx.jit(lambda net, x: net(x))(net, x))
    assert (
      net.block1.a.project.bn.epsilon == {'tf': 1e-3, 'torch': 1e-5}[padding]
    )
  assert out[0].shape == out[1].shape
  assert float(jnp.abs(out[0] - out[1]).max()) > 1e-3


def test_gate_and_shortcut():
  """A closed gate leaves the shortcut; an open one doubles a half-open."""
  net = EfficientNet(width=0.25, endpoint='block2', rngs=nnx.Rngs(0))
  net.eval()
  block = net.block2.b
  assert (block.residual, net.block2.a.residual) == (True, False)
  x = draw.normal((2, 8, 8, block.channels))
  gate = block.gate.expand
  gate.kernel[...] = jnp.zeros_like(gate.kernel[...])
  path = nnx.jit(lambda block, x: block(x) - x)
  paths = []
  for bias in (-100.0, 0.0, 100.0):  # sigmoid 0, 1/2, 1
    gate.bias[...] = jnp.full_like(gate.bias[...], bias)
    paths.append(np.asarray(path(block, x)))
  np.testing.assert_allclose(paths[0], 0, atol=1e-6)
  np.testing.assert_allclose(paths[2], 2 * paths[1], rtol=1e-3, atol=1e-5)
  assert np.abs(paths[2]).max() > 0.01


def test_paths_are_dropped_film_by_film_more_so_deeper():
  net = EfficientNet(
    width=0.25, endpoint='block4', drop_path=0.8, rngs=nnx.Rngs(0)
  )
  blocks = [
    getattr(getattr(net, name), block)
    for name in ('block1', 'block2', 'block3', 'block4')
    for block in 'abc'
    if hasattr(getattr(net, name), block)
  ]
  rates = [block.drop.rate for block in blocks]
  np.testing.assert_allclose(rates, 0.05 * np.arange(8), atol=1e-12)
  block = net.block4.c
  x = draw.normal((64, 4, 4, block.channels))
  block.eval()
  run = nnx.jit(lambda block, x, rngs: block(x, rngs) - x)
  path = np.asarray(run(block, x, None))
  block.drop.deterministic = False  # and BatchNorm's statistics stay
  dropped = np.asarray(run(block, x, nnx.Rngs(1)))
  kept = np.abs(dropped).max((1, 2, 3)) > 0
  assert 0.4 < kept.mean() < 0.9
  wanted = np.where(kept[:, None, None, None], path / 0.65, 0)
  np.testing.assert_allclose(dropped, wanted, rtol=1e-3, atol=1e-5)


def test_remat_drops_the_same_paths(monkeypatch):
  monkeypatch.setattr(ops, 'FORM', 'native')  # compiles faster
  x = draw.normal((8, 16, 16, 3))
  results = []
  for remat in (False, True):
    net = EfficientNet(
      width=0.25, endpoint='block2', remat=remat, rngs=nnx.Rngs(0)
    )
    net.block2.b.drop.rate = 0.5
    graph, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)

    def loss(params, stats, graph=graph):
      net = nnx.merge(graph, params, stats, copy=True)
      net.train()
      out = jnp.square(net(x, nnx.Rngs(3))).mean()
      return out, nnx.to_pure_dict(nnx.state(net, nnx.BatchStat))

    step = jax.jit(jax.grad(loss, has_aux=True))
    results.append(step(nnx.to_pure_dict(params), nnx.to_pure_dict(stats)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    *results,
  )


@pytest.mark.parametrize('padding', efficientnet.PADDINGS)
@pytest.mark.parametrize('size', [96, 101])
def test_positions_lie_where_their_receptive_fields_are(padding, size):
  net = EfficientNet(
    width=0.1, endpoint='block3', padding=padding, rngs=nnx.Rngs(0)
  )
  net.eval()
  for _, module in nnx.iter_modules(net):
    if isinstance(module, efficientnet.SqueezeExcite):  # sees the whole map
      module.expand.kernel[...] = jnp.zeros_like(module.expand.kernel[...])
  hw = (size, size + 7)
  image = draw.normal((1, *hw, 3))
  grid = net.grid_geometry(hw)
  response = lambda x, row: jnp.sum(jnp.square(net(x)[0, row, 6]))
  gradient = jax.jit(jax.grad(response))
  for row in (5, 6):
    reach = np.abs(np.asarray(gradient(image, row)))
    for axis, position in ((1, row), (2, 6)):
      seen = np.flatnonzero(reach.sum((0, 3 - axis, 3)))
      assert seen[0] > 0 and seen[-1] < hw[axis - 1] - 1  # inside the image
      centre, (step, first) = (seen[0] + seen[-1] + 1) / 2, grid[axis - 1]
      assert step == 8
      np.testing.assert_allclose(centre, first + step * position, atol=0.51)


def test_wrong_arguments_are_named():
  with pytest.raises(ValueError, match=r"one of b0, .*, not 'b8'"):
    abstract(variant='b8')
  with pytest.raises(ValueError, match="one of tf, torch, not 'keras'"):
    abstract(padding='keras')
  with pytest.raises(ValueError, match="no endpoint 'block8'"):
    abstract(endpoint='block8')
