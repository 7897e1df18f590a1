"""Key points by hand."""

import math

import numpy as np
import pytest

from boneage_jax.imaging import annotations
from boneage_jax.imaging import geometry
from boneage_jax.imaging import points
from boneage_jax.phantom import skeleton


def film(**marked):
  """Annotations with the named points alone."""
  nowhere = [math.nan, math.nan]
  return {'keypoints': [marked.get(p, nowhere) for p in annotations.POINTS]}


def test_points_come_by_name_and_are_nan_where_nobody_marked_them():
  marks = film(thumb4=[0.25, 0.5], wrist=[0.5, 0.75])
  found = points.of_film(marks, ('wrist', 'middle_finger4', 'thumb4'))
  np.testing.assert_array_equal(
    found, [[0.5, 0.75], [math.nan, math.nan], [0.25, 0.5]]
  )
  assert points.marked(marks) == ['wrist', 'thumb4']
  assert np.isnan(points.of_film({}, ('wrist',))).all()


def test_a_capitate_that_nobody_marked_lies_behind_the_knuckle():
  marks = film(wrist=[0.5, 0.9], middle_finger1=[0.4, 0.5])
  found = points.of_film(marks, ('capitate',))
  np.testing.assert_allclose(found, [[0.5 - 0.0231, 0.9 - 0.0924]])
  assert points.marked(marks) == ['wrist', 'middle_finger1', 'capitate']
  older = {'keypoints': marks['keypoints'][:21]}  # of prepared data
  np.testing.assert_array_equal(points.of_film(older, ('capitate',)), found)
  said = film(wrist=[0.5, 0.9], middle_finger1=[0.4, 0.5], capitate=[0.1, 0.2])
  assert points.of_film(said, ('capitate',)).tolist() == [[0.1, 0.2]]
  assert points.marked(film(wrist=[0.5, 0.9])) == ['wrist']


def test_phantoms_have_their_capitate_and_hand_about_there():
  """The figures of the docstrings."""
  missed, guessed = [], []
  for index in range(200):
    hand = skeleton.pose(np.random.default_rng((0, index, 1)))
    knuckle, tip = hand.joints[3][1], hand.joints[3][4]
    wrist, capitate = np.array([-1.0, -25.0]), hand.carpals['capitate'][0]
    marks = film(wrist=wrist.tolist(), middle_finger1=knuckle.tolist())
    (found,) = points.of_film(marks, ('capitate',))
    length = np.hypot(*(tip - wrist))
    missed.append(np.hypot(*(found - capitate)) / length)
    marks = film(capitate=capitate.tolist(), middle_finger4=tip.tolist())
    guessed.append(points.hand_length(marks, (1, 1)) / length)
  assert np.mean(missed) == pytest.approx(0.005, abs=5e-4)
  assert max(missed) == pytest.approx(0.012, abs=5e-4)
  assert np.mean(guessed) == pytest.approx(1, abs=1e-3)
  assert np.std(guessed) == pytest.approx(0.003 / 0.88, abs=5e-4)


def test_a_hand_is_as_long_as_from_the_wrist_to_the_tip():
  marks = film(wrist=[0.5, 0.8], middle_finger4=[0.2, 0.4], capitate=[0.5, 0.4])
  assert points.hand_length(marks, (100, 100)) == pytest.approx(50)
  assert points.hand_length(marks, (200, 100)) == pytest.approx(85.44, abs=0.01)
  assert math.isnan(points.hand_length(film(wrist=[0.5, 0.8]), (100, 100)))


@pytest.mark.parametrize('names', ['wrist', ('wrist', 'elbow')])
def test_what_is_no_point_is_refused(names):
  with pytest.raises(ValueError, match='Expected points among wrist, thumb1'):
    points.of_film({}, names)


def test_the_unit_square_goes_from_edge_to_edge():
  edges = np.array([[-0.5, -0.5], [99.5, 129.5], [49.5, 64.5]])
  unit = points.to_unit(edges, (130, 100))
  np.testing.assert_allclose(unit, [[-1, -1], [1, 1], [0, 0]])
  np.testing.assert_allclose(points.from_unit(unit, (130, 100)), edges)


@pytest.mark.parametrize('mirror', [False, True])
def test_a_point_stays_on_its_pixel(mirror):
  """A bright pixel goes where its point goes, and keeps its name."""
  image = np.zeros((60, 50), np.uint8)
  image[21:24, 11:14] = 255
  matrix = geometry.compose(
    geometry.fit_matrix((60, 50), (120, 100)),
    geometry.view_matrix((120, 100), 20.0, mirror, 1.2),
  )
  x, y = points.move(np.array([12.0, 22.0]), matrix)
  moved = geometry.warp(image, matrix, (120, 100)).astype(float)
  rows, columns = np.indices(moved.shape)
  centre = [np.average(grid, weights=moved) for grid in (columns, rows)]
  np.testing.assert_allclose([x, y], centre, atol=0.05)
