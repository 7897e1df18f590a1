"""The U-Net of key points: the mean place of each map, by hand."""

import draw
from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax import models
from boneage_jax.models import point_unet


def create(size, **changes):
  fields = dict(name='point_unet', points=3, width=0.125, bn_momentum=0.0)
  return models.create(ConfigDict(fields | changes), size=size)


def test_a_point_is_the_mean_place_of_its_softmax():
  logits = 3 * draw.normal((2, 6, 4, 3))
  found = point_unet.mean_position(logits)
  values = np.exp(np.asarray(logits, np.float64))
  values /= values.sum((1, 2), keepdims=True)
  expected = np.zeros((2, 3, 2))
  for row in range(6):
    for column in range(4):
      # From -1 at the edge of the first pixel to 1 at that of the last.
      centre = np.array([(column + 0.5) / 4, (row + 0.5) / 6]) * 2 - 1
      expected += values[:, row, column, :, None] * centre
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_sure_map_tells_its_pixel_alone():
  logits = jnp.full((1, 8, 16, 1), -50.0).at[0, 1, 12, 0].set(50.0)
  found = point_unet.mean_position(logits)
  np.testing.assert_allclose(found[0, 0], [9 / 16, -5 / 8], atol=1e-6)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_it_tells_float32_points_of_a_film(dtype):
  net = nnx.eval_shape(lambda: create((64, 48), dtype=dtype, levels=4))
  image = jax.ShapeDtypeStruct((2, 64, 48, 1), jnp.uint8)
  outputs = nnx.eval_shape(lambda n, x: n({'image': x}), net, image)
  assert outputs['points'].shape == (2, 3, 2)
  assert outputs['points'].dtype == jnp.float32
  with pytest.raises(ValueError, match=r'multiples of 8 .*got \(60, 48\)'):
    create((60, 48), levels=4)
