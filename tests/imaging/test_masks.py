"""Masks: what is drawn from which annotation."""

import math

import numpy as np
import pytest

from boneage_jax.imaging import annotations
from boneage_jax.imaging import masks

SQUARE = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]
HOLE = [[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]
HW = (200, 100)


def drawn(film, *kinds, hw=HW):
  return masks.draw(film, kinds, hw) == 255


def test_an_outline_is_filled_but_for_its_holes():
  film = {'polygons': [{'exterior': SQUARE, 'interior': [HOLE]}]}
  mask = drawn(film, 'hand_polygons')
  assert mask.mean() == pytest.approx(0.36 - 0.04, abs=0.015)
  assert mask[50, 50] and not mask[100, 50] and not mask[10, 10]
  small = {'exterior': HOLE, 'interior': []}  # a second outline fills it
  mask = drawn({'polygons': [*film['polygons'], small]}, 'hand_polygons')
  assert mask[100, 50] and mask.mean() == pytest.approx(0.36, abs=0.015)


def test_boxes_are_those_asked_for():
  film = {
    'hand_box': [0.1, 0.2, 0.9, 1.0],
    'boxes': [
      ['expert', 'DIP', [0.1, 0.1, 0.2, 0.2]],
      ['train', 'Wrist', [0.5, 0.5, 0.9, 0.7]],
    ],
  }
  for kind, area in (
    ('hand_box', 0.64),
    ('ossification_boxes', 0.01 + 0.08),
    ('wrist_box', 0.08),
  ):
    assert drawn(film, kind).mean() == pytest.approx(area, abs=0.012), kind
  rows, columns = np.nonzero(drawn(film, 'wrist_box'))
  assert (rows.min(), rows.max()) == pytest.approx((100, 140), abs=1)
  assert (columns.min(), columns.max()) == pytest.approx((50, 90), abs=1)


def test_the_skeleton_leaves_out_points_that_were_not_marked():
  points = [[math.nan, math.nan] for _ in annotations.POINTS]
  film = {'keypoints': points}
  assert not masks.has(film, ('hand_skeleton',))
  points[0], points[9], points[12] = [0.5, 0.9], [0.5, 0.5], [0.5, 0.1]
  points[20] = [0.9, 0.5]  # the tip alone of the little finger
  mask = drawn(film, 'hand_skeleton')
  width = masks.STROKE * 200
  length = 160 + math.hypot(40, 80)
  assert length * width < mask.sum() < 2 * length * width  # OpenCV's lines
  assert mask[25, 50] and mask[140, 70] and not mask[50, 90]


def test_fracture_masks_and_the_first_kind_that_is_there():
  film = {
    'fracture': {
      'polygons': [],
      'boxes': [[0.0, 0.0, 0.5, 0.5]],
      'strokes': [[[0.1, 0.1], [0.4, 0.4]]],
    }
  }
  assert masks.draw(film, ('fracture_polygons',), HW) is None
  assert not masks.has(film, ('hand_box', 'fracture_polygons'))
  mask = drawn(film, 'fracture_polygons', 'fracture_boxes', 'fracture_strokes')
  assert mask.mean() == pytest.approx(0.25, abs=0.01)
  assert 0 < drawn(film, 'fracture_strokes').mean() < 0.03
  assert masks.has(film, ('hand_box', 'fracture_strokes'))
  assert masks.draw({}, masks.KINDS, HW) is None


@pytest.mark.parametrize('kinds', [('hand',), 'hand_box'])
def test_unknown_kinds(kinds):
  with pytest.raises(ValueError, match='must be a tuple of some of'):
    masks.check(kinds)
