"""The U-Net against PyTorch, and its shapes and parameters by hand."""

import itertools

import draw
from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax import models
from boneage_jax.models import layers
from boneage_jax.models import unet


def create(size, width=0.0625, seed=0, **changes):
  fields = dict(name='unet', width=width, bn_momentum=0.0, dtype='float32')
  return models.create(ConfigDict(fields | changes), size=size, seed=seed)


def fill(net):
  """Give parameters and statistics values that show where one is left out."""
  rng = np.random.default_rng(0)
  for _, module in nnx.iter_modules(net):
    if isinstance(module, layers.BatchNorm):
      for leaf in (module.scale, module.bias, module.mean, module.var):
        leaf[...] = jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32)
  net.mask.bias[...] = jnp.full(1, 0.3)
  return net


def by_torch(torch, net, image, training):
  """The U-Net of Iglovikov 2017 written out, with the weights of `net`."""
  functional = torch.nn.functional
  tensor = lambda x: torch.as_tensor(np.array(x))

  def conv(layer, x, bias=None):
    kernel = tensor(layer.kernel[...]).permute(3, 2, 0, 1)
    return functional.conv2d(x, kernel, bias, padding='same')

  def block(layer, x):
    norm = [layer.bn.mean, layer.bn.var, layer.bn.scale, layer.bn.bias]
    x = functional.batch_norm(
      conv(layer.conv, x),
      *(tensor(leaf[...]) for leaf in norm),
      training=training,
      momentum=0.1,
      eps=1e-5,
    )
    return functional.relu(x)

  x, skips = tensor(image).permute(0, 3, 1, 2).float() / 127.5 - 1, []
  for level, (first, second) in enumerate(net.down):
    x = functional.max_pool2d(x, 2) if level else x
    x = block(second, block(first, x))
    skips.append(x)
  skips.pop()
  for up, (first, second) in zip(net.up, net.join, strict=True):
    x = functional.interpolate(x, scale_factor=2, mode='nearest')
    x = torch.cat([skips.pop(), block(up, x)], 1)
    x = block(second, block(first, x))
  assert not skips
  return conv(net.mask, x, tensor(net.mask.bias[...]))[:, 0].numpy()


@pytest.mark.parametrize('training', [False, True])
def test_equal_to_torch(training):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  net = fill(create((32, 48)))
  image = draw.greys((2, 32, 48, 1))
  with torch.no_grad():
    expected = by_torch(torch, net, image, training)
  net.train() if training else net.eval()
  found = nnx.jit(lambda net, x: net({'image': x})['mask'])(net, image)
  assert np.ptp(expected) > 0.1
  np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_shapes_and_parameters_of_the_full_net(monkeypatch):
  shapes = []
  real = layers.ConvBN.__call__

  def spy(self, x):
    y = real(self, x)
    shapes.append(y.shape[1:])
    return y

  monkeypatch.setattr(layers.ConvBN, '__call__', spy)
  net = nnx.eval_shape(lambda: create((512, 256), width=1.0, dtype='bfloat16'))
  image = jax.ShapeDtypeStruct((1, 512, 256, 1), jnp.uint8)
  mask = nnx.eval_shape(lambda n, x: n({'image': x})['mask'], net, image)
  assert mask.shape == (1, 512, 256) and mask.dtype == jnp.float32
  momentums = [
    module.momentum
    for _, module in nnx.iter_modules(net)
    if isinstance(module, layers.BatchNorm)
  ]
  assert momentums == [0.9] * 22
  levels = [(512 >> k, 256 >> k, 32 << k) for k in range(5)]
  down = [shape for shape in levels for _ in range(2)]
  # An upsampled map is convolved, joined, and convolved twice.
  up = [shape for shape in levels[3::-1] for _ in range(3)]
  assert shapes == down + up
  # Kernels of 3 x 3 without a bias, scale and bias of a norm; 1 x 1 at the end.
  conv = lambda before, after: 9 * before * after + 2 * after
  wide = [1, 32, 64, 128, 256, 512]
  expected = sum(conv(a, b) + conv(b, b) for a, b in itertools.pairwise(wide))
  expected += sum(
    conv(2 * c, c) + conv(2 * c, c) + conv(c, c) for c in wide[1:5]
  )
  leaves = jax.tree.leaves(nnx.state(net, nnx.Param))
  assert sum(np.prod(leaf.shape) for leaf in leaves) == expected + 32 + 1


def test_a_pixel_becomes_four():
  x = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
  expected = x.repeat(2, axis=1).repeat(2, axis=2)
  np.testing.assert_array_equal(unet.double(jnp.asarray(x)), expected)


@pytest.mark.parametrize('size', [100, (112, 120)])
def test_sizes_that_cannot_be_halved_four_times_are_refused(size):
  with pytest.raises(ValueError, match=r'input\.size of multiples of 16 .* 1'):
    create(size)
