"""Thresholds against annotated boxes, on maps whose boxes are known."""

import numpy as np
import pytest

from boneage_jax.evaluation import box_thresholds

TRUTH = np.array([0.25, 0.5, 0.75, 1.0])


def steps():
  """A map that is 1 in a core, 0.2 in TRUTH, and 0.05 elsewhere."""
  heat = np.full((64, 64), 0.05, np.float16)
  heat[32:, 16:48] = 0.2
  heat[40:56, 24:40] = 1.0
  return heat


@pytest.mark.parametrize(
  ('level', 'expected'), [(10, 1 / 4), (40, 1.0), (100, 1 / 4)]
)
def test_iou_of_a_planted_map(level, expected):
  # Below 0.05 the box is the film, of which TRUTH is a quarter; above 0.2 it
  # is the core, a quarter of TRUTH.
  value = box_thresholds.overlap(
    steps(), (512, 256), 'squash', TRUTH, level, 'largest'
  )
  assert value == pytest.approx(expected, abs=0.06)


def test_a_map_without_heat_overlaps_nothing():
  empty = np.zeros((8, 8), np.float16)
  assert (
    box_thresholds.overlap(empty, (90, 60), 'squash', TRUTH, 20, 'peak') == 0
  )


def test_figures():
  row = box_thresholds.overlap_summary([1.0, 0.5, 0.3, 0.2])
  assert row == {'n': 4, 'miou': pytest.approx(0.5), 'ap50': 0.5}


def test_truth_is_the_hand_box_or_a_label():
  film = {
    'hand_box': [0, 0, 1, 1],
    'boxes': [['expert', 'Wrist', [0.1, 0.2, 0.3, 0.4]]],
  }
  assert box_thresholds.truth_box(film, 'hand_box').tolist() == [0, 0, 1, 1]
  wrist = box_thresholds.truth_box(film, 'Wrist')
  np.testing.assert_allclose(wrist, [0.1, 0.2, 0.3, 0.4])
  assert box_thresholds.truth_box(film, 'Ulna') is None
  assert box_thresholds.truth_box({}, 'hand_box') is None
