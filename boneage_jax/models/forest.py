"""Landmarks by votes of a regression forest (Ebner 2014), on plain arrays.

Every pixel of a film goes down every tree. A node compares the mean grey of two
boxes about the pixel; a leaf says by how much landmarks are displaced from it.
A forest is a dict of arrays, `KEYS`: what an npz file keeps.
"""

from collections.abc import Mapping
import functools

import jax
import jax.numpy as jnp
import numpy as np

# boxes [T, F, 2, 4]: of each tree, feature and of its two boxes the first row
# and column, and the first behind them, from the pixel. feature, threshold and
# child [T, N]: a pixel whose feature is above the threshold goes to child + 1,
# another one to child; a leaf has -1 - its row of vote [T, M, L, 2], x and y.
KEYS = ('boxes', 'feature', 'threshold', 'child', 'vote')
PARTS = 64  # of a grey: means are whole numbers of these, which are exact
PADDING = 3  # votes this many smoothing widths beyond the film count
Arrays = Mapping[str, np.ndarray]


def integral(image: np.ndarray) -> np.ndarray:
  """Return the sums of all pixels above and left of a corner.

  Args:
    image: uint8 [H, W].

  Returns:
    int64 [H + 1, W + 1].
  """
  sums = np.zeros(np.add(image.shape, 1), np.int64)
  sums[1:, 1:] = image.astype(np.int64).cumsum(0).cumsum(1)
  return sums


def descend(
  forest: Arrays, sums: jax.Array, pixels: jax.Array, depth: int
) -> jax.Array:
  """Return the leaf of every tree that each pixel ends in, int32 [T, P].

  Args:
    forest: of KEYS.
    sums: of `integral`, int32: a box has no more than 2 ** 31 of them, so they
      may overflow. Beyond the film all is black.
    pixels: int32 [P, 2], row and column.
    depth: splits below the root, at most.
  """
  last = jnp.array(sums.shape) - 1

  def mean(pixel: jax.Array, box: jax.Array) -> jax.Array:
    first = jnp.clip(pixel + box[:2], 0, last)
    end = jnp.clip(pixel + box[2:], 0, last)
    total = sums[end[0], end[1]] - sums[first[0], end[1]]
    total += sums[first[0], first[1]] - sums[end[0], first[1]]
    area = (box[2] - box[0]) * (box[3] - box[1])
    return PARTS * total // area

  def leaf(boxes, feature, threshold, child, pixel):
    def step(_, node):
      first, second = boxes[feature[node]]
      value = mean(pixel, first) - mean(pixel, second)
      below = child[node] + (value > threshold[node])
      return jnp.where(child[node] < 0, node, below)

    return -1 - child[jax.lax.fori_loop(0, depth, step, 0)]

  of_pixels = jax.vmap(leaf, (None, None, None, None, 0))
  trees = [forest[key] for key in KEYS[:-1]]
  return jax.vmap(of_pixels, (0, 0, 0, 0, None))(*trees, pixels)


@functools.partial(jax.jit, static_argnames=('size_hw', 'depth', 'weighting'))
def vote(
  forest: Arrays,
  sums: jax.Array,
  pixels: jax.Array,
  counts: jax.Array,
  sigma: float,
  smooth: float,
  size_hw: tuple[int, int],
  depth: int,
  weighting: str,
) -> jax.Array:
  """Return where pixels say that landmarks are: maps of votes, smoothed.

  Args:
    forest, sums, depth: as of `descend`.
    pixels: int32 [P, 2], row and column.
    counts: float32 [L, P], how much a pixel's vote for a landmark counts.
    sigma: pixels; with the weighting 'distance' a vote over r pixels counts
      exp(-r / sigma), with 'none' 1.
    smooth: standard deviation of the Gaussian, pixels.
    size_hw: of the film.

  Returns:
    float32 [L, H, W]. A vote is shared by the four pixels about its place.
  """
  leaf = descend(forest, sums, pixels, depth)
  shift = jax.vmap(lambda votes, rows: votes[rows])(forest['vote'], leaf)
  trees, count, landmarks, _ = shift.shape
  place = pixels[None, :, None, ::-1] + shift  # [T, P, L, 2], x and y
  weight = jnp.broadcast_to(counts.T[None], (trees, count, landmarks))
  if weighting == 'distance':
    weight = weight * jnp.exp(-jnp.linalg.norm(shift, axis=-1) / sigma)
  height, width = size_hw
  low = jnp.floor(place)
  part, low = place - low, low.astype(jnp.int32)
  number = jnp.arange(landmarks)
  maps = jnp.zeros((landmarks, height, width), jnp.float32)
  for right in (0, 1):
    for down in (0, 1):
      x, y = low[..., 0] + right, low[..., 1] + down
      share = jnp.where(right, part[..., 0], 1 - part[..., 0])
      share = share * jnp.where(down, part[..., 1], 1 - part[..., 1])
      inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
      x, y = jnp.where(inside, x, 0), jnp.where(inside, y, 0)
      maps = maps.at[jnp.broadcast_to(number, x.shape), y, x].add(
        jnp.where(inside, share * weight, 0.0)
      )
  return _blur(_blur(maps, smooth, 1), smooth, 2)


def _blur(maps: jax.Array, sd: float, axis: int) -> jax.Array:
  """Smooth maps along an axis; black beyond the edge."""
  place = jnp.arange(maps.shape[axis], dtype=jnp.float32)
  weights = jnp.exp(-0.5 * ((place[:, None] - place) / sd) ** 2)
  weights = weights / (sd * np.sqrt(2 * np.pi))
  return jnp.moveaxis(jnp.moveaxis(maps, axis, -1) @ weights, -1, axis)


def peaks(maps: jax.Array) -> jax.Array:
  """Return where maps [L, H, W] have their maximum, [L, 2], x and y.

  Between pixels, by the parabola through the maximum and its neighbours.
  """
  landmarks, height, width = maps.shape
  best = jnp.argmax(maps.reshape(landmarks, -1), -1)
  y, x = best // width, best % width
  number = jnp.arange(landmarks)

  def between(before: jax.Array, here: jax.Array, after: jax.Array):
    bend = before - 2 * here + after
    shift = jnp.where(bend < 0, (before - after) / (2 * bend), 0.0)
    return jnp.clip(shift, -0.5, 0.5)

  here = maps[number, y, x]
  column = lambda step: maps[number, y, jnp.clip(x + step, 0, width - 1)]
  row = lambda step: maps[number, jnp.clip(y + step, 0, height - 1), x]
  return jnp.stack(
    [
      x + between(column(-1), here, column(1)),
      y + between(row(-1), here, row(1)),
    ],
    -1,
  )
