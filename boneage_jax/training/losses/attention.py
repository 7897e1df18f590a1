"""Attention guided by human masks: a loss beside any other (Liao 2022).

Where a reader said that the answer lies, attention is rewarded; elsewhere
nothing is said, and the softmax over places alone draws attention away. Films
without a mask weigh nothing. A mask is the batch's `region_mask` (see
input_pipeline), the net's part are `maps` and `cells` (see models.age_net).
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
  """-log of the attention, averaged over the places inside the masks.

  Guided are all maps of a net with classes (authors' code), the only one of a
  scalar, and the mean map of the bins about the true age.

  Args:
    outputs: `maps` [B,h,w,K] and `cells` [2].
    batch: `region_mask` [B,H,H], `valid` [B], and `age` [B] for bins.
    normalise: 'per_pixel' averages over all places of the batch at once, so
      large masks weigh more (authors' code); 'per_image' over each film's
      places, then over the films that have some.
    resample: 'nearest' reads the mask at the centres of the map's cells
      (authors' code, which reads it at their corners); 'bicubic' enlarges the
      maps to the mask (the paper), for masks that fall between the centres.

  Returns:
    [B], such that its mean over valid films is the loss, and scalars. The loss
    of perfect attention, uniform on n places, is log n.
  """
  maps = _guided_maps(outputs, batch)
  mask = batch['region_mask']
  if resample == 'bicubic':
    maps = enlarge(maps, outputs['cells'], mask.shape[1])
  else:
    mask = at_cells(mask, outputs['cells'], maps.shape[1:3])
  # The authors cut A at 1e-10, where its gradient ends; a log-softmax need not.
  log_attention = jax.nn.log_softmax(maps, axis=(1, 2))
  valid = batch['valid']
  inside = (mask == INSIDE) & (valid > 0)[:, None, None]
  cost = jnp.where(inside[..., None], -log_attention, 0)
  cost = jnp.sum(cost, (1, 2, 3))
  places = jnp.sum(inside, (1, 2)).astype(jnp.float32) * maps.shape[-1]
  marked = (places > 0).astype(jnp.float32)
  if normalise == 'per_pixel':
    cost = cost / jnp.maximum(jnp.sum(places), 1)
  else:
    cost = cost / jnp.maximum(places, 1) / jnp.maximum(jnp.sum(marked), 1)
  cost = cost * jnp.sum(valid)  # whose mean over them the loop takes
  return cost, {'guidance': cost, 'guided_films': marked}


def inside(outputs: age_losses.Outputs, mask: jax.Array) -> jax.Array:
  """Return the share [B] of the attention that lies inside a mask [B,H,H].

  The attention is enlarged as 'bicubic' guidance does, so that masks smaller
  than a cell of the map count.
  """
  attention = jnp.maximum(outputs['attention'], 1e-30)  # log 0 has no place
  maps = jnp.log(attention)[..., None]
  maps = enlarge(maps, outputs['cells'], mask.shape[1])[..., 0]
  share = cam_head.spatial_softmax(maps)
  return jnp.sum(jnp.where(mask == INSIDE, share, 0), (1, 2))


def at_cells(
  mask: jax.Array, cells: jax.Array, hw: tuple[int, int]
) -> jax.Array:
  """Read masks [B,H,H] at the centres of a map's cells: [B,h,w]."""
  step, first = cells
  place = lambda n: jnp.clip(
    jnp.floor(first + step * jnp.arange(n)).astype(jnp.int32),
    0,
    mask.shape[1] - 1,
  )
  return mask[:, place(hw[0])][:, :, place(hw[1])]


def enlarge(maps: jax.Array, cells: jax.Array, size: int) -> jax.Array:
  """Enlarge maps [B,h,w,K] to [B,size,size,K], bicubic.

  Keys' kernel with a = -0.75 and edges repeated, as PyTorch and OpenCV have
  it; beyond the outermost cells their values go on.
  """
  rows, columns = (_cubic(n, cells, size) for n in maps.shape[1:3])
  highest = jax.lax.Precision.HIGHEST
  maps = jnp.einsum('yh,bhwk->bywk', rows, maps, precision=highest)
  return jnp.einsum('xw,bywk->byxk', columns, maps, precision=highest)


def _cubic(n: int, cells: jax.Array, size: int) -> jax.Array:
  """Return the matrix [size, n] that interpolates n cells at every pixel."""
  step, first = cells
  place = (jnp.arange(size) + 0.5 - first) / step
  cell = jnp.floor(place)[:, None] + jnp.arange(-1, 3)
  x = jnp.abs(place[:, None] - cell)
  near = (1.25 * x - 2.25) * x * x + 1
  far = -0.75 * (((x - 5) * x + 8) * x - 4)
  weights = jnp.where(x <= 1, near, far)
  cell = jnp.clip(cell, 0, n - 1).astype(jnp.int32)
  return jnp.einsum('sj,sjn->sn', weights, jax.nn.one_hot(cell, n))


def _guided_maps(
  outputs: age_losses.Outputs, batch: age_losses.Outputs
) -> jax.Array:
  if 'maps' not in outputs:
    raise ValueError(
      'Attention guidance needs a net whose last layer sees each place of its '
      f'map alone; this one gives {sorted(outputs)}. Choose net.pool='
      "'gap', 'gmp', 'cam' or 'cam_mean', or guidance.weight=0."
    )
  maps = outputs['maps']
  if maps.shape[-1] == 1 or 'age' not in outputs:
    return maps
  return cam_head.window_map(maps, batch['age'])[..., None]
