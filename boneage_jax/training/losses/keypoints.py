"""The loss of key points (Iglovikov 2017)."""

import jax
from jax import numpy as jnp

from boneage_jax.training.losses import age


def keypoints(
  outputs: age.Outputs, batch: age.Outputs
) -> tuple[jax.Array, age.Scalars]:
  """Squared error of coordinates, mean over those that somebody marked.

  Args:
    outputs: `points` [B, K, 2], from -1 at one edge of the input to 1 at the
      other.
    batch: `points`, likewise, NaN where nobody marked one.

  Returns:
    [B] float32, 0 of a film without any mark, and no scalars.
  """
  known = jnp.isfinite(batch['points'])
  # Before the difference, or its gradient would be NaN.
  target = jnp.where(known, batch['points'], 0.0)
  found = jnp.where(known, outputs['points'].astype(jnp.float32), 0.0)
  total = jnp.sum((found - target) ** 2, (1, 2))
  return total / jnp.maximum(jnp.sum(known, (1, 2)), 1), {}
