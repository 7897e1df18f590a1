"""m46 against the paper's counts, NumPy and PyTorch."""

import draw
from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax import models
from boneage_jax.models import ops
from boneage_jax.models.backbones import m46
from boneage_jax.training import step as train_step
from configs import common

SIZE = (132, 128)


def section(width=1.0, **changes):
  """The `net` section of m46 for one number."""
  fields = dict(output='unit', sex_features=0, dropout=0.3) | changes
  return ConfigDict(
    common.age_net(backbone=dict(name='m46', width=width), pool='mlp', **fields)
  )


def small(hidden=16, **changes):
  """A net of few channels, its statistics and biases moved from 0 and 1."""
  config = section(0.0625, hidden=hidden, **changes)
  net = models.create(config, size=SIZE, seed=1)
  rng = np.random.default_rng(2)
  for _, module in nnx.iter_modules(net):
    if isinstance(module, nnx.BatchNorm):
      for value in (module.mean, module.bias):
        value[...] = jnp.asarray(rng.normal(0, 0.2, value.shape), jnp.float32)
      for value in (module.var, module.scale):
        value[...] = jnp.asarray(rng.uniform(0.5, 2, value.shape), jnp.float32)
    elif getattr(module, 'bias', None) is not None:
      bias = module.bias
      bias[...] = jnp.asarray(rng.normal(0, 0.1, bias.shape), jnp.float32)
  net.eval()
  return net


def answer(net, image):
  return np.asarray(nnx.jit(lambda n, x: n({'image': x})['age'])(net, image))


def pixels(count=2):
  return draw.greys((count, *SIZE, 1), 3)


def test_counts_at_the_size_of_the_paper():
  _, params, _ = train_step.abstract_net(section(), (500, 375))
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  assert count(params) == 24_751_201
  assert count(params['backbone']) == 1_676_384
  assert params['pool']['fc1']['kernel'].shape == (9216, 2048)
  assert params['age_head']['fc']['kernel'].shape == (2048, 1)


def test_maps_of_other_inputs():
  """Of the metacarpal region, and of the least input."""
  net = nnx.eval_shape(lambda: m46.M46(width=0.25, rngs=nnx.Rngs(0)))
  for size, hw in (((300, 700), (3, 9)), ((127, 127), (1, 1))):
    assert net.map_hw(size) == hw
  with pytest.raises(ValueError, match='no map of 500 x 126 pixels at block6'):
    net.map_hw((500, 126))


def test_kernels_are_he_normal_by_what_goes_out():
  net = m46.M46(width=0.25, endpoint='block3', rngs=nnx.Rngs(0))
  for block in (net.block2, net.block3):
    for layer, taps in ((block.conv1, 9), (block.conv2, 1)):
      kernel = np.asarray(layer.conv.kernel[...])
      deviation = np.sqrt(2 / (taps * kernel.shape[-1]))
      spread = 3 / np.sqrt(kernel.size)  # of the estimate, share
      np.testing.assert_allclose(kernel.std(), deviation, rtol=spread)
      assert np.abs(kernel).max() > 2.2 * deviation  # no uniform, sqrt(3)


def test_a_block_is_convolution_elu_norm_twice_then_the_pool():
  """A block in NumPy, float64."""
  net = small().backbone.block1
  x = np.asarray(draw.normal((1, 13, 10, 1), 4), np.float64)
  get = lambda value: np.asarray(value[...], np.float64)

  def norm(x, bn):
    scale = get(bn.scale) / np.sqrt(get(bn.var) + 1e-5)
    return (x - get(bn.mean)) * scale + get(bn.bias)

  elu = lambda x: np.where(x > 0, x, np.expm1(x))
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
  out = np.einsum('byxcij,ijco->byxo', windows, get(net.conv1.conv.kernel))
  out = norm(elu(out + get(net.conv1.conv.bias)), net.conv1.bn)
  out = out @ get(net.conv2.conv.kernel)[0, 0] + get(net.conv2.conv.bias)
  out = norm(elu(out), net.conv2.bn)
  windows = np.lib.stride_tricks.sliding_window_view(out, (3, 3), (1, 2))
  expected = windows[:, ::2, ::2].max((-1, -2))
  found = nnx.jit(lambda net, x: net(x))(net, jnp.asarray(x, jnp.float32))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_it_is_the_net_of_pytorch(monkeypatch):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  monkeypatch.setattr(ops, 'FORM', 'native')
  net, image = small(), pixels()
  tensor = lambda value, order: torch.from_numpy(
    np.transpose(np.asarray(value[...]), order).copy()
  )
  chain = []
  for name in net.backbone.stages:
    block = getattr(net.backbone, name)
    for layer in (block.conv1, block.conv2):
      rows, _, before, after = layer.conv.kernel[...].shape
      conv = torch.nn.Conv2d(before, after, rows, padding=rows // 2)
      conv.weight.data = tensor(layer.conv.kernel, (3, 2, 0, 1))
      conv.bias.data = tensor(layer.conv.bias, (0,))
      norm = torch.nn.BatchNorm2d(after)
      norm.weight.data = tensor(layer.bn.scale, (0,))
      norm.bias.data = tensor(layer.bn.bias, (0,))
      norm.running_mean.data = tensor(layer.bn.mean, (0,))
      norm.running_var.data = tensor(layer.bn.var, (0,))
      chain += [conv, torch.nn.ELU(), norm]
    chain.append(torch.nn.MaxPool2d(3, 2))
  chain.append(torch.nn.Flatten())
  for layer in (net.pool.fc1, net.pool.fc2, net.age_head.fc):
    before, after = layer.kernel[...].shape
    linear = torch.nn.Linear(before, after)
    linear.weight.data = tensor(layer.kernel, (1, 0))
    linear.bias.data = tensor(layer.bias, (0,))
    chain += [torch.nn.Dropout(0.3), linear, torch.nn.ELU()]
  theirs = torch.nn.Sequential(*chain[:-1]).eval()
  x = (np.asarray(image, np.float32) - 127.5) / 127.5
  with torch.no_grad():
    out = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
  np.testing.assert_allclose(
    answer(net, image), 120 + 120 * out.numpy()[:, 0], rtol=1e-4
  )
