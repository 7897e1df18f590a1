"""The task of key points: the way back to the film, errors, what it refuses."""

import json

from encode import encode
import jax
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_cascade

from boneage_jax.data import preprocess
from boneage_jax.imaging import annotations
from boneage_jax.imaging import points as points_lib
from boneage_jax.training import forward
from boneage_jax.training import validate
from boneage_jax.training.tasks import keypoints
from configs import hand_geometry

HW = (60, 48)
PLACES = {
  'wrist': [0.5, 0.9],
  'middle_finger4': [0.5, 0.1],
  'capitate': [0.25, 0.75],
  'thumb4': [0.9, 0.4],
}


def config(**changes):
  made = ConfigDict(hand_geometry.get_config('phantom').to_dict())
  made.keypoints = ConfigDict(hand_geometry.keypoints_stage())
  made.keypoints.input.size = (16, 12)
  for name, value in changes.items():
    *outer, last = name.split('__')
    section = made.keypoints
    for key in outer:
      section = section[key]
    section[last] = value
  return made


def batch(view=None, **changes):
  """Two films with the points of PLACES, in one view of the net's input."""
  marks = [PLACES.get(p, [np.nan] * 2) for p in annotations.POINTS]
  record = {
    'image': encode(np.zeros(HW, np.uint8)),
    'annotations': json.dumps({'keypoints': marks}),
    **{'id': '1', 'row': 0, 'sex': 1.0, 'age': 100.0},
  }
  options = config(**changes).keypoints.input
  made = preprocess.make_example(record, options, view=view)
  return jax.tree.map(lambda x: np.stack([x, x]), made)


def on_film():
  names = hand_geometry.POINTS
  return np.array([PLACES[name] for name in names]) * HW[::-1] - 0.5


@pytest.mark.parametrize('resize', ['squash', 'letterbox'])
def test_points_of_every_view_are_judged_on_the_film(resize):
  options = config(tta__flip=True, tta__rotate=(0.0, 30.0)).keypoints
  for view in forward.views(options):
    given = batch(view, input__resize=resize)
    rows = keypoints.reduce({'points': given['points']}, given)
    for name in ('points', 'points_true'):
      np.testing.assert_allclose(rows[name][1], on_film(), atol=1e-3)
    np.testing.assert_allclose(rows['hand_length'], 0.8 * HW[0], rtol=1e-6)


def test_the_error_is_a_share_of_the_hand():
  given = batch()
  moved = given['points'].copy()
  moved[0, 1, 0] += 2 * 3 / 12  # the capitate, by 3 pixels of the input
  given['points'][0, 2] = np.nan  # leaves two points of the first film
  given['points'][1] = np.nan  # and none of the second
  rows = keypoints.reduce({'points': moved}, given)
  rows = jax.tree.map(np.array, rows)
  pixels = 3 * HW[1] / 12 / 2  # letterbox: the film fills the width
  np.testing.assert_allclose(
    keypoints.errors(rows), [pixels, np.nan], rtol=1e-4
  )
  found = keypoints.error(rows, {'id': np.array(['1', '2'])})
  assert found == pytest.approx(100 * pixels / (0.8 * HW[0]), rel=1e-4)
  rows['points'][0, 0] = np.nan  # a net that has diverged is not left out
  assert np.isnan(keypoints.error(rows, {'id': np.array(['1', '2'])}))
  assert keypoints.format_metric(1.234) == 'error 1.23 % of the hand'


def test_hands_without_a_length_are_refused():
  rows = {
    'points': np.zeros((1, 1, 2)),
    'points_true': np.ones((1, 1, 2)),
    'hand_length': np.array([np.nan]),
  }
  with pytest.raises(ValueError, match=r"No film among the 1 .*'wrist' or"):
    keypoints.error(rows, {'id': np.array(['1'])})


def test_a_lawful_stage_passes():
  validate.check_stage(config(), 'keypoints', '')


@pytest.mark.parametrize(
  ('message', 'changes'),
  [
    (r'as many .*, 0 \(none\), got keypoint_net of 3', dict(input__points=())),
    (
      r'as many .*, 1 \(wrist\), got keypoint_net of 3: change --config\.keyp',
      dict(input__points=('wrist',)),
    ),
    (
      r"net\.output to be bins, .* 'age', got None of keypoint_net",
      dict(task='age'),
    ),
    (
      r"loss\.name='mae': This loss needs `age` in the outputs, got .'points",
      dict(loss__name='mae'),
    ),
    (
      r"Expected whole films for keypoints\.input\.points, .* 'regions'",
      dict(input__crops_from='regions', input__builder_config=''),
    ),
  ],
)
def test_what_cannot_be_trained_is_refused(message, changes):
  with pytest.raises(ValueError, match=message):
    validate.check_stage(config(**changes), 'keypoints', '')


def test_points_are_those_of_the_paper():
  assert hand_geometry.POINTS == ('middle_finger4', 'capitate', 'thumb4')
  film = {'keypoints': [PLACES.get(p, [0, 0]) for p in annotations.POINTS]}
  found = points_lib.of_film(film, hand_geometry.POINTS)
  assert found.tolist() == [PLACES[p] for p in hand_geometry.POINTS]


def test_the_loss_of_key_points_wants_key_points():
  cascade = ConfigDict(tiny_cascade.get_config().to_dict())
  cascade.localizer.loss = ConfigDict({'name': 'keypoints'})
  with pytest.raises(ValueError, match=r"task 'age', got one .* 'points': cha"):
    validate.check_stage(cascade, 'localizer', '')
