"""One film as the data set keeps it."""

import cv2
import dummy_archive
from encode import encode
import numpy as np
import pytest

from tfds_rsna import films
from tfds_rsna import tfds_rsna_dataset_builder  # noqa: F401 (registers it)


@pytest.mark.parametrize(
  ('shape', 'kept'),
  [
    ((700, 300), (512, 219)),
    ((300, 700), (219, 512)),
    ((512, 60), (512, 60)),
    ((90, 60), (90, 60)),
  ],
)
def test_px512_shrinks_the_long_side_and_never_enlarges(shape, kept):
  image = cv2.GaussianBlur(dummy_archive.pixels(0, *shape), (9, 9), 3)
  data, height, width = films.encode(encode(image), 512)
  small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  assert small.shape == kept
  assert (height, width) == shape
  assert abs(small.mean() - image.mean()) < 0.5


def test_area_shrink_is_the_mean_of_the_pixels():
  image = dummy_archive.pixels(0, 2048, 8)
  data, _, _ = films.encode(encode(image), 512)
  small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  mean = image.reshape(512, 4, 2, 4).mean((1, 3))
  assert np.abs(small - mean).max() <= 0.5


def test_only_8_bit_grey_is_copied():
  grey = dummy_archive.pixels(0)
  jpg = encode(grey, '.jpg')
  assert films.encode(jpg)[0] == jpg
  colour = encode(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
  deep = encode((grey.astype(np.uint16) - grey.min()) * 16)
  low, high = np.percentile(grey, (0.5, 99.5))
  stretch = np.clip((grey - low) / (high - low) * 256, 0, 255)
  for data, expected in ((colour, grey), (deep, np.floor(stretch))):
    out, _, _ = films.encode(data)
    image = cv2.imdecode(np.frombuffer(out, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)
