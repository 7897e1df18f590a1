"""Votes of forests, against NumPy by hand and planted places."""

import itertools

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from boneage_jax.models import forest
from boneage_jax.training import forest as training_forest

SIZE = 24
OPTIONS = ConfigDict(
  dict(
    trees=3,
    pixels_per_film=80,
    pixels_per_landmark=30,
    features=60,
    reach=0.3,
    depth=8,
    candidates=20,
    thresholds=4,
    least_pixels=3,
    split_pixels=500,
  )
)


def stump():
  """Pixels with a bright one at their right say (2, 1) more, others (-3, 0)."""
  return {
    'boxes': np.array([[[[0, 1, 1, 2], [0, 0, 1, 1]]]], np.int32),
    'feature': np.zeros((1, 3), np.int32),
    'threshold': np.zeros((1, 3), np.int32),
    'child': np.array([[1, -1, -2]], np.int32),
    'vote': np.array([[[[-3.0, 0.0]], [[2.0, 1.25]]]], np.float32),
  }


def test_a_sum_table():
  image = np.array([[1, 2], [3, 250]], np.uint8)
  assert forest.integral(image).tolist() == [[0, 0, 0], [0, 1, 3], [0, 4, 256]]
  assert forest.integral(image).dtype == np.int64


def test_votes_by_hand():
  image = np.zeros((4, 8), np.uint8)
  image[2, 5] = 200
  found = forest.locate(
    *(stump(), forest.integral(image).astype(np.int32)),
    *(2.0, 1.0, 0.1),
    size_hw=(4, 8),
    depth=1,
    step=2,
    passes=1,
  )
  far, near = np.hypot(2, 1.25), 3.0
  weigh = lambda r: np.exp(-r / 2)
  first = np.zeros((4, 8))
  # The pixels (0, 0), (0, 2), ... (2, 6): of (2, 4) the right neighbour is
  # bright, and only those of columns 4 and 6 have votes that stay on the film.
  first[3, 6] = 0.75 * weigh(far)
  first[0, 1] = first[0, 3] = first[2, 3] = weigh(near)
  scale = 1 / (0.1 * np.sqrt(2 * np.pi)) ** 2  # of the narrow Gaussian
  np.testing.assert_allclose(
    found['maps'][0, 0], scale * first, rtol=1e-4, atol=1e-5
  )


def test_pixels_about_the_estimate_go_down_trees_of_their_landmark():
  rng = np.random.default_rng(2)
  image = rng.integers(0, 256, (12, 20), np.uint8)
  trees = stump()
  # Two landmarks, whose first estimates differ, and trees of their own.
  trees['vote'] = np.array([[[[-3, 0], [5, 4]]] * 2], np.float32)
  own = np.array([[[[[-1, 0]], [[2, 1]]]], [[[[0, 1]], [[1, -2]]]]], np.float32)
  for key in ('feature', 'threshold', 'child'):
    trees[f'near_{key}'] = np.stack([trees[key]] * 2)
  trees |= {'near_boxes': trees['boxes'], 'near_vote': own}
  found = forest.locate(
    *(trees, forest.integral(image).astype(np.int32)),
    *(np.inf, 3.0, 1.0),
    size_hw=(12, 20),
    depth=1,
    step=1,
    passes=2,
  )
  spread = np.linspace(-3, 3, forest.SIDE)
  padded = np.pad(image.astype(int), 2)
  for landmark, (x, y) in enumerate(np.array(found['points'][0])):
    expected = np.zeros((12, 20))
    for down, right in itertools.product(spread, spread):
      row = int(np.clip(np.rint(y + down), 0, 11))
      column = int(np.clip(np.rint(x + right), 0, 19))
      brighter = padded[row + 2, column + 3] > padded[row + 2, column + 2]
      votes_x, votes_y = own[landmark, 0, int(brighter), 0]
      to = (int(row + votes_y), int(column + votes_x))
      if 0 <= to[0] < 12 and 0 <= to[1] < 20:
        expected[to] += 1
    place = [np.arange(n) for n in (12, 20)]
    down, right = (
      np.exp(-((p[:, None] - p) ** 2) / 2) / np.sqrt(2 * np.pi) for p in place
    )
    np.testing.assert_allclose(
      found['maps'][1, landmark], down @ expected @ right, rtol=1e-4, atol=1e-4
    )


def test_peaks_lie_between_pixels():
  y, x = np.mgrid[:9, :12]
  hill = lambda a, b: 30 - (x - a) ** 2 - (y - b) ** 2
  maps = jnp.array([hill(4.3, 5.8), hill(0, 8)], jnp.float32)
  np.testing.assert_allclose(
    forest.peaks(maps), [[4.3, 5.8], [0, 8]], atol=1e-5
  )


def test_a_forest_finds_planted_places():
  rng = np.random.default_rng(3)
  places = rng.integers(6, SIZE - 6, (24, 2))
  films = np.full((24, SIZE, SIZE), 20, np.uint8)
  for film, (x, y) in zip(films, places, strict=True):
    film[y - 2 : y + 3, x - 2 : x + 3] = 220
  # Two landmarks: the middle of a square, and a place to its left.
  points = np.stack([places, places - (4, 1)], 1).astype(float)
  grown = training_forest.fit(films[:18], points[:18], OPTIONS, 6.0, [0])
  errors = []
  for film, true in zip(films[18:], points[18:], strict=True):
    found = forest.locate(
      *(grown, forest.integral(film).astype(np.int32)),
      *(4.0, 6.0, 1.0),
      size_hw=(SIZE, SIZE),
      depth=OPTIONS.depth,
      step=1,
      passes=3,
    )
    errors.append(np.linalg.norm(found['points'] - true, axis=-1))
  assert np.max(errors) < 1.0, np.array(errors).round(2)
  # The traversal ends where NumPy's features lead.
  pixels = np.array([(0, 0), (3, 20), (11, 9), (23, 5)], np.int32)
  leaves = jax.jit(forest.descend, static_argnums=3)(
    grown,
    forest.integral(films[0]).astype(np.int32),
    pixels,
    OPTIONS.depth,
  )
  for tree in range(OPTIONS.trees):
    features = training_forest.values(films[0], grown['boxes'][tree], pixels)
    for pixel, leaf in zip(features.T, leaves[tree], strict=True):
      node = 0
      while grown['child'][tree, node] >= 0:
        above = (
          pixel[grown['feature'][tree, node]] > grown['threshold'][tree, node]
        )
        node = grown['child'][tree, node] + above
      assert -1 - grown['child'][tree, node] == leaf
