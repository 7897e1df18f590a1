"""The spatial transformer (Jaderberg et al. 2015): a map that bends itself.

Places on a map are x, y from -1, the left or upper edge of its first pixel, to
1, the right or lower edge of its last one, as key points are; the centre of
pixel i of n is (2 i + 1) / n - 1. All of this module keeps to that.
"""

from typing import Any

from flax import nnx
import jax
from jax import lax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import ops

GRID = 4  # side of what the localisation net sees of a map of any size
HIDDEN = 32
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def affine_places(
  matrices: jax.Array, hw: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
  """Return where an affine map finds each pixel of its output.

  Args:
    matrices: [B, 2, 3], place in the output, (x, y, 1), to place in the input.
    hw: height and width of both maps.

  Returns:
    x and y, each [B, h, w], in pixels of the input, 0 in the centre of the
    first. The identity gives whole numbers without any rounding.
  """
  height, width = hw
  # About the centre, half pixels are exact, and 1 times them, and 0.
  u = (jnp.arange(width) - (width - 1) / 2)[None, None, :]
  v = (jnp.arange(height) - (height - 1) / 2)[None, :, None]
  (a, b, tx), (c, d, ty) = (
    [matrices[:, i, j, None, None] for j in range(3)] for i in range(2)
  )
  x = a * u + b * (width / height) * v + tx * (width / 2)
  y = c * (height / width) * u + d * v + ty * (height / 2)
  return x + (width - 1) / 2, y + (height - 1) / 2


def sample(features: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
  """Sample a map bilinearly; beyond its edges it is zero.

  Every place weighs all pixels, which suits small maps alone. On the centre of
  a pixel, the gradient of a place is half the difference of its neighbours.

  Args:
    features: [B, h, w, C].
    x, y: [B, H, W], in pixels of the map.

  Returns:
    [B, H, W, C] float32.
  """
  height, width = features.shape[1:3]

  def tent(at, count):
    away = at[..., None] - jnp.arange(count)
    # Not of the absolute, whose gradient at 0 JAX takes from one side.
    return jnp.maximum(jnp.minimum(1 + away, 1 - away), 0)

  weights = tent(y, height)[..., :, None] * tent(x, width)[..., None, :]
  return jnp.einsum(
    'bijhw,bhwc->bijc',
    weights,
    features.astype(jnp.float32),
    precision=lax.Precision.HIGHEST,  # the identity is exact everywhere
  )


class SpatialTransformer(nnx.Module):
  """An affine map of a feature map, found by a small net from the map itself.

  The net sees averages over a fixed grid, which tell where things lie whatever
  the size of the map. It starts at exactly the identity.
  """

  def __init__(self, channels: int, *, dtype: Any, rngs: nnx.Rngs):
    self.channels, self.dtype = channels, dtype
    self.fc1 = nnx.Linear(
      GRID**2 * channels, HIDDEN, kernel_init=layers.kernel_init, rngs=rngs
    )
    self.fc2 = nnx.Linear(
      HIDDEN, 6, kernel_init=nnx.initializers.zeros_init(), rngs=rngs
    )
    self.fc2.bias[...] = jnp.array(IDENTITY)

  def matrices(self, features: jax.Array) -> jax.Array:
    """Return the affine maps [B, 2, 3] of maps [B, h, w, C]."""
    seen = ops.adaptive_avg_pool(features.astype(jnp.float32), GRID)
    hidden = nnx.relu(self.fc1(seen.reshape(len(seen), -1)))
    return self.fc2(hidden).reshape(-1, 2, 3)

  def bend(self, features: jax.Array, matrices: jax.Array) -> jax.Array:
    """Sample maps [B, h, w, C] where the affine maps [B, 2, 3] say."""
    places = affine_places(matrices, features.shape[1:3])
    return sample(features, *places).astype(self.dtype)

  def __call__(self, features: jax.Array) -> jax.Array:
    return self.bend(features, self.matrices(features))
