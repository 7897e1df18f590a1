"""The spatial transformer: places, sampling, identity, gradients."""

import draw
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import spatial_transformer as st

HW = (5, 7)


@jax.jit
def bend(x, matrices):
  return st.sample(x, *st.affine_places(matrices, x.shape[1:3]))


def by_hand(x, matrix):
  """Bend [h, w, C] pixel by pixel; edges of pixels at -1 and 1."""
  h, w = x.shape[:2]
  out = np.zeros_like(x)
  at = lambda i, n: (2 * i + 1) / n - 1
  for i in range(h):
    for j in range(w):
      px, py = matrix @ [at(j, w), at(i, h), 1]
      sx, sy = ((px + 1) * w - 1) / 2, ((py + 1) * h - 1) / 2
      for k in (int(np.floor(sy)), int(np.floor(sy)) + 1):
        for m in (int(np.floor(sx)), int(np.floor(sx)) + 1):
          if 0 <= k < h and 0 <= m < w:
            out[i, j] += (1 - abs(sy - k)) * (1 - abs(sx - m)) * x[k, m]
  return out


def test_any_matrix_is_as_by_hand():
  x = np.asarray(draw.normal((2, *HW, 3)), np.float64)
  matrices = np.random.default_rng(1).normal(0, 0.3, (2, 2, 3))
  matrices += np.array([[1, 0, 0], [0, 1, 0]])
  found = bend(jnp.asarray(x, jnp.float32), jnp.asarray(matrices, jnp.float32))
  wanted = [by_hand(*one) for one in zip(x, matrices, strict=True)]
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def left(x):
  return np.pad(x[:, 1:], [(0, 0), (0, 1), (0, 0)])


def down(x):
  return np.pad(x[:-1], [(1, 0), (0, 0), (0, 0)])


@pytest.mark.parametrize(
  ('matrix', 'change'),
  [
    ([[-1, 0, 0], [0, 1, 0]], lambda x: x[:, ::-1]),  # from edge to edge
    ([[1, 0, 2 / 7], [0, 1, 0]], left),
    ([[1, 0, 0], [0, 1, -2 / 5]], down),
    ([[0, 0, 9], [0, 0, 0]], np.zeros_like),  # beyond the edge
  ],
)
def test_one_convention_for_corners(matrix, change):
  x = draw.normal((2, *HW, 3))
  matrices = jnp.broadcast_to(jnp.array(matrix, jnp.float32), (2, 2, 3))
  wanted = change(np.asarray(x[0]))
  np.testing.assert_allclose(bend(x, matrices)[0], wanted, atol=1e-5)


def test_it_starts_at_exactly_the_identity_on_maps_of_any_size():
  layer = st.SpatialTransformer(3, dtype=jnp.float32, rngs=nnx.Rngs(0))
  run = nnx.jit(lambda layer, x: layer(x))
  for hw in (HW, (4, 9)):
    x = draw.normal((2, *hw, 3))
    np.testing.assert_array_equal(run(layer, x), x)


def test_the_net_learns_from_the_start():
  """At the identity a shift changes a pixel by half of its neighbours' gap."""
  x = draw.normal((1, *HW, 1))

  def total(shift, weight):
    matrix = jnp.array([[[1.0, 0, 0], [0, 1, 0]]]).at[0, 0, 2].set(shift)
    return jnp.sum(bend(x, matrix)[0, :, :, 0] * weight)

  weight = np.zeros(HW, np.float32)
  weight[2, 3] = 1
  found = jax.jit(jax.grad(total))(0.0, jnp.asarray(weight))
  pixels = np.asarray(x)[0, :, :, 0]
  # A shift of 1 is half a width, 3.5 pixels.
  wanted = 3.5 * (pixels[2, 4] - pixels[2, 2]) / 2
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
