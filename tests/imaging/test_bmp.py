"""BMP films, against Pillow and OpenCV."""

import io

from encode import encode
import numpy as np
from PIL import Image
import pytest

from boneage_jax.imaging import bmp
from boneage_jax.imaging import limits

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (15, 21), np.uint8)


def read(data):
  return bmp.read(data, limits.Admission())


def saved(image):
  out = io.BytesIO()
  image.save(out, 'BMP')
  return out.getvalue()


def test_grey_colour_and_palettes():
  np.testing.assert_array_equal(read(encode(GREY, '.bmp')), GREY)
  colour = RNG.integers(0, 256, (7, 6, 3), np.uint8)
  np.testing.assert_array_equal(read(encode(colour, '.bmp')), colour)
  index = Image.fromarray(GREY % 9).convert('P')
  index.putpalette(RNG.integers(0, 256, 27, np.uint8).tolist())
  found = read(saved(index))
  np.testing.assert_array_equal(found[..., ::-1], index.convert('RGB'))


def test_lines_from_above():
  data = bytearray(encode(GREY, '.bmp'))
  data[22:26] = (-15).to_bytes(4, 'little', signed=True)
  np.testing.assert_array_equal(read(bytes(data)), GREY[::-1])


@pytest.mark.parametrize(
  ('data', 'says'),
  [
    (encode(GREY, '.bmp')[:-1], 'Truncated BMP: 359 of 360 bytes'),
    (encode(GREY, '.bmp')[:50], 'no header'),
    (saved(Image.fromarray(GREY > 9)), 'got 1 bits'),
    (saved(Image.fromarray(GREY).convert('RGBA')), 'got 32 bits'),
  ],
)
def test_others_are_refused_by_name(data, says):
  with pytest.raises(ValueError, match=says):
    read(data)
