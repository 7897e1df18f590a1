"""Regression forests of landmarks, grown with NumPy (Ebner 2014).

A tree sees pixels of training films. A node draws features and thresholds at
random, and keeps the one after which displacements from pixels to landmarks
vary least: the trace of their covariance, of all landmarks at once. The paper
could not be read in full: the numbers are those of a report that cites it
(Chirawu 2022), and what that leaves open is ours.
"""

from collections.abc import Sequence
from concurrent import futures
import os
from typing import Any
from typing import NamedTuple

import numpy as np

from boneage_jax.models import forest as forest_lib

# Ours: sides of boxes, shares of the side of the input.
SIDES = (0.01, 0.03, 0.05, 0.09, 0.15)


class Tree(NamedTuple):
  """A tree, see models/forest.py.

  Attributes:
    feature, threshold, child: int32 [N].
    vote: float32 [leaves, M], the mean target of each leaf.
  """

  feature: np.ndarray
  threshold: np.ndarray
  child: np.ndarray
  vote: np.ndarray


def draw_boxes(
  count: int, size: int, reach: float, rng: np.random.Generator
) -> np.ndarray:
  """Draw features: pairs of boxes at random offsets.

  Args:
    count: of features.
    size: side of the input, pixels.
    reach: of the offset of a box's middle, +- share of the side.
    rng: draws offsets and, among SIDES, the boxes' sides.

  Returns:
    int32 [count, 2, 4], see forest.KEYS.
  """
  choices = np.maximum(np.rint(np.multiply(SIDES, size)), 1).astype(np.int32)
  sides = choices[rng.integers(len(choices), size=(count, 2, 2))]
  limit = max(round(reach * size), 1)
  middle = rng.integers(-limit, limit + 1, (count, 2, 2), np.int32)
  first = middle - sides // 2
  return np.concatenate([first, first + sides], -1).astype(np.int32)


def values(
  image: np.ndarray, boxes: np.ndarray, pixels: np.ndarray
) -> np.ndarray:
  """Return features of pixels: how much brighter the first box is.

  Args:
    image: uint8 [H, W].
    boxes: [F, 2, 4], of `draw_boxes`.
    pixels: [P, 2], row and column.

  Returns:
    int16 [F, P], in greys / forest.PARTS; outside of the film all is black.
  """
  # Beyond the edge sums stay what they are there: no corner needs a limit.
  far = int(np.abs(boxes).max())
  sums = np.pad(forest_lib.integral(image), far, mode='edge')
  start = (pixels[:, 0] * sums.shape[1] + pixels[:, 1]).astype(np.int32)
  middle = far * sums.shape[1] + far
  found = np.zeros((len(boxes), len(pixels)), np.int16)
  sides = boxes[..., 2:] - boxes[..., :2]
  for height, width in np.unique(sides.reshape(-1, 2), axis=0).tolist():
    means = _means(sums, height, width)
    for which, sign in ((0, 1), (1, -1)):
      rows = np.flatnonzero((sides[:, which] == (height, width)).all(-1))
      first = boxes[rows, which, :2] @ (sums.shape[1], 1) + middle
      found[rows] += sign * means[first.astype(np.int32)[:, None] + start]
  return found


def _means(sums: np.ndarray, height: int, width: int) -> np.ndarray:
  """Return the mean of the box that starts at each corner, int16, flat.

  Of boxes that would end beyond the corners, 0.
  """
  total = sums[height:, width:] - sums[:-height, width:]
  total += sums[:-height, :-width] - sums[height:, :-width]
  means = np.zeros(sums.shape, np.int16)
  means[:-height, :-width] = forest_lib.PARTS * total // (height * width)
  return means.ravel()


def best_split(
  features: np.ndarray,
  thresholds: np.ndarray,
  targets: np.ndarray,
  least: int = 1,
) -> tuple[int, int] | None:
  """Return the feature and threshold after which targets vary least.

  Args:
    features: [C, P], of pixels.
    thresholds: [C, K], of each feature; above it a pixel goes one way.
    targets: float32 [P, M].
    least: pixels on each side.

  Returns:
    positions of both; None where no threshold leaves `least` on each side. The
    sum of squares about the two means is least.
  """
  count = len(targets)
  above = features[:, None, :] > thresholds[:, :, None]  # [C, K, P]
  above = above.reshape(-1, count).astype(np.float32)
  # About the mean, sums of one side are those of the other with the other sign.
  sums = above @ (targets - targets.mean(0))
  right = above.sum(1)
  left = count - right
  allowed = np.minimum(left, right) >= least
  if not allowed.any():
    return None
  weight = 1 / np.maximum(left, 1) + 1 / np.maximum(right, 1)
  gain = np.einsum('cm,cm->c', sums, sums) * weight
  best = int(np.argmax(np.where(allowed, gain, -1.0)))
  return divmod(best, thresholds.shape[1])


def grow(
  features: np.ndarray,
  targets: np.ndarray,
  options: Any,
  rng: np.random.Generator,
) -> Tree:
  """Grow one tree.

  Args:
    features: [F, P], the pool, of pixels.
    targets: float32 [P, M], see `best_split`.
    options: depth; candidates, features drawn at a node; thresholds, drawn of
      each, values of random pixels; least_pixels, on each side;
      split_pixels, the most pixels, drawn at random, by which a split is
      chosen.
    rng: draws.
  """
  feature, threshold, child, votes = [0], [0], [0], []
  # Each node has what its own pixels are, one after the other in memory.
  waiting = [(0, features, targets, 0)]
  while waiting:
    node, features, targets, depth = waiting.pop()
    split = None
    if depth < options.depth and len(targets) >= 2 * options.least_pixels:
      split = _split(features, targets, options, rng)
    if split is None:
      child[node] = -1 - len(votes)
      votes.append(targets.mean(0))
      continue
    feature[node], threshold[node] = split
    child[node] = len(feature)
    for extended in (feature, threshold, child):
      extended += [0, 0]
    above = features[feature[node]] > threshold[node]
    for k, part in enumerate((~above, above)):
      rows = np.flatnonzero(part)
      waiting.append(
        (child[node] + k, features.take(rows, 1), targets[rows], depth + 1)
      )
  arrays = (np.array(a, np.int32) for a in (feature, threshold, child))
  return Tree(*arrays, np.array(votes, np.float32))


def _split(
  features: np.ndarray,
  targets: np.ndarray,
  options: Any,
  rng: np.random.Generator,
) -> tuple[int, int] | None:
  """Return the feature and threshold of a node; None to stop."""
  candidates = min(options.candidates, len(features))
  drawn = rng.choice(len(features), candidates, replace=False)
  pool = features[drawn]
  if len(targets) > options.split_pixels:
    seen = rng.choice(len(targets), options.split_pixels, replace=False)
    pool, targets = pool[:, seen], targets[seen]
  take = rng.integers(len(targets), size=(candidates, options.thresholds))
  thresholds = np.take_along_axis(pool, take, 1)
  found = best_split(pool, thresholds, targets, options.least_pixels)
  if found is None:
    return None
  return int(drawn[found[0]]), int(thresholds[found])


def fit(
  images: Sequence[np.ndarray],
  landmarks: np.ndarray,
  options: Any,
  near: float,
  seed: Sequence[int],
) -> dict[str, np.ndarray]:
  """Grow a forest of all landmarks, and one about each of them.

  Args:
    images: of N films, uint8 [S, S].
    landmarks: float [N, L, 2], x and y in pixels of these, all known.
    options: trees, pixels_per_film, pixels_per_landmark, features, reach and
      what `grow` needs.
    near: pixels; half the side of the square about a landmark whose pixels its
      own trees see.
    seed: of all draws; each tree has its own pixels and features.

  Returns:
    the arrays forest.KEYS and forest.NEAR.
  """

  def draw(
    rng: np.random.Generator, pixels: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes, and the features [F, N, P] of pixels [N, P, 2]."""
    boxes = draw_boxes(options.features, images[0].shape[0], options.reach, rng)
    found = np.empty((len(boxes), *pixels.shape[:2]), np.int16)
    for i, image in enumerate(images):
      found[:, i] = values(image, boxes, pixels[i])
    return boxes, found

  def whole(number: int) -> tuple[np.ndarray, Tree]:
    rng = np.random.default_rng([*seed, 0, number])
    shape = (len(images), options.pixels_per_film, 2)
    pixels = rng.integers(0, images[0].shape, shape)
    boxes, features = draw(rng, pixels)
    targets = landmarks[:, None] - pixels[:, :, None, ::-1]
    return boxes, _tree(features, targets, options, rng)

  def about(number: int) -> tuple[np.ndarray, list[Tree]]:
    rng = np.random.default_rng([*seed, 1, number])
    films, count = landmarks.shape[:2]
    shape = (films, count, options.pixels_per_landmark, 2)
    away = rng.uniform(-near, near, shape)
    pixels = np.rint(landmarks[:, :, None, ::-1] + away).astype(int)
    pixels = np.clip(pixels, 0, np.subtract(images[0].shape, 1))
    boxes, features = draw(rng, pixels.reshape(films, -1, 2))
    features = features.reshape(len(boxes), *pixels.shape[:3])
    targets = landmarks[:, :, None] - pixels[..., ::-1]
    return boxes, [
      _tree(features[:, :, k], targets[:, k], options, rng)
      for k in range(count)
    ]

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    numbers = range(options.trees)
    boxes, trees = zip(*pool.map(whole, numbers), strict=True)
    near_boxes, near_trees = zip(*pool.map(about, numbers), strict=True)
  arrays = {'boxes': np.stack(boxes), **_joined(trees)}
  own = _joined([tree for of in near_trees for tree in of])
  for name, value in own.items():
    by_tree = value.reshape(options.trees, -1, *value.shape[1:])
    arrays[f'near_{name}'] = np.moveaxis(by_tree, 1, 0)
  return arrays | {'near_boxes': np.stack(near_boxes)}


def _tree(
  features: np.ndarray,
  targets: np.ndarray,
  options: Any,
  rng: np.random.Generator,
) -> Tree:
  """Grow a tree of pixels of films: features [F, N, P], targets [N, P, ...]."""
  targets = targets.reshape(features.shape[1] * features.shape[2], -1)
  features = features.reshape(len(features), -1)
  return grow(features, targets.astype(np.float32), options, rng)


def _joined(trees: Sequence[Tree]) -> dict[str, np.ndarray]:
  """Return trees as arrays; those of smaller ones go on with zeros."""
  arrays = {}
  for name in Tree._fields:
    parts = [getattr(tree, name) for tree in trees]
    longest = max(map(len, parts))
    arrays[name] = np.stack(
      [
        np.pad(p, [(0, longest - len(p))] + [(0, 0)] * (p.ndim - 1))
        for p in parts
      ]
    )
  vote = arrays['vote']
  arrays['vote'] = vote.reshape(*vote.shape[:2], -1, 2)
  return arrays
