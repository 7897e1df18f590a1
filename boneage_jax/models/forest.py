"""Regression forests on plain arrays: landmarks by votes (Ebner 2014), numbers.

Every pixel of a film goes down every tree. A node compares the mean grey of two
boxes about the pixel; a leaf says by how much landmarks are displaced from it.
Then each landmark has trees of its own, which only pixels about its estimate go
down. A forest is a dict of arrays, `KEYS` and `NEAR`: what an npz file keeps.

Trees of numbers (`TREES`) go the same way down, by one of the numbers that are
known of a film at each node.
"""

from collections.abc import Callable
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
# The same of the trees of each landmark, with an axis of them in front, but for
# the boxes, which landmarks share; L of their votes is 1.
NEAR = tuple(f'near_{key}' for key in KEYS)
# Trees of numbers: feature, threshold and child [T, N] as above, and of every
# leaf its value [T, M], of the type that whoever fitted them reckons with.
TREES = ('feature', 'threshold', 'child', 'value')
SIDE = 15  # rows and columns of pixels about an estimate; ours
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
    def value(number):
      first, second = boxes[number]
      return mean(pixel, first) - mean(pixel, second)

    return _leaf(value, feature, threshold, child, depth)

  of_pixels = jax.vmap(leaf, (None, None, None, None, 0))
  trees = [forest[key] for key in KEYS[:-1]]
  return jax.vmap(of_pixels, (0, 0, 0, 0, None))(*trees, pixels)


def _leaf(
  value: Callable[[jax.Array], jax.Array],
  feature: jax.Array,
  threshold: jax.Array,
  child: jax.Array,
  depth: int,
) -> jax.Array:
  """Return the leaf of one tree that `value` of features leads to."""

  def step(_, node):
    below = child[node] + (value(feature[node]) > threshold[node])
    return jnp.where(child[node] < 0, node, below)

  return -1 - child[jax.lax.fori_loop(0, depth, step, 0)]


@functools.partial(jax.jit, static_argnames='depth')
def leaves(
  feature: jax.Array,
  threshold: jax.Array,
  child: jax.Array,
  numbers: jax.Array,
  *,
  depth: int,
) -> jax.Array:
  """Return the leaf of every tree that each row ends in, int32 [B, T].

  Args:
    feature, threshold, child: of TREES.
    numbers: float32 [B, D].
    depth: splits below the root, at most.
  """
  one = lambda row, *tree: _leaf(lambda number: row[number], *tree, depth)
  of_row = jax.vmap(one, (None, 0, 0, 0))
  return jax.vmap(of_row, (0, None, None, None))(
    numbers, feature, threshold, child
  )


def values(trees: Arrays, numbers: np.ndarray, depth: int) -> np.ndarray:
  """Return what every tree says of each row, [B, T].

  Args:
    trees: of TREES.
    numbers, depth: as of `leaves`.
  """
  first = [jnp.asarray(trees[key]) for key in TREES[:-1]]
  found = np.asarray(leaves(*first, jnp.asarray(numbers), depth=depth))
  return trees['value'][np.arange(found.shape[1]), found]


def shifts(
  forest: Arrays, sums: jax.Array, pixels: jax.Array, depth: int
) -> jax.Array:
  """Return how trees displace landmarks from pixels, [T, P, L, 2], x and y.

  Args:
    forest, sums, pixels, depth: as of `descend`.
  """
  leaf = descend(forest, sums, pixels, depth)
  return jax.vmap(lambda votes, leaves: votes[leaves])(forest['vote'], leaf)


def cast(
  place: jax.Array, weight: jax.Array, smooth: float, size_hw: tuple[int, int]
) -> jax.Array:
  """Return maps of votes, smoothed, float32 [L, H, W].

  Args:
    place: float32 [V, L, 2], x and y, where votes say that landmarks are. A
      vote is shared by the four pixels about it.
    weight: float32 [V, L], how much a vote counts.
    smooth: standard deviation of the Gaussian, pixels.
    size_hw: of the film.
  """
  height, width = size_hw
  low = jnp.floor(place)
  part, low = place - low, low.astype(jnp.int32)
  number = jnp.arange(place.shape[1])
  maps = jnp.zeros((len(number), height, width), jnp.float32)
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
  jax.jit, static_argnames=('size_hw', 'depth', 'step', 'passes')
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
  step: int,
  passes: int,
) -> dict[str, jax.Array]:
  """Find landmarks: all pixels vote, then those about the estimate so far.

  Args:
    forest: of KEYS and, for passes beyond the first, NEAR.
    sums, depth: as of `descend`.
    sigma: pixels; a vote over r pixels counts exp(-r / sigma). Infinity gives
      all votes one weight.
    near: pixels; half the side of the square about an estimate.
    smooth, size_hw: as of `cast`.
    step: in the first pass every pixel votes whose row and column are multiples
      of it; later SIDE x SIDE pixels do, evenly spread.
    passes: 1 or more.

  Returns:
    `points` float32 [passes, L, 2], x and y, after each pass; `maps` [passes,
    L, H, W].
  """

  def maps_of(shift: jax.Array, pixels: jax.Array) -> jax.Array:
    """Cast the votes [T, P, L, 2] of pixels [P, L, 2], row and column."""
    length = jnp.linalg.norm(shift, axis=-1)
    votes = (pixels[..., ::-1] + shift).reshape(-1, *shift.shape[2:])
    weight = jnp.exp(-length / sigma).reshape(votes.shape[:2])
    return cast(votes, weight, smooth, size_hw)

  rows, columns = np.mgrid[: size_hw[0] : step, : size_hw[1] : step]
  grid = np.stack([rows.ravel(), columns.ravel()], -1).astype(np.int32)
  whole = {key: forest[key] for key in KEYS}
  maps = maps_of(shifts(whole, sums, grid, depth), grid[:, None])
  first = {'points': peaks(maps), 'maps': maps}
  if passes == 1:
    return {name: value[None] for name, value in first.items()}
  trees = {key: forest[f'near_{key}'] for key in KEYS}
  of_own = {key: None if key == 'boxes' else 0 for key in KEYS}
  offsets = np.stack(np.mgrid[:SIDE, :SIDE], -1).reshape(-1, 2)
  offsets = 2 * offsets / (SIDE - 1) - 1

  def again(points: jax.Array, _: None) -> tuple[jax.Array, dict]:
    pixels = jnp.rint(points[:, None, ::-1] + near * offsets)
    pixels = jnp.clip(pixels, 0, np.subtract(size_hw, 1)).astype(jnp.int32)
    own = jax.vmap(shifts, (of_own, None, 0, None))(trees, sums, pixels, depth)
    shift = jnp.moveaxis(own[..., 0, :], 0, 2)  # [T, P, L, 2]
    maps = maps_of(shift, jnp.moveaxis(pixels, 0, 1))
    voted = maps.max((1, 2)) > 0
    points = jnp.where(voted[:, None], peaks(maps), points)
    return points, {'points': points, 'maps': maps}

  _, later = jax.lax.scan(again, first['points'], length=passes - 1)
  join = lambda one, more: jnp.concatenate([one[None], more])
  return jax.tree.map(join, first, later)


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
