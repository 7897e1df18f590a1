"""The loss of key points, by hand."""

import jax
from jax import numpy as jnp
import numpy as np

from boneage_jax.training.losses import keypoints

NAN = np.nan
TRUE = np.array(
  [[[0.5, -0.5], [0.0, 1.0]], [[0.25, NAN], [NAN, NAN]], [[NAN, NAN]] * 2],
  np.float32,
)
FOUND = np.array(
  [[[0.0, -0.5], [0.2, 0.0]], [[0.75, 9.0], [9.0, 9.0]], [[9.0, 9.0]] * 2],
  np.float32,
)


def loss(found):
  batch = {'points': jnp.asarray(TRUE)}
  return keypoints.keypoints({'points': found}, batch)


def test_it_is_the_mean_square_over_marked_coordinates():
  values, scalars = loss(jnp.asarray(FOUND))
  expected = [(0.25 + 0 + 0.04 + 1) / 4, 0.25, 0]
  np.testing.assert_allclose(values, expected, rtol=1e-6)
  assert values.dtype == jnp.float32 and not scalars
  assert loss(jnp.asarray(FOUND, jnp.bfloat16))[0].dtype == jnp.float32


def test_what_nobody_marked_has_no_gradient():
  gradient = jax.grad(lambda found: jnp.sum(loss(found)[0]))(jnp.asarray(FOUND))
  expected = np.zeros_like(FOUND)
  expected[0] = 2 * (FOUND[0] - TRUE[0]) / 4
  expected[1, 0, 0] = 2 * 0.5
  np.testing.assert_allclose(gradient, expected, rtol=1e-6)
