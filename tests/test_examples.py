"""One record to one example: what augmentation may and may not do."""

import types

import cv2
import numpy as np

from boneage_jax import examples
from configs import common


def png(image):
  return cv2.imencode('.png', image)[1].tobytes()


def test_cutout_blacks_out_one_rectangle_half_of_the_time():
  rng = np.random.default_rng(0)
  film = np.full((100, 200), 200, np.uint8)
  sides, untouched = [], 0
  for _ in range(400):
    erased = examples.cutout(film, rng)
    rows, columns = np.nonzero(erased == 0)
    if not len(rows):
      untouched += 1
      np.testing.assert_array_equal(erased, film)
      continue
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == height * width  # solid, and nothing else is painted
    assert (erased == 200).sum() == film.size - height * width
    sides.append((height / 100, width / 200))
  assert 160 < untouched < 240
  # A pixel more at most on either side, which the rectangle only touches.
  assert np.min(sides) >= 0.12 and np.max(sides) <= 0.32
  np.testing.assert_allclose(np.mean(sides), 0.21, atol=0.015)


def test_examples_lose_rectangles_in_training_only():
  image = png(np.full((64, 64), 200, np.uint8))
  record = {'id': 1, 'male': 1.0, 'age': 100.0, 'image': image}
  config = types.SimpleNamespace(**common.image_input(size=64, cutout=8))
  whole = examples.make_example(record, config)['image']
  assert (whole == 200).all()
  rng = np.random.default_rng(0)
  trained = examples.make_example(record, config, rng)['image']
  assert set(np.unique(trained)) == {0, 200}
