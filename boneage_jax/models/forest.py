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
WEIGHTINGS = ('distance', 'none')
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
  sums = jnp.asarray(sums)
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


def cast(
  shift: jax.Array,
  pixels: jax.Array,
  weight: jax.Array,
  smooth: float,
  size_hw: tuple[int, int],
) -> jax.Array:
  """Return where pixels say that landmarks are: maps of votes, smoothed.

  Args:
    shift: float32 [T, P, L, 2], x and y, by which each tree displaces them.
    pixels: int32 [P, 2], row and column.
    weight: float32 [T, P, L], how much a vote counts.
    smooth: standard deviation of the Gaussian, pixels.
    size_hw: of the film.

  Returns:
    float32 [L, H, W]. A vote is shared by the four pixels about its place.
  """
  landmarks = shift.shape[2]
  place = pixels[None, :, None, ::-1] + shift
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


@functools.partial(
  jax.jit, static_argnames=('size_hw', 'depth', 'weighting', 'step')
)
def locate(
  forest: Arrays,
  sums: jax.Array,
  sigma: float,
  near: float,
  smooth: float,
  *,
  size_hw: tuple[int, int],
  depth: int,
  weighting: str,
  step: int,
) -> dict[str, jax.Array]:
  """Find landmarks: all pixels vote, then those about the first estimate.

  Args:
    forest, sums, depth: as of `descend`.
    sigma: pixels; with the weighting 'distance' a vote over r pixels counts
      exp(-r / sigma), with 'none' 1.
    near: pixels; half the side of the square about the first estimate.
    smooth, size_hw: as of `cast`.
    weighting: one of WEIGHTINGS.
    step: every pixel votes whose row and column are multiples of it.

  Returns:
    `points` float32 [2, L, 2], x and y, after either pass; `maps` [2, L, H, W].
  """
  rows, columns = np.mgrid[: size_hw[0] : step, : size_hw[1] : step]
  pixels = np.stack([rows.ravel(), columns.ravel()], -1).astype(np.int32)
  leaf = descend(forest, sums, jnp.asarray(pixels), depth)
  shift = jax.vmap(lambda votes, leaves: votes[leaves])(forest['vote'], leaf)
  weight = jnp.ones(shift.shape[:-1], jnp.float32)
  if weighting == 'distance':
    weight = jnp.exp(-jnp.linalg.norm(shift, axis=-1) / sigma)
  first = cast(shift, pixels, weight, smooth, size_hw)
  estimate = peaks(first)
  away = jnp.abs(pixels[:, None, ::-1] - estimate).max(-1)  # [P, L]
  weight = weight * (away <= near)
  second = cast(shift, pixels, weight, smooth, size_hw)
  voted = second.max((1, 2)) > 0
  found = jnp.where(voted[:, None], peaks(second), estimate)
  return {
    'points': jnp.stack([estimate, found]),
    'maps': jnp.stack([first, second]),
  }


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
  landmarks, _, width = maps.shape
  best = jnp.argmax(maps.reshape(landmarks, -1), -1)
  y, x = best // width, best % width
  number = jnp.arange(landmarks)

  # A maximum on the edge stays there: what it lacks is as its other neighbour.
  maps = jnp.pad(maps, ((0, 0), (1, 1), (1, 1)), mode='reflect')

  def between(before: jax.Array, after: jax.Array) -> jax.Array:
    bend = before - 2 * here + after
    return jnp.where(bend < 0, (before - after) / (2 * bend), 0.0)

  at = lambda right, down: maps[number, y + 1 + down, x + 1 + right]
  here = at(0, 0)
  across, along = (
    between(at(-1, 0), at(1, 0)),
    between(at(0, -1), at(0, 1)),
  )
  return jnp.stack([x + across, y + along], -1)
