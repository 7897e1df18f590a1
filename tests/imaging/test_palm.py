"""Registration by masks of phantoms, against that by their exact points."""

import functools

import numpy as np
import pytest

from boneage_jax.imaging import annotations
from boneage_jax.imaging import masks
from boneage_jax.imaging import palm
from boneage_jax.imaging import points as points_lib
from boneage_jax.imaging import registration
from boneage_jax.phantom import render

RIGHT = -1
# Of the canvas, where registered films are to have tip and capitate.
NEAR = 0.03 * registration.CANVAS_HW[0]


@functools.cache
def phantoms():
  """Masks, points and sizes of films: twelve to learn from, eight to judge."""
  films = []
  for index in range(20):
    film = render.make_film(index, 7, {'long_side': 160})
    hw = film['image'].shape
    polygon = {'exterior': film['polygon'].tolist(), 'interior': []}
    mask = masks.draw({'polygons': [polygon]}, ['hand_polygons'], hw)
    named = dict(zip(annotations.POINTS, film['keypoints'], strict=True))
    wrist, joint = named['wrist'], named['middle_finger1']
    hand = [
      named['middle_finger4'],
      wrist + 0.24 * (joint - wrist),  # where phantoms have the capitate
      named['thumb4'],
    ]
    films.append((mask, np.array(hand) * (hw[1], hw[0]) - 0.5, hw))
  return films[:12], films[12:]


@functools.cache
def rule():
  return palm.fit_rule(
    (palm.find(mask, hw), registration.register(hand, hw, RIGHT))
    for mask, hand, hw in phantoms()[0]
  )


@pytest.mark.parametrize('mirror', [False, True])
def test_hands_come_near_their_targets(mirror):
  missed = []
  for mask, hand, hw in phantoms()[1]:
    shown = mask[:, ::-1] if mirror else mask
    found = palm.register(palm.find(shown, hw), hw, rule(), RIGHT)
    assert found.mirrored == mirror
    there = registration.mirror(hand, hw) if mirror else hand
    moved = points_lib.move(there[:2], found.matrix)
    targets = (registration.TIP, registration.CAPITATE)
    missed.append(np.linalg.norm(moved - targets, axis=-1))
  tip, capitate = np.median(missed, axis=0)
  assert tip < NEAR and capitate < NEAR / 2
  assert np.max(missed) < 3 * NEAR


def test_a_hand_that_points_down_is_turned():
  mask, hand, hw = phantoms()[1][0]
  upright = palm.register(palm.find(mask, hw), hw, rule(), RIGHT)
  down = np.array(hw[::-1]) - 1 - hand  # by half a turn
  found = palm.register(palm.find(mask[::-1, ::-1], hw), hw, rule(), RIGHT)
  turn = (found.angle_deg - upright.angle_deg) % 360
  np.testing.assert_allclose(turn, 180, atol=1.5)
  np.testing.assert_allclose(
    points_lib.move(down, found.matrix),
    points_lib.move(hand, upright.matrix),
    atol=NEAR / 2,
  )


def test_a_mask_holds_at_any_resolution():
  mask, _, hw = phantoms()[1][1]
  large = np.kron(mask, np.ones((3, 3), np.uint8))
  one = palm.find(mask, hw)
  for found in (palm.find(large, hw), palm.find(large[1::2, 1::2] > 0, hw)):
    np.testing.assert_allclose(found.centre, one.centre, atol=2)
    np.testing.assert_allclose(found.size, one.size, rtol=0.03)
    assert found.fingers @ one.fingers > 0.999 and found.thumb == one.thumb


@pytest.mark.parametrize('fill', [0, 255])
def test_what_is_no_hand_is_a_named_failure(fill):
  mask = np.zeros((60, 50), np.uint8)
  mask[10:40, 10:40] = fill
  with pytest.raises(ValueError, match=r'^no_hand_in_mask: expected'):
    palm.find(mask, (60, 50))


def test_a_rule_needs_annotated_films():
  with pytest.raises(ValueError, match=r'got none: add hand_polygons\.json'):
    palm.fit_rule([])
