"""Joints of boxes get their fingers."""

import pathlib

import numpy as np
import pytest

from boneage_jax.imaging import annotations
from boneage_jax.imaging import geometry
from boneage_jax.imaging import ossification

FINGERS = ('thumb', 'forefinger', 'middle_finger', 'ring_finger')
FINGERS += ('pinky_finger',)


@pytest.fixture
def films(archive):
  found = annotations.load(pathlib.Path(archive) / 'annotations')
  return [found[name] for name in sorted(found)[:12]]


def moved(film, matrix, order):
  """The boxes of a film, moved and in another order."""
  boxes = []
  for k in order:
    rater, label, box = film['boxes'][k]
    corners = np.reshape(box, (2, 2)) @ matrix[:, :2].T + matrix[:, 2]
    boxes.append([rater, label, [*corners.min(0), *corners.max(0)]])
  return {'boxes': boxes}


@pytest.mark.parametrize('mirror', [False, True])
@pytest.mark.parametrize('degrees', [0, 70, 180])
@pytest.mark.parametrize('squash', [1.0, 1.4])
def test_phantoms_joints_are_of_the_fingers_whose_points_they_hold(
  films, mirror, degrees, squash
):
  rng = np.random.default_rng(degrees)
  matrix = geometry.view_matrix((1, 1), degrees, mirror)
  matrix[0] *= squash
  for film in films:
    order = rng.permutation(len(film['boxes']))
    found = ossification.centres(moved(film, matrix, order))
    place = dict(zip(ossification.LANDMARKS, found, strict=True))
    points = np.array(film['keypoints']) @ matrix[:, :2].T + matrix[:, 2]
    for finger in FINGERS:
      # A thumb has the joints 1 to 3 of its points below the tip, others too.
      first = 1 + 4 * FINGERS.index(finger)
      kinds = ('MCP', 'PIP') if finger == 'thumb' else ('MCP', 'PIP', 'DIP')
      for i, kind in enumerate(kinds):
        at = points[first + i + (finger == 'thumb')]
        joints = {n: p for n, p in place.items() if n.endswith(kind)}
        nearest = min(joints, key=lambda n: np.hypot(*(joints[n] - at)))
        assert nearest == f'{finger}_{kind}'


def test_an_expert_comes_first_and_odd_films_are_left_out(films):
  (film, *_) = films
  expert = [['expert', n, [v / 2 for v in b]] for _, n, b in film['boxes']]
  both = {'boxes': film['boxes'] + expert}
  np.testing.assert_allclose(
    ossification.centres(both), ossification.centres(film) / 2
  )
  few = {'boxes': [b for b in film['boxes'] if b[1] != 'Ulna']}
  assert '1 Ulna' in ossification.fault(few).partition(', got ')[0]
  assert 'Ulna' not in ossification.fault(few).partition(', got ')[2]
  assert np.isnan(ossification.centres(few)).all()
  assert ossification.fault({}).endswith('no box')


def test_a_hand_is_as_long_as_its_farthest_joint_is_away():
  points = np.zeros((17, 2))
  points[ossification.LANDMARKS.index('Wrist')] = 5, 5
  points[ossification.LANDMARKS.index('ring_finger_DIP')] = 8, -7
  points[ossification.LANDMARKS.index('thumb_MCP')] = 90, 90
  assert ossification.hand_length(points) == pytest.approx(np.hypot(3, 12))
