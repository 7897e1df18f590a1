"""Key points by hand."""

import math

import numpy as np
import pytest

from boneage_jax.imaging import annotations
from boneage_jax.imaging import geometry
from boneage_jax.imaging import points


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
