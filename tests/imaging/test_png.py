"""Stored PNGs decode to the same pixels, by any reader."""

import io
import struct
import zlib

import cv2
from encode import encode
import numpy as np
from PIL import Image
import pytest

from boneage_jax.imaging import png


def noise(*shape, dtype=np.uint8):
  return np.random.default_rng(0).integers(
    0, np.iinfo(dtype).max, shape, dtype, endpoint=True
  )


def decode(data):
  return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def pixel_bytes(data):
  """What the IDAT chunks of a PNG inflate to, by zlib."""
  position, parts = 8, []
  while position < len(data):
    length, kind = struct.unpack_from('>I4s', data, position)
    if kind == b'IDAT':
      parts.append(data[position + 8 : position + 8 + length])
    position += length + 12
  return zlib.decompress(b''.join(parts)), sum(map(len, parts))


FILTERS = [cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_ALL_FILTERS]


@pytest.mark.parametrize(
  'image',
  [
    noise(1, 1),
    noise(40, 31) // 16 * 16,
    noise(300, 250),  # more than one block
    noise(50, 40, dtype=np.uint16),
    noise(50, 40, 3),
    noise(50, 40, 4),
  ],
  ids=lambda image: f'{image.shape} {image.dtype}',
)
@pytest.mark.parametrize('filters', FILTERS)
def test_same_pixels_in_a_sound_file(image, filters):
  data = encode(image, options=(cv2.IMWRITE_PNG_FILTER, filters))
  stored = png.inflate(data)
  np.testing.assert_array_equal(decode(stored), image)
  png.check(stored)  # lengths and checksums
  lines, size = pixel_bytes(stored)
  assert lines == pixel_bytes(data)[0]
  assert size > len(lines)  # stored indeed
  pillow = np.asarray(Image.open(io.BytesIO(stored)))
  np.testing.assert_array_equal(
    pillow, np.asarray(Image.open(io.BytesIO(data)))
  )


@pytest.mark.parametrize('shape', [(2, 3), (64, 48), (301, 250)])
def test_encode_is_lossless_and_filters_upwards(shape):
  image = noise(*shape) // 4
  data = png.encode(image)
  np.testing.assert_array_equal(decode(data), image)
  lines = np.frombuffer(pixel_bytes(data)[0], np.uint8).reshape(shape[0], -1)
  assert (lines[:, 0] == 2).all()  # PNG's number of the filter
  np.testing.assert_array_equal(lines[:, 1:].cumsum(0, np.uint8), image)


def chunk(kind, body):
  checksum = zlib.crc32(kind + body)
  return (
    struct.pack('>I', len(body)) + kind + body + struct.pack('>I', checksum)
  )


def test_many_chunks_and_palettes_stay_and_remarks_go():
  """As other writers make them: small chunks, a palette, text on either end."""
  lines = b''.join(b'\0' + bytes([y % 4] * 30) for y in range(20))
  body = zlib.compress(lines)
  parts = [body[i : i + 7] for i in range(0, len(body), 7)]
  palette = chunk(b'PLTE', bytes(range(12)))
  before = palette + chunk(b'iCCP', b'a\0\0no profile')  # libpng would warn
  after = chunk(b'tEXt', b'a\0after') + chunk(b'IEND', b'')
  head = chunk(b'IHDR', struct.pack('>IIBBBBB', 30, 20, 8, 3, 0, 0, 0))
  data = png.SIGNATURE + head + before
  data += b''.join(chunk(b'IDAT', part) for part in parts) + after
  stored = png.inflate(data)
  assert stored.startswith(png.SIGNATURE + head + palette + b'\0')
  assert stored.endswith(chunk(b'IEND', b''))
  assert b'iCCP' not in stored and b'tEXt' not in stored
  assert pixel_bytes(stored)[0] == lines
  np.testing.assert_array_equal(decode(stored), decode(data))


def test_refuses_what_does_not_inflate():
  data = encode(noise(60, 50))
  for cut in (20, 45, len(data) // 2):
    with pytest.raises(ValueError, match='Expected a complete PNG'):
      png.inflate(data[:cut])
  damaged = bytearray(data)
  damaged[-20] ^= 1  # in the checksum of the pixels, or just before
  with pytest.raises(ValueError, match='Expected a complete PNG'):
    png.inflate(bytes(damaged))


def test_leaves_the_rest_alone(monkeypatch):
  image = noise(40, 30)
  jpeg = encode(image, '.jpg')
  for data in (jpeg, b'', b'no image'):
    assert png.inflate(data) is data
  monkeypatch.setattr(png, 'isal_zlib', None)
  data = encode(image)
  assert png.inflate(data) is data
