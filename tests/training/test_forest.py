"""Trees that are grown, against brute force and planted places."""

import itertools

from ml_collections import ConfigDict
import numpy as np

from boneage_jax.training import forest

OPTIONS = ConfigDict(
  dict(
    trees=3,
    pixels_per_film=80,
    pixels_per_landmark=20,
    features=60,
    reach=0.4,
    depth=7,
    candidates=20,
    thresholds=4,
    least_pixels=3,
    split_pixels=200,
  )
)


def square(centre, size=24):
  """A dark film with a bright square about (x, y)."""
  x, y = centre
  film = np.full((size, size), 20, np.uint8)
  film[y - 3 : y + 4, x - 3 : x + 4] = 220
  return film


def test_a_feature_is_the_difference_of_two_means():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (9, 11), np.uint8)
  boxes = forest.draw_boxes(40, 20, 0.3, rng)
  assert (np.abs(boxes) <= 6 + 3).all() and len(np.unique(boxes)) > 10
  pixels = np.array([(0, 0), (8, 10), (4, 5), (2, 9)])
  padded = np.pad(image.astype(int), 30)  # beyond the film all is black
  expected = np.empty((40, 4), int)
  for (f, pair), (p, pixel) in itertools.product(
    enumerate(boxes), enumerate(pixels)
  ):
    means = []
    for top, left, bottom, right in pair + np.tile(pixel + 30, 2):
      greys = padded[top:bottom, left:right]
      means.append(64 * greys.sum() // greys.size)
    expected[f, p] = means[0] - means[1]
  np.testing.assert_array_equal(forest.values(image, boxes, pixels), expected)


def test_a_split_is_the_best_of_all():
  rng = np.random.default_rng(1)
  features = rng.integers(-50, 50, (6, 40)).astype(np.int16)
  targets = rng.normal(size=(40, 4)).astype(np.float32) + features[3:4].T / 30
  thresholds = rng.integers(-50, 50, (6, 5)).astype(np.int16)
  left = {}
  for c, k in itertools.product(range(6), range(5)):
    above = features[c] > thresholds[c, k]
    parts = [targets[above], targets[~above]]
    if min(map(len, parts)) >= 8:
      left[c, k] = sum(len(p) * np.trace(np.cov(p.T, ddof=0)) for p in parts)
  best = forest.best_split(features, thresholds, targets, 8)
  assert best == min(left, key=left.get)
  assert forest.best_split(features, thresholds, targets, 21) is None


def test_leaves_keep_the_mean_of_what_ends_there():
  rng = np.random.default_rng(2)
  features = rng.integers(-90, 90, (30, 200)).astype(np.int16)
  targets = rng.normal(size=(200, 2)).astype(np.float32)
  tree = forest.grow(features, targets, OPTIONS, np.random.default_rng(0))
  ends, depth = [], 0
  for pixel in features.T:
    node, steps = 0, 0
    while tree.child[node] >= 0:
      above = pixel[tree.feature[node]] > tree.threshold[node]
      node, steps = tree.child[node] + above, steps + 1
    ends.append(-1 - tree.child[node])
    depth = max(depth, steps)
  assert 2 < depth <= OPTIONS.depth
  sizes = np.bincount(ends)
  assert len(sizes) == len(tree.vote) > 8 and sizes.min() >= 3
  for leaf, vote in enumerate(tree.vote):
    of_leaf = targets[np.array(ends) == leaf]
    np.testing.assert_allclose(vote, of_leaf.mean(0), atol=1e-6)


def test_trees_of_a_landmark_are_grown_about_it():
  rng = np.random.default_rng(3)
  films = [rng.integers(0, 256, (24, 24), np.uint8) for _ in range(2)]
  places = np.array([[[8.0, 9.0], [16.0, 12.0]], [[7.0, 10.0], [15.0, 14.0]]])
  grown = forest.fit(films, places, OPTIONS, 3.0, [0])
  assert grown['near_vote'].shape[:2] == (2, OPTIONS.trees)
  assert grown['near_vote'].shape[-2:] == (1, 2)
  assert grown['vote'].shape[-2:] == (2, 2)
  # From pixels within 3 of a landmark no vote is longer; others' are.
  assert 1 < np.abs(grown['near_vote']).max() <= 3.5
  assert np.abs(grown['vote']).max() > 6


def test_the_same_seed_grows_the_same_forest():
  films = [square((9, 9)), square((13, 12))]
  places = np.array([[[9.0, 9.0]], [[13.0, 12.0]]])
  first, again, other = (
    forest.fit(films, places, OPTIONS, 5.0, [seed]) for seed in (0, 0, 1)
  )
  for name, values in first.items():
    np.testing.assert_array_equal(values, again[name])
  assert not np.array_equal(first['boxes'], other['boxes'])
  assert not np.array_equal(first['boxes'][0], first['boxes'][1])
