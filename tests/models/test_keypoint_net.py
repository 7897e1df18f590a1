"""The net of key points: its layers by hand, its shapes, its size."""

import itertools

import draw
from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax import models
from boneage_jax.models import keypoint_net


def create(size, seed=0, **changes):
  fields = dict(name='keypoint_net', points=3, bn_momentum=0.9)
  return models.create(ConfigDict(fields | changes), size=size, seed=seed)


def randomize(net):
  """Give every parameter and statistic a value of its own."""
  for kind in (nnx.Param, nnx.BatchStat):
    state = nnx.state(net, kind)
    leaves, tree = jax.tree.flatten(state)
    draws = [0.3 * draw.normal(x.shape, i) for i, x in enumerate(leaves)]
    if kind is nnx.BatchStat:  # variances are positive
      draws = [jnp.abs(x) + 0.5 for x in draws]
    nnx.update(net, jax.tree.unflatten(tree, draws))


def elu(x):
  return np.where(x > 0, x, np.expm1(x))


def normed(x, bn):
  scale, bias, mean, var = (
    np.asarray(v[...], np.float64) for v in (bn.scale, bn.bias, bn.mean, bn.var)
  )
  return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def convolved(x, kernel):
  """3x3, padded by zeros, one product for each place of the kernel."""
  height, width = x.shape[1:3]
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  return sum(
    padded[:, i : i + height, j : j + width] @ kernel[i, j]
    for i in range(3)
    for j in range(3)
  )


def by_hand(net, image):
  x = np.asarray(image, np.float64) / 127.5 - 1
  for block in net.blocks:
    for layer in (block.first, block.second):
      kernel = np.asarray(layer.conv.kernel[...], np.float64)
      x = elu(normed(convolved(x, kernel), layer.bn))
    b, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
  x = x.reshape(len(x), -1)
  x = linear(elu(linear(x, net.hidden)), net.fc)
  return x.reshape(len(x), -1, 2)


def linear(x, layer):
  kernel, bias = (
    np.asarray(v[...], np.float64) for v in (layer.kernel, layer.bias)
  )
  return x @ kernel + bias


def test_it_is_three_vgg_blocks_and_two_linear_layers():
  net = create((17, 10), width=0.25, features=8)
  randomize(net)
  net.eval()
  image = draw.greys((2, 17, 10, 1))
  found = nnx.jit(lambda n, x: n({'image': x})['points'])(net, image)
  assert found.shape == (2, 3, 2) and found.dtype == jnp.float32
  expected = by_hand(net, image)
  np.testing.assert_allclose(
    found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
  )


def test_shapes_and_parameters_of_the_papers_input():
  net = nnx.eval_shape(lambda: create((130, 100)))
  image = jax.ShapeDtypeStruct((2, 130, 100, 1), jnp.uint8)
  trail, x = [], jax.ShapeDtypeStruct((2, 130, 100, 1), jnp.float32)
  for block in net.blocks:
    x = nnx.eval_shape(lambda b, x: b(x), block, x)
    trail.append(x.shape[1:])
  assert trail == [(65, 50, 32), (32, 25, 64), (16, 12, 128)]
  outputs = nnx.eval_shape(lambda n, x: n({'image': x}), net, image)
  assert outputs['points'].shape == (2, 3, 2)
  count = sum(x.size for x in jax.tree.leaves(nnx.state(net, nnx.Param)))
  filters = (1, 32, 64, 128)
  convolutions = sum(
    9 * after * (before + after) + 4 * after
    for before, after in itertools.pairwise(filters)
  )
  flat = 16 * 12 * 128
  assert count == convolutions + (flat + 1) * 512 + 513 * 6


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_coordinates_are_float32(dtype):
  net = nnx.eval_shape(lambda: create(16, width=0.25, dtype=dtype))
  image = jax.ShapeDtypeStruct((1, 16, 16, 1), jnp.uint8)
  outputs = nnx.eval_shape(lambda n, x: n({'image': x}), net, image)
  assert outputs['points'].dtype == jnp.float32


def test_an_input_without_a_pixel_left_is_refused():
  with pytest.raises(ValueError, match=r'8 pixels or more .*got \(16, 7\)'):
    create((16, 7))


def test_it_has_as_many_filters_as_the_width_says():
  net = nnx.eval_shape(lambda: create(16, width=0.5))
  assert [b.second.channels for b in net.blocks] == [16, 32, 64]
  assert keypoint_net.FILTERS == (32, 64, 128)
