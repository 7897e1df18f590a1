"""What is annotated lies where it is drawn, also on films that are moved."""

import cv2
import numpy as np
import pytest

from boneage_jax import phantom
from boneage_jax.phantom import render

SMALL = {'long_side': 96}


def test_annotations_lie_on_the_hand():
  for index in range(12):
    film = phantom.make_film(index, 8, {'long_side': 256})
    image, hand = film['image'], film['hand_box']
    assert image.dtype == np.uint8
    assert max(image.shape) == 256
    assert (hand[:2] >= 0).all()
    assert (hand[2:] <= 1).all()
    assert (hand[2:] - hand[:2] > 0.3).all()
    points = film['keypoints']
    assert points.shape == (22, 2)
    assert (points >= hand[:2] - 0.01).all()
    assert (points <= hand[2:] + 0.01).all()
    for label, box in film['boxes']:
      assert (box[:2] >= hand[:2] - 1e-9).all(), label
      assert (box[2:] <= hand[2:] + 1e-9).all(), label
      assert (box[2:] > box[:2]).all(), label
    # every joint lies in the hand's outline
    outline = film['polygon'].astype(np.float32)
    for point in points:
      inside = cv2.pointPolygonTest(outline, point.tolist(), True)
      assert inside > -0.01
    # a left hand: the thumb to the right of the little finger, tips up
    assert points[4, 0] > points[20, 0]
    assert points[12, 1] < points[0, 1]


def similarity(a, b):
  """The turn, scale and shift that best take points a to b, as [2, 3]."""
  z, w = (p @ np.array([1, 1j]) for p in (a, b))
  factor, shift = np.linalg.lstsq(np.c_[z, np.ones(len(z))], w, rcond=None)[0]
  x, y = factor.real, factor.imag
  return np.array([[x, -y, shift.real], [y, x, shift.imag]])


@pytest.mark.parametrize('index', [2, 5])
def test_turned_and_shifted_films_are_annotated_where_they_are_drawn(index):
  """The drawn film goes where its points say, within half a pixel."""
  film = lambda **o: render.make_film(index, 9, {'long_side': 320} | o)
  plain, moved = film(), film(turn=30.0, shift=0.15)
  size = np.array(plain['image'].shape[::-1])
  assert moved['image'].shape == plain['image'].shape
  matrix = similarity(plain['keypoints'] * size, moved['keypoints'] * size)
  to_moved = lambda p: p * size @ matrix[:, :2].T + matrix[:, 2]
  away = to_moved(plain['keypoints']) - moved['keypoints'] * size
  assert np.abs(away).max() < 1e-6
  degrees = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
  assert 4 < abs(degrees) <= 30
  # Centres of joints' boxes are points, too, unless the hand's box cuts them.
  hand, joints = moved['hand_box'], ('DIP', 'PIP', 'MCP')
  pairs = zip(plain['boxes'], moved['boxes'], strict=True)
  whole = [
    (a, b)
    for (label, a), (_, b) in pairs
    if label in joints and (b[:2] > hand[:2]).all() and (b[2:] < hand[2:]).all()
  ]
  assert len(whole) > 8
  for a, b in whole:
    centre = lambda box: (box[:2] + box[2:]) / 2
    np.testing.assert_allclose(to_moved(centre(a)), centre(b) * size, atol=0.01)

  # Pixels, without what was added to the film after the hand: by centres.
  edges = lambda image: cv2.Laplacian(np.float32(image), cv2.CV_32F, ksize=5)
  pixels = matrix.copy()
  pixels[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
  inside = np.zeros(plain['image'].shape, np.uint8)
  reach = np.round(moved['keypoints'] * size).astype(int)
  for point in reach:
    cv2.circle(inside, point.tolist(), 10, 1, -1)
  drawn = edges(moved['image'])[inside > 0]

  def alike(dx, dy):
    shifted = pixels + np.array([[0, 0, dx], [0, 0, dy]])
    carried = cv2.warpAffine(plain['image'], shifted, tuple(size.tolist()))
    return np.corrcoef(edges(carried)[inside > 0], drawn)[0, 1]

  steps = (-1, 0, 1)
  found = {(x, y): alike(x, y) for x in steps for y in steps}
  assert max(found, key=found.get) == (0, 0), found
  # And the outline.
  masks = []
  for outline in (to_moved(plain['polygon']), moved['polygon'] * size):
    mask = np.zeros(inside.shape, np.uint8)
    cv2.fillPoly(mask, [np.round(outline - 0.5).astype(int)], 1)
    x0, y0, x1, y1 = np.round(hand * np.tile(size, 2)).astype(int)
    masks.append(mask[y0 : y1 - 20, x0:x1] > 0)
  both, any_ = np.logical_and(*masks).sum(), np.logical_or(*masks).sum()
  assert both / any_ > 0.95


def test_hands_stay_on_the_film_and_are_moved_as_far_as_is_said():
  places, turns = [], []
  for index in range(12):
    plain, moved = (
      render.make_film(index, 4, SMALL | more)
      for more in ({}, {'turn': 30.0, 'shift': 0.15})
    )
    points = moved['keypoints']
    assert (points > 0).all() and (points < 1).all()
    assert moved['age'] == plain['age'] and moved['male'] == plain['male']
    places.append(moved['hand_box'][:2] + moved['hand_box'][2:] - 1)
    size = np.array(moved['image'].shape[::-1])
    matrix = similarity(plain['keypoints'] * size, points * size)
    turns.append(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))
  assert np.abs(turns).max() <= 30.001 and np.std(turns) > 12
  assert np.std(np.array(places) / 2, axis=0).min() > 0.06
  with pytest.raises(ValueError, match=r'--config\.phantom\.shift'):
    render.make_film(0, 0, {'shift': 0.5})
