"""Numbers that describe films, and hands cut apart."""

import cv2
import numpy as np
import pytest

from boneage_jax.imaging import descriptor
from boneage_jax.imaging import two_hands


def body(width=120, middle=60):
  film = np.full((160, width), 10, np.uint8)
  cv2.ellipse(film, (middle, 90), (30, 60), 0, 0, 360, 120, -1)
  return film


@pytest.mark.parametrize('shape', [(9, 400), (400, 9), (33, 33), (700, 500)])
def test_any_film_is_described_by_as_many_numbers(shape):
  length = len(descriptor.describe(body()))
  rng = np.random.default_rng(0)
  for film in (np.full(shape, 7), rng.integers(0, 256, shape)):
    row = descriptor.describe(film.astype(np.uint8))
    assert row.shape == (length,) and np.isfinite(row).all()


def test_contrast_and_resolution_hardly_count_but_place_and_polarity_do():
  film = body()
  large = cv2.resize(film, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
  row = descriptor.describe(film)
  same = [np.uint8(film // 2 + 40), large]
  other = [film[:90], 255 - film, np.hstack([film, film]), film[:, :60]]
  near = [np.linalg.norm(descriptor.describe(one) - row) for one in same]
  far = [np.linalg.norm(descriptor.describe(one) - row) for one in other]
  assert max(near) < 0.6 * min(far)


def test_noise_and_blocks_are_measured_in_the_middle():
  smooth = cv2.GaussianBlur(body(), (0, 0), 3)
  rng = np.random.default_rng(0)
  noisy = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255)
  measured = lambda film: descriptor.describe(np.uint8(film))[-4:]
  assert np.exp(measured(noisy)[0]) == pytest.approx(12, rel=0.25)
  data = cv2.imencode('.jpg', smooth, [cv2.IMWRITE_JPEG_QUALITY, 3])[1]
  blocks = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
  assert measured(blocks)[1] > measured(smooth)[1] + 0.5
  assert measured(np.full((50, 50), 255))[3] == 1


def test_metal_is_brighter_than_bone_and_steep():
  film = body()
  cv2.ellipse(film, (60, 90), (12, 40), 0, 0, 360, 180, -1)  # a bone
  soft, metal = film.copy(), film.copy()
  soft[70:76, 40:80] = 190
  metal[70:76, 40:80] = 255
  measured = descriptor._brightest
  bright, steep = np.split(measured(metal), 2)
  assert bright[2:].sum() > 0.1 and steep[2:].sum() > 0.1
  for other in (film, soft):
    assert measured(other)[2:8].sum() == 0


@pytest.mark.parametrize('inverted', [False, True])
def test_two_hands_are_cut_in_the_gap(inverted):
  film = np.hstack([body(110, 50), body(130, 70)])
  film = 255 - film if inverted else film
  left, right = (two_hands.cut(film, s, inverted) for s in two_hands.SIDES)
  np.testing.assert_array_equal(np.hstack([left, right]), film)
  # Bodies end at 80 and begin at 150: the cut lies half way.
  assert left.shape[1] == pytest.approx(115, abs=4)
