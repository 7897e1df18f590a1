"""Maps of ages over films, and what a deformation layer sampled."""

import numpy as np
import pytest

from boneage_jax.imaging import age_maps

# Windows of 40 pixels, 20 apart along y and 30 along x, on films of 100 x 160.
PLACES = age_maps.Places((100, 160), ((20, 20.0), (30, 25.0)))
FILM_HW = (300, 320)


def test_the_oldest_place_is_brightest_where_its_window_lies():
  for i in range(4):
    for j in range(5):
      ages = np.full((4, 5), 90.0)
      ages[i, j] = 120
      heat = age_maps.film_heat(ages, PLACES, FILM_HW)
      assert heat.min() == 0
      # The window's middle in fractions of the film, which is squashed.
      middle = np.array([(20 + 20 * i) / 100, (25 + 30 * j) / 160])
      y, x = (middle * heat.shape).astype(int)
      assert heat[y, x] > 0.9 * heat.max()
      # A step away are other places, which are the youngest.
      for dy, dx in ((-0.2, 0), (0.2, 0), (0, -30 / 160), (0, 30 / 160)):
        away = middle + np.array([dy, dx])
        if (away > 0.01).all() and (away < 0.99).all():
          y, x = (away * heat.shape).astype(int)
          assert heat[y, x] < 0.1 * heat.max()


def test_one_age_of_all_places_draws_nothing():
  heat = age_maps.film_heat(np.full((2, 2), 77.0), PLACES, FILM_HW)
  assert not heat.any()
  film = np.random.default_rng(0).integers(0, 255, FILM_HW, dtype=np.uint8)
  plain = age_maps.picture(film, PLACES, np.full((2, 2), 77.0))
  old = age_maps.picture(film, PLACES, np.array([[77.0, 78], [77, 77]]))
  assert plain.shape == old.shape and (plain[..., 0] == plain[..., 2]).all()
  assert (old[..., 0] > old[..., 2]).mean() > 0.05  # warm colours


def turned(degrees, wide, high, shift):
  """A frame in pixels of a map of 128 x 64 pixels, as a matrix of halves."""
  angle = np.deg2rad(degrees)
  turn = np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )
  linear = turn @ np.diag([wide, high])
  half = np.array([64, 32])
  return np.column_stack([linear * half / half[:, None], 2 * np.array(shift)])


DEFORMED = PLACES._replace(box=(16.0, 20.0, 144.0, 84.0))


@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize('degrees', [-25.0, 0.0, 40.0])
def test_a_turn_a_scale_and_a_shift_are_said_as_they_were(degrees, mirrored):
  matrix = turned(degrees, 0.8, 1.1, (0.05, -0.1))
  if mirrored:
    matrix[:, 0] *= -1
  found = age_maps.pose(matrix, DEFORMED)
  assert found == pytest.approx((degrees, 0.8, 1.1, 0.05, -0.1, mirrored))


def test_the_frame_is_where_the_corners_are_sampled():
  identity = np.eye(2, 3)
  found = age_maps.frame(identity, DEFORMED, FILM_HW)
  x0, y0, x1, y1 = 16 / 160, 20 / 100, 144 / 160, 84 / 100
  wanted = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
  np.testing.assert_allclose(found, wanted)
  # Clockwise by a right angle: what was to the left is above; 64 pixels of
  # height become the width, about the middle of the map, shifted by a tenth.
  found = age_maps.frame(turned(90, 1, 1, (0.1, 0)), DEFORMED, FILM_HW)
  middle = np.array([80 + 12.8, 52])
  corners = middle + np.array([(32, -64), (32, 64), (-32, 64), (-32, -64)])
  np.testing.assert_allclose(found, corners / (160, 100))


def test_a_film_between_borders_keeps_its_frame():
  """In a letterbox of 100 x 100 pixels a film of 300 x 150 is 50 wide."""
  places = age_maps.Places(
    (100, 100), ((20, 20.0),) * 2, (25.0, 0.0, 75.0, 100.0), 'letterbox'
  )
  found = age_maps.frame(np.eye(2, 3), places, (300, 150))
  np.testing.assert_allclose(
    found, [(0, 0), (1, 0), (1, 1), (0, 1)], atol=1e-12
  )
