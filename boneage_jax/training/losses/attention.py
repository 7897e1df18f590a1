"""Attention guided by human masks: a loss beside any other (Liao 2022).

Where a reader said that the answer lies, attention is rewarded; elsewhere
nothing is said, and the softmax over positions alone draws attention away.
Films without a mask weigh nothing. A mask is the batch's `region_mask` (see
input_pipeline), the net's part are `maps` and `grid` (see models.age_net).
"""

import jax
from jax import numpy as jnp

from boneage_jax.models.heads import cam as cam_head
from boneage_jax.training.losses import age as age_losses

INSIDE = 1  # of a region_mask
NORMALISERS = ('per_pixel', 'per_image')
RESAMPLERS = ('nearest', 'bicubic')


def guided(
  loss: age_losses.Loss,
  weight: float,
  normalise: str = 'per_pixel',
  resample: str = 'nearest',
) -> age_losses.Loss:
  """Add `weight` times `attention_guidance` to a loss."""
  if normalise not in NORMALISERS or resample not in RESAMPLERS:
    raise ValueError(
      f'guidance.normalise is one of {NORMALISERS} and guidance.resample one '
      f'of {RESAMPLERS}, got {normalise!r} and {resample!r}.'
    )

  def total(outputs, batch):
    value, scalars = loss(outputs, batch)
    guide, more = attention_guidance(outputs, batch, normalise, resample)
    return value + weight * guide, scalars | more

  return total


def attention_guidance(
  outputs: age_losses.Outputs,
  batch: age_losses.Outputs,
  normalise: str = 'per_pixel',
  resample: str = 'nearest',
) -> tuple[jax.Array, age_losses.Scalars]:
  """-log of the attention, averaged over the positions inside the masks.

  Guided are all maps of a net with classes (authors' code), the only one of a
  scalar, and the mean map of the bins about the true age.

  Args:
    outputs: `maps` [B,h,w,K] and `grid` [2,2], where their positions lie (see
      models.age_net).
    batch: `region_mask` [B,H,W], `valid` [B], and `age` [B] for bins.
    normalise: 'per_pixel' averages over all positions of the batch at once, so
      large masks weigh more (authors' code); 'per_image' over each film's
      positions, then over the films that have some.
    resample: 'nearest' reads the mask at the centres of the map's positions
      (authors' code, which reads it at their corners); 'bicubic' enlarges the
      maps to the mask (the paper), for masks that fall between the centres.

  Returns:
    [B], such that its mean over valid films is the loss, and scalars. The loss
    of perfect attention, uniform on n positions, is log n.
  """
  maps = _guided_maps(outputs, batch)
  mask = batch['region_mask']
  if resample == 'bicubic':
    maps = enlarge(maps, outputs['grid'], mask.shape[1:])
  else:
    mask = at_positions(mask, outputs['grid'], maps.shape[1:3])
  # The authors cut A at 1e-10, where its gradient ends; a log-softmax need not.
  log_attention = jax.nn.log_softmax(maps, axis=(1, 2))
  valid = batch['valid']
  inside = (mask == INSIDE) & (valid > 0)[:, None, None]
  cost = jnp.where(inside[..., None], -log_attention, 0)
  cost = jnp.sum(cost, (1, 2, 3))
  counts = jnp.sum(inside, (1, 2)).astype(jnp.float32) * maps.shape[-1]
  marked = (counts > 0).astype(jnp.float32)
  if normalise == 'per_pixel':
    cost = cost / jnp.maximum(jnp.sum(counts), 1)
  else:
    cost = cost / jnp.maximum(counts, 1) / jnp.maximum(jnp.sum(marked), 1)
  cost = cost * jnp.sum(valid)  # whose mean over them the loop takes
  return cost, {'guidance': cost, 'guided_films': marked}


def inside(outputs: age_losses.Outputs, mask: jax.Array) -> jax.Array:
  """Return the share [B] of the attention that lies inside a mask [B,H,W].

  The attention is enlarged as 'bicubic' guidance does, so that masks smaller
  than the distance of two positions count.
  """
  attention = jnp.maximum(outputs['attention'], 1e-30)  # log 0 has no value
  maps = jnp.log(attention)[..., None]
  maps = enlarge(maps, outputs['grid'], mask.shape[1:])[..., 0]
  share = cam_head.spatial_softmax(maps)
  return jnp.sum(jnp.where(mask == INSIDE, share, 0), (1, 2))


def at_positions(
  mask: jax.Array, grid: jax.Array, map_hw: tuple[int, int]
) -> jax.Array:
  """Read masks [B,H,W] at the centres of a map's positions: [B,h,w].

  Args:
    grid: [2,2], (step, first) along y and along x in pixels of the mask.
    map_hw: height and width of the map.
  """
  rows, columns = (
    jnp.clip(
      jnp.floor(first + step * jnp.arange(n)).astype(jnp.int32), 0, size - 1
    )
    for (step, first), n, size in zip(grid, map_hw, mask.shape[1:], strict=True)
  )
  return mask[:, rows][:, :, columns]


def enlarge(
  maps: jax.Array, grid: jax.Array, size_hw: tuple[int, int]
) -> jax.Array:
  """Enlarge maps [B,h,w,K] to [B,H,W,K], bicubic.

  Keys' kernel with a = -0.75 and edges repeated, as PyTorch and OpenCV have
  it; beyond the outermost positions their values go on.

  Args:
    grid: [2,2], (step, first) along y and along x in pixels of the result.
    size_hw: its height and width.
  """
  rows, columns = map(_cubic, maps.shape[1:3], grid, size_hw)
  highest = jax.lax.Precision.HIGHEST
  maps = jnp.einsum('yh,bhwk->bywk', rows, maps, precision=highest)
  return jnp.einsum('xw,bywk->byxk', columns, maps, precision=highest)


def _cubic(n: int, along: jax.Array, size: int) -> jax.Array:
  """Return the matrix [size, n] that interpolates n positions at each pixel."""
  step, first = along
  place = (jnp.arange(size) + 0.5 - first) / step
  taps = jnp.floor(place)[:, None] + jnp.arange(-1, 3)
  x = jnp.abs(place[:, None] - taps)
  near = (1.25 * x - 2.25) * x * x + 1
  far = -0.75 * (((x - 5) * x + 8) * x - 4)
  weights = jnp.where(x <= 1, near, far)
  taps = jnp.clip(taps, 0, n - 1).astype(jnp.int32)
  return jnp.einsum('sj,sjn->sn', weights, jax.nn.one_hot(taps, n))


def _guided_maps(
  outputs: age_losses.Outputs, batch: age_losses.Outputs
) -> jax.Array:
  if 'maps' not in outputs:
    raise ValueError(
      'Attention guidance needs a net whose last layer sees each position of '
      f'its map alone; this one gives {sorted(outputs)}. Choose net.pool='
      "'gap', 'gmp', 'cam' or 'cam_mean' and net.joint_features=0, or "
      'guidance.weight=0.'
    )
  maps = outputs['maps']
  if maps.shape[-1] == 1 or 'age' not in outputs:
    return maps
  return cam_head.window_map(maps, batch['age'])[..., None]
