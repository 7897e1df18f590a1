"""OverFeat: published size, and a forward pass in NumPy."""

import draw
from flax import nnx
import jax
import numpy as np

from boneage_jax.models import backbones
from boneage_jax.models.backbones import overfeat


def test_parameters_and_maps():
  make = lambda: overfeat.OverFeat(endpoint='fc8', rngs=nnx.Rngs(0))
  net = nnx.eval_shape(make)
  leaves = jax.tree.leaves(nnx.to_pure_dict(nnx.state(net, nnx.Param)))
  assert sum(leaf.size for leaf in leaves) == 145_920_872  # the authors'
  for side, places in ((231, 1), (264, 2)):
    image = jax.ShapeDtypeStruct((2, side, side, 3), np.float32)
    found = nnx.eval_shape(lambda net, x: net(x), net, image)
    assert found.shape == (2, places, places, 1000)
  assert (
    backbones.BACKBONES['overfeat'](rngs=nnx.Rngs(0), width=0.01).stages[-1]
    == 'fc7'
  )


def convolve(x, layer, stride=1, pad=0):
  """Convolve [H, W, C], tap by tap, in float64; ReLU."""
  kernel = np.asarray(layer.kernel[...], np.float64)
  x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
  k = len(kernel)
  h, w = ((n - k) // stride + 1 for n in x.shape[:2])
  y = np.zeros((h, w, kernel.shape[-1])) + np.asarray(layer.bias[...])
  for i in range(k):
    for j in range(k):
      part = x[i : i + stride * h : stride, j : j + stride * w : stride]
      y += part[:h, :w] @ kernel[i, j]
  return np.maximum(y, 0)


def pool(x):
  h, w, c = x.shape
  x = x[: h // 2 * 2, : w // 2 * 2]
  return x.reshape(h // 2, 2, w // 2, 2, c).max((1, 3))


def test_equal_to_numpy():
  """A film of 231 x 263 pixels gives two places, side by side."""
  net = overfeat.OverFeat(width=0.01, rngs=nnx.Rngs(0))  # eight channels
  rng = np.random.default_rng(1)
  for _, layer in nnx.iter_modules(net):
    if hasattr(layer, 'bias'):
      layer.bias[...] = 0.1 * rng.normal(size=layer.bias.shape)
  x = draw.normal((1, 231, 263, 3))
  ours = nnx.jit(lambda net, x: net(x))(net, x)
  y = pool(convolve(np.asarray(x[0], np.float64), net.conv1.conv1.conv, 4))
  y = pool(convolve(y, net.conv2.conv1.conv))
  y = convolve(y, net.conv3.conv1.conv, pad=1)
  y = convolve(y, net.conv4.conv1.conv, pad=1)
  y = pool(convolve(y, net.conv5.conv1.conv, pad=1))
  assert y.shape[:2] == (6, 7)
  y = convolve(convolve(y, net.fc6.conv), net.fc7.conv)
  assert ours.shape == (1, 1, 2, y.shape[-1])
  np.testing.assert_allclose(ours[0], y, rtol=1e-3, atol=1e-4)
