"""Masks and points come to a net's input with their film."""

import json
import math

from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.data import marks as marks_lib
from boneage_jax.data import preprocess
from boneage_jax.imaging import annotations
from boneage_jax.imaging import codec
from boneage_jax.imaging import intensity
from boneage_jax.imaging import points as points_lib
from configs import common

SQUARE = [[0.2, 0.3], [0.6, 0.3], [0.6, 0.9], [0.2, 0.9]]
NAMES = ('thumb4', 'middle_finger4')


def record(**annotated):
  """A film whose outlined square is bright, with a mark on a corner of it."""
  image = np.full((80, 60), 20, np.uint8)
  image[24:72, 12:36] = 220
  return {
    'image': codec.bitmap(image),
    'id': '1',
    'row': 0,
    'sex': 1.0,
    'age': 100.0,
    'annotations': json.dumps(annotated),
  }


def marked():
  """Annotations: the square, and its upper left corner as `thumb4`."""
  points = [[math.nan, math.nan] for _ in annotations.POINTS]
  points[annotations.POINTS.index('thumb4')] = SQUARE[0]
  return {
    'polygons': [{'exterior': SQUARE, 'interior': []}],
    'keypoints': points,
  }


def options(**changes):
  return ConfigDict(
    common.image_input(
      size=(96, 64),
      masks=('hand_polygons',),
      points=NAMES,
      rotate=20.0,
      zoom=0.2,
      shift=0.05,
      flip=True,
      **changes,
    )
  )


@pytest.mark.parametrize('seed', range(4))
def test_masks_and_points_move_with_the_film(seed):
  rng = np.random.default_rng(seed)
  made = preprocess.make_example(record(**marked()), options(), rng)
  bright = made['image'][..., 0] > 120
  mask = made['region_mask']
  assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
  assert np.mean((mask == 1) == bright) > 0.97
  corner = points_lib.from_unit(made['points'][0], (96, 64))
  rows, columns = np.nonzero(bright)
  distance = np.hypot(columns - corner[0], rows - corner[1])
  assert distance.min() < 1.5  # on the square's outline
  centre = np.array([columns.mean(), rows.mean()])
  half = np.hypot(*(np.ptp(columns), np.ptp(rows))) / 2
  assert np.hypot(*(corner - centre)) > 0.7 * half  # and at its corner
  assert np.isnan(made['points'][1]).all()


def test_points_under_a_hole_are_not_asked_for():
  hw = (10, 20)
  points = np.array([[3.4, 2.6], [2.4, 3], [9.6, 3], [5, 6.5], [np.nan, 3]])
  marks = {
    'points': points,
    'film_hw': np.array(hw),
    'hand_length': np.array(9.0),
  }
  hole = (0.17, 0.25, 0.5, 0.65)  # of it, columns 3 to 9 and rows 2 to 6
  painted = intensity.erase(np.ones(hw), hole)
  assert not painted[2:7, 3:10].any() and painted.sum() == 200 - 5 * 7
  fit = lambda *holes: marks_lib.fit(marks, np.eye(2, 3), hw, holes)['points']
  hidden = np.isnan(fit(hole)).all(-1)
  assert hidden.tolist() == [True, False, False, False, True]
  assert not np.isnan(fit()[:4]).any()
  assert np.isnan(fit(hole, (0, 0, 1, 1))).all()
  plain = points_lib.to_unit(points[1:4], hw)
  np.testing.assert_allclose(fit(hole)[1:4], plain, rtol=1e-6)


@pytest.mark.parametrize('resize', ['squash', 'letterbox'])
def test_points_of_the_input_go_back_to_the_film(resize):
  rng = np.random.default_rng(3)
  made = preprocess.make_example(
    record(**marked()), options(resize=resize), rng
  )
  to_film = made['to_film']
  back = to_film[:, :2] @ made['points'][0] + to_film[:, 2]
  corner = np.array(SQUARE[0]) * (60, 80) - 0.5
  np.testing.assert_allclose(back, corner, atol=1e-3)
  assert made['film_hw'].tolist() == [80, 60]
  assert np.isnan(made['hand_length'])  # without a tip
  kinds = {made[n].dtype.name for n in ('to_film', 'film_hw', 'hand_length')}
  assert kinds == {'float32'}


def test_without_an_annotation_nobody_said():
  made = preprocess.make_example(record(), options())
  assert (made['region_mask'] == 255).all()
  assert np.isnan(made['points']).all()


def test_marks_change_nothing_else():
  plain = options(corruption_prob=0.0)
  plain.masks = plain.points = ()
  draw = lambda config: preprocess.make_example(
    record(**marked()), config, np.random.default_rng(5)
  )
  with_marks, without = draw(options()), draw(plain)
  assert set(with_marks) - set(without) == {
    *('region_mask', 'points', 'to_film', 'film_hw', 'hand_length')
  }
  np.testing.assert_array_equal(with_marks['image'], without['image'])
