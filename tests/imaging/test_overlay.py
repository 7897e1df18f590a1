"""Pictures of films with boxes and heat."""

import numpy as np
import pytest

from boneage_jax.imaging import boxes
from boneage_jax.imaging import overlay


def test_overlay_draws_found_boxes_only():
  film = np.full((100, 80), 90, np.uint8)
  found = {'carpal': ((0.25, 0.5, 0.75, 1.0), 1.0, True)}
  picture = overlay.overlay(film, regions=found, height=200)
  assert picture.shape == (200, 160, 3)
  painted = np.argwhere(np.ptp(picture.astype(int), axis=2) > 40)
  np.testing.assert_allclose(painted.min(0), [100, 40], atol=2)
  np.testing.assert_allclose(painted.max(0), [199, 120], atol=2)
  missed = {'carpal': (boxes.WHOLE_FILM, 0.0, False)}
  plain = overlay.overlay(film, regions=missed, height=200)
  assert np.ptp(plain.astype(int), axis=2).max() == 0


@pytest.mark.parametrize(
  ('resize', 'centre'), [('squash', (49.5, 54.5)), ('letterbox', (49.5, 59.5))]
)
def test_heat_lands_on_the_film(resize, centre):
  # On a film twice as high as wide a letterboxed input shows the film in its
  # middle columns 2.5 to 7.5 of 10; column 5 is then further right.
  maps = np.zeros((1, 10, 10))
  maps[0, 2, 5] = 1
  heat = overlay.film_heat(maps, (200, 100), resize)
  peak = np.argwhere(heat > 0.9 * heat.max()).mean(axis=0)
  peak = (peak + 0.5) / heat.shape * (200, 100) - 0.5
  np.testing.assert_allclose(peak, centre, atol=1.5)
