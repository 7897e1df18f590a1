"""Coverage of annotated boxes against hand-made ones."""

import numpy as np
import pytest

from boneage_jax.imaging import boxes as boxes_lib
from boneage_jax.regions import coverage


def test_iou():
  a = np.array([0.0, 0.0, 0.4, 0.4])
  b = np.array([[0.2, 0.0, 0.6, 0.4], [0.5, 0.5, 0.6, 0.6], [0, 0, 0.4, 0.4]])
  np.testing.assert_allclose(boxes_lib.iou(a, b), [1 / 3, 0, 1])
  assert boxes_lib.iou(np.zeros(4), np.zeros(4)) == 0


def _box(x, y, half=0.05):
  return [x - half, y - half, x + half, y + half]


def test_region_coverage_of_two_films():
  wrist = [0.4, 0.7, 0.6, 0.9]
  joints = [('expert', 'MCP', _box(x, 0.5)) for x in (0.3, 0.5, 0.7, 0.95)]
  annotations = {
    '1': {'boxes': [('expert', 'Wrist', wrist), *joints], 'hw': (2000, 1000)},
    '2': {'boxes': [('train', 'Wrist', wrist)], 'hw': (1000, 1000)},
    '3': {'hand_box': [0, 0, 1, 1]},  # no boxes: not annotated for this
  }
  whole = (0.0, 0.0, 1.0, 1.0)
  regions = {
    '1': {
      'carpal': (_box(0.65, 0.8, 0.1), 0.5, True),  # just outside, yet near
      'metacarpal': ((0.2, 0.4, 0.8, 0.6), 0.5, True),
    },
    '2': {'carpal': (whole, 0.0, False), 'metacarpal': (wrist, 0.5, True)},
    '3': {'carpal': (wrist, 0.5, True)},
    '4': {'carpal': (wrist, 0.5, True)},
  }
  rows = coverage.region_coverage(regions, annotations)
  carpal = rows['carpal']
  assert (carpal['n'], carpal['found']) == (2, 0.5)
  assert carpal['centre_in_wrist'] == 0
  assert carpal['centre_near_wrist'] == 0.5  # the miss does not count as near
  # 0.15 of the width is 0.075 of the long side of a film twice as high.
  assert carpal['centre_distance'] == pytest.approx(0.075)
  assert carpal['iou_wrist'] == pytest.approx(0.01 / 0.07)
  assert carpal['covers_mcp'] == 0
  metacarpal = rows['metacarpal']
  assert metacarpal['covers_mcp'] == 0.75
  assert metacarpal['centre_in_wrist'] == 0.5
  assert 'covers_pip' not in metacarpal  # nobody drew one


@pytest.mark.parametrize('order', [1, -1])
def test_the_expert_goes_first(order):
  boxes = [
    ('nonexpert', 'Wrist', [0, 0, 0.1, 0.1]),
    ('train', 'Wrist', [0, 0, 0.2, 0.2]),
    ('expert', 'Wrist', [0, 0, 0.3, 0.3]),
  ][::order]
  chosen = boxes_lib.annotated_boxes({'boxes': boxes})
  np.testing.assert_allclose(chosen['Wrist'], [[0, 0, 0.3, 0.3]])
