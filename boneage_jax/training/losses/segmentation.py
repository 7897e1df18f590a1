"""The loss of masks: cross-entropy and overlap, H - log J (Iglovikov 2017).

The paper prints J = (1/n) sum y p / (y + p - y p), over the n pixels. There a
pixel outside the mask (y = 0) adds nothing whatever p is, and one inside adds
p: the best value is the mask's share of the film, and nothing outside is
learnt by it. Ours is the overlap of whole masks, see `segmentation`.
"""

import jax
from jax import numpy as jnp

from boneage_jax.training.losses import age as age_losses

INSIDE, UNKNOWN = 1, 255  # of a region_mask
PIXEL = 1.0  # e of `segmentation`


def segmentation(
  outputs: age_losses.Outputs,
  batch: age_losses.Outputs,
  overlap: str = 'jaccard',
) -> tuple[jax.Array, age_losses.Scalars]:
  """H - log J of each film; without a pixel inside its mask, H alone.

  H is the mean binary cross-entropy over pixels. J = (sum y p + e) / (sum y +
  sum p - sum y p + e), e one pixel, float32 (ours: soft Jaccard of the whole
  mask, see the module). What nobody said counts in neither.

  Args:
    outputs: `mask` [B,H,W], logits.
    batch: `region_mask` uint8 [B,H,W], 1 inside, 0 outside, 255 nobody said.
    overlap: 'jaccard'; or 'dice', H + 1 - D in the place of H - log J, with the
      Dice D = 2 J / (1 + J) (Zhao 2018, authors' code).

  Raises:
    ValueError: another `overlap`.
  """
  if overlap not in ('jaccard', 'dice'):
    raise ValueError(
      f"Expected loss.overlap to be 'jaccard' or 'dice', got {overlap!r}."
    )
  logits, known, inside = pixels(outputs, batch)
  # softplus, of which neither end overflows.
  cost = jnp.maximum(logits, 0) - logits * inside
  cost = known * (cost + jnp.log1p(jnp.exp(-jnp.abs(logits))))
  total = lambda x: jnp.sum(x, (1, 2))
  cross_entropy = total(cost) / jnp.maximum(total(known), 1)
  p = known * jax.nn.sigmoid(logits)
  both, drawn = total(inside * p), total(inside)
  union = drawn + total(p) - both
  jaccard = (both + PIXEL) / (union + PIXEL)
  if overlap == 'jaccard':
    apart = -jnp.log(jaccard)
  else:
    apart = 1 - 2 * jaccard / (1 + jaccard)
  scalars = {'cross_entropy': cross_entropy, 'soft_jaccard': jaccard}
  return cross_entropy + jnp.where(drawn > 0, apart, 0), scalars


def pixels(
  outputs: age_losses.Outputs, batch: age_losses.Outputs
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Return logits, which pixels are known, and which inside: [B,H,W] float32.

  Raises:
    ValueError: the net gives no mask, or the batch has none of its size.
  """
  if 'mask' not in outputs or 'region_mask' not in batch:
    raise ValueError(
      'Expected a net that gives a `mask` and films with a `region_mask`, got '
      f"{sorted(outputs)} and {sorted(batch)}: choose net.name='unet' and name "
      'kinds of masks in input.masks.'
    )
  logits, drawn = outputs['mask'].astype(jnp.float32), batch['region_mask']
  if logits.shape != drawn.shape:
    raise ValueError(
      'Expected the mask of the net and of the film in one size, got '
      f'{logits.shape} and {drawn.shape}.'
    )
  known, inside = drawn != UNKNOWN, drawn == INSIDE
  return logits, known.astype(jnp.float32), inside.astype(jnp.float32)


LOSSES: dict[str, age_losses.Loss] = {'segmentation': segmentation}
