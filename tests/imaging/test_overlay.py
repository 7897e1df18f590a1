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


def test_hands_are_drawn_where_they_are():
  plain = np.full((200, 160, 3), 90, np.uint8)
  mask = np.zeros((50, 40), np.uint8)
  mask[10:40, 8:32] = 255
  white = np.argwhere(overlay.draw_hand(plain, mask).min(2) > 200)
  np.testing.assert_allclose(white.min(0), [40, 32], atol=2)
  np.testing.assert_allclose(white.max(0), [159, 127], atol=2)
  points = np.array([[0.25, 0.75], [np.nan, 0.5]])
  red = np.argwhere(np.ptp(overlay.draw_hand(plain, points=points), 2) > 60)
  np.testing.assert_allclose(red.mean(0), [149.5, 39.5], atol=1)
  turned = np.array([[0.5, 0.1], [0.9, 0.5], [0.5, 0.9], [0.1, 0.5]])
  frames = {'hand': turned, 'far': turned + 1e6}
  lines = np.argwhere(np.ptp(overlay.draw_hand(plain, frames=frames), 2) > 60)
  corners = [lines[lines[:, 0].argmin()], lines[lines[:, 1].argmax()]]
  np.testing.assert_allclose(corners, [[20, 80], [100, 144]], atol=2)
  assert plain.min() == plain.max()


def test_a_caption_lies_below_the_picture():
  picture = np.full((50, 140, 3), 7, np.uint8)
  text = 'ages of real films are meaningless'
  found = overlay.captioned(picture, text)
  assert found.shape[0] > 50 + 2 * overlay.LINE and found.shape[1:] == (140, 3)
  np.testing.assert_array_equal(found[:50], picture)
  assert found[50:].max() > 200 and found[50:].mean() < 100
  assert len(overlay.captioned(picture, text[:4])) < len(found)


def test_layers_lie_on_each_other_as_one_picture_shows_them():
  film = np.tile(np.arange(80, dtype=np.uint8), (100, 1))
  marks = overlay.Marks(
    heat=np.eye(10),
    regions={'carpal': ((0.25, 0.5, 0.75, 0.9), 1.0, True)},
    points=np.array([[0.5, 0.2]]),
  )
  found = overlay.layers(film, marks, 440)
  assert found.film.shape == (440, 352)
  picture = np.repeat(found.film[..., None], 3, axis=2).astype(float)
  for layer in (found.heat, found.marks):
    share = layer[..., 3:] / 255
    picture = picture * (1 - share) + layer[..., :3] * share
  off = np.abs(picture - overlay.drawn(film, marks)).max(axis=2)
  # Half covered pixels at the edges of lines are darker.
  assert np.mean(off > 2) < 0.02 and np.median(off) < 1
  plain = overlay.layers(film, overlay.Marks(heat=np.zeros((4, 4))), 50)
  assert plain.heat is None and plain.marks is None
