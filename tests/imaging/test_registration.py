"""Registration against the two targets and complex numbers."""

import hand_points
from hand_points import FILM
from hand_points import HAND
import numpy as np
import pytest

from boneage_jax.imaging import geometry
from boneage_jax.imaging import points as points_lib
from boneage_jax.imaging import registration

RIGHT = -1


@pytest.mark.parametrize('seed', range(3))
def test_points_go_to_their_targets(seed):
  rng = np.random.default_rng(seed)
  hand = rng.uniform(0, 400, (3, 2))
  for side in (-1, 1):
    found = registration.register(hand, FILM, side)
    tip, capitate, thumb = points_lib.move(hand, found.matrix)
    np.testing.assert_allclose(tip, (800, 100), atol=1e-6)
    np.testing.assert_allclose(capitate, (800, 1600), atol=1e-6)
    assert np.sign(thumb[0] - 800) == -side
    area = np.linalg.det(found.matrix[:, :2])
    np.testing.assert_allclose(abs(area), found.scale**2)
    assert (area < 0) == found.mirrored


def test_scale_and_angle_are_those_of_the_complex_quotient():
  found = registration.register(HAND, FILM, RIGHT)
  quotient = 1500j / complex(*(HAND[1] - HAND[0]))
  assert not found.mirrored
  np.testing.assert_allclose(found.scale, abs(quotient))
  np.testing.assert_allclose(found.angle_deg, np.angle(quotient, deg=True))


def test_a_mirrored_film_lies_on_the_canvas_as_the_other():
  mirrored = HAND * (-1, 1) + (FILM[1] - 1, 0)
  one = registration.register(HAND, FILM, RIGHT)
  two = registration.register(mirrored, FILM, RIGHT)
  assert two.mirrored and (one.scale, one.angle_deg) == two[1:3]
  np.testing.assert_allclose(
    points_lib.move(HAND, one.matrix),
    points_lib.move(mirrored, two.matrix),
    atol=1e-6,
  )


def test_the_side_is_that_of_most_films():
  made = hand_points.hands()
  assert registration.thumb_side(HAND) == RIGHT
  made[:9] = registration.mirror(made[:9], FILM)
  made[-1] = np.nan
  assert registration.majority_side(made) == RIGHT
  with pytest.raises(ValueError, match='got 9 on the left and 9 on the right'):
    registration.majority_side(made[:18])


@pytest.mark.parametrize('region', registration.REGIONS)
def test_a_region_is_its_part_of_the_canvas(region):
  """Its corners by hand: size and centre as in the paper's crop."""
  (height, width), (x, y) = registration.REGIONS[region]
  found = registration.register(HAND, FILM, RIGHT)
  size = (height // 5, width // 5)
  matrix = registration.region_matrix(found, region, size)
  canvas = points_lib.move(HAND, found.matrix)
  expected = (canvas + 0.5 - (x - width / 2, y - height / 2)) / 5 - 0.5
  np.testing.assert_allclose(points_lib.move(HAND, matrix), expected, atol=1e-6)
  # A margin of a fifth leaves the region in the middle.
  wide = registration.region_matrix(
    found, region, tuple(7 * n // 5 for n in size), 0.2
  )
  np.testing.assert_allclose(
    points_lib.move(HAND, wide),
    expected + np.array(size[::-1]) / 5,
    atol=1e-6,
  )


@pytest.mark.parametrize('mirrored', [False, True])
def test_a_point_stays_on_its_pixel(mirrored):
  film = np.zeros(FILM, np.uint8)
  hand = np.round(HAND)
  x, y = hand[1].astype(int)
  film[y - 2 : y + 3, x - 2 : x + 3] = 255
  if mirrored:
    film, hand = film[:, ::-1], registration.mirror(hand, FILM)
  found = registration.register(hand, FILM, RIGHT)
  picture = registration.cut(film, found, 'carpal', (125, 125))
  rows, columns = np.indices(picture.shape)
  weights = picture.astype(float)
  centre = [np.average(grid, weights=weights) for grid in (columns, rows)]
  np.testing.assert_allclose(centre, (62 + 1 / 12, 62 + 1 / 12), atol=0.05)


def test_it_is_black_below_the_canvas():
  """The canvas ends 105 pixels below the carpal region."""
  film = np.full((4000, 3000), 200, np.uint8)
  found = registration.register(
    np.array([[1500.0, 500.0], [1500.0, 2000.0], [2000.0, 1300.0]]),
    film.shape,
    RIGHT,
  )
  picture = registration.cut(film, found, 'carpal', (105, 105), 0.2)
  last = 1600 + 375 + 105  # rows of the canvas; the picture has 10 to a pixel
  rows = (last - (1600 - 375 - 150)) // 10
  assert (picture[:rows] == 200).all() and not picture[rows + 1 :].any()
  with pytest.raises(ValueError, match='Expected a region among hand, carpal'):
    registration.cut(film, found, 'wrist', (9, 9))


def test_fractions_hold_at_any_resolution():
  found = registration.register(HAND, FILM, RIGHT)
  matrix = registration.to_fractions(found.matrix, FILM)
  fractions = (HAND + 0.5) / (FILM[1], FILM[0])
  np.testing.assert_allclose(
    points_lib.move(fractions, matrix), points_lib.move(HAND, found.matrix)
  )
  np.testing.assert_allclose(
    registration.from_fractions(matrix, FILM), found.matrix, atol=1e-9
  )
  double = geometry.fit_matrix(FILM, (1000, 800))
  np.testing.assert_allclose(
    geometry.compose(double, registration.from_fractions(matrix, (1000, 800))),
    found.matrix,
    atol=1e-9,
  )
