"""TIFF films, against Pillow and OpenCV and by hand."""

import io
import itertools
import struct
import zlib

import cv2
import numpy as np
from PIL import Image
import pytest
import tiff_file

from boneage_jax.imaging import limits
from boneage_jax.imaging import tiff
from boneage_jax.imaging import tiff_lzw

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (150, 217), np.uint8)
GREY = cv2.GaussianBlur(NOISE, (0, 0), 2)
DEEP = GREY.astype(np.uint16) * 231 + NOISE % 97
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], -1)


def read(data):
  """Pixels in the order of RGB, and the orientation."""
  pixels, orientation = tiff.read(data, limits.Admission())
  return (pixels[..., ::-1] if pixels.ndim == 3 else pixels), orientation


def saved(image, packed, **options):
  out = io.BytesIO()
  Image.fromarray(image).save(out, 'TIFF', compression=packed, **options)
  return out.getvalue()


@pytest.mark.parametrize(
  ('packed', 'kind'),
  [
    *itertools.product(
      ['raw', 'tiff_lzw', 'tiff_adobe_deflate', 'packbits'],
      ['grey', 'deep', 'colour'],
    ),
    *[('jpeg', 'grey'), ('jpeg', 'colour')],  # it has 8 bits
  ],
)
def test_pixels_are_those_of_pillow(packed, kind):
  image = {'grey': GREY, 'deep': DEEP, 'colour': COLOUR}[kind]
  data = saved(image, packed)
  found, orientation = read(data)
  assert orientation == 1
  assert found.dtype == image.dtype
  np.testing.assert_array_equal(found, Image.open(io.BytesIO(data)))
  if packed != 'jpeg':
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize('packed', [5, 8])
@pytest.mark.parametrize('predictor', [1, 2])
@pytest.mark.parametrize('kind', ['grey', 'deep', 'colour 16'])
def test_strips_and_predictors_of_opencv(packed, predictor, kind):
  colour = COLOUR.astype(np.uint16) * 250
  image = {'grey': GREY, 'deep': DEEP, 'colour 16': colour}[kind]
  options = [cv2.IMWRITE_TIFF_COMPRESSION, packed]
  options += [cv2.IMWRITE_TIFF_PREDICTOR, predictor]
  options += [cv2.IMWRITE_TIFF_ROWSPERSTRIP, 40]
  data = cv2.imencode('.tif', image, options)[1].tobytes()
  found = tiff.read(data, limits.Admission())[0]
  np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('image', [GREY, DEEP, COLOUR], ids=['8', '16', 'RGB'])
@pytest.mark.parametrize('tile', [None, (64, 48)])
def test_byte_orders_and_tiles(order, image, tile):
  data = tiff_file.made(image, order, tile=tile)
  np.testing.assert_array_equal(read(data)[0], image)


@pytest.mark.parametrize('image', [GREY, DEEP])
@pytest.mark.parametrize('packed', [1, 8])
def test_min_is_white_is_inverted_at_every_depth(image, packed):
  strips = None if packed == 1 else [zlib.compress(image.tobytes())]
  data = tiff_file.made(image, packed=packed, strips=strips, photometric=0)
  most = np.iinfo(image.dtype).max
  np.testing.assert_array_equal(read(data)[0], most - image)


def test_the_orientation_is_told():
  assert read(tiff_file.made(GREY, orientation=6))[1] == 6
  assert read(tiff_file.made(GREY, orientation=0))[1] == 1


@pytest.mark.parametrize(
  ('data', 'says'),
  [
    (tiff_file.made(GREY, bits=1), r'BitsPerSample \[1\]'),
    (tiff_file.made(GREY, bits=32), r'BitsPerSample \[32\]'),
    (tiff_file.made(GREY, photometric=3), 'PhotometricInterpretation 3'),
    (tiff_file.made(GREY, sample_format=3), 'another SampleFormat'),
    (tiff_file.made(COLOUR, planar=2), 'PlanarConfiguration 2'),
    (tiff_file.made(COLOUR, samples=4), 'SamplesPerPixel 4'),
    (tiff_file.made(GREY, fill_order=2), 'FillOrder 2'),
    (tiff_file.made(GREY, packed=4), 'got compression 4'),
    (tiff_file.made(GREY, packed=8, predictor=3), 'Predictor 3'),
    (tiff_file.made(GREY, subfile=1), '0 pages'),
    (b'II+\0' + bytes(40), 'BigTIFF'),
    (tiff_file.made(GREY)[:-9], 'Truncated TIFF'),
    (tiff_file.made(GREY)[:90], 'Truncated TIFF'),
    (b'II*\0\x08\0\0\0', 'Truncated TIFF'),
    (b'II*\0', '0 pages'),
    (tiff_file.made(GREY, strip_rows=7), 'fewer than 22 strips'),
  ],
)
def test_anything_else_is_refused_by_name(data, says):
  with pytest.raises(ValueError, match=says):
    read(data)


def test_one_page_and_reduced_copies_of_it():
  out = io.BytesIO()
  pages = [Image.fromarray(GREY) for _ in range(3)]
  pages[0].save(out, 'TIFF', save_all=True, append_images=pages[1:])
  with pytest.raises(ValueError, match='with 3 pages'):
    read(out.getvalue())
  data = bytearray(tiff_file.made(GREY))
  (count,) = struct.unpack_from('<H', data, 8)
  small = tiff_file.made(GREY[::4, ::4], subfile=1)
  struct.pack_into('<I', data, 10 + 12 * count, len(data))
  # Its strips lie elsewhere, but nobody reads them.
  np.testing.assert_array_equal(read(bytes(data) + small[8:])[0], GREY)


@pytest.mark.parametrize('packed', ['tiff_lzw', 'tiff_adobe_deflate', 'jpeg'])
@pytest.mark.parametrize('size', [1, 8, 64, 4096])
def test_damage_is_refused(packed, size, capfd):
  image = np.tile(GREY, (2, 2))
  data = saved(image, packed)
  with Image.open(io.BytesIO(data)) as whole:
    start, count = whole.tag_v2[273][0], sum(whole.tag_v2[279])
  rng = np.random.default_rng(size)
  refused = 0
  for _ in range(12):
    changed = bytearray(data)
    at = int(rng.integers(start + count // 4, start + count // 2))
    changed[at : at + size] = (
      bytes(size) if size == 4096 else rng.bytes(size)
    )[: len(data) - at]
    try:
      tiff.read(bytes(changed), limits.Admission())
    except ValueError as error:
      assert 'TIFF' in str(error)
      refused += 1
  # LZW has no checksum and JPEG none: docs/reference/reading.md.
  least = {('tiff_lzw', 1): 4, ('jpeg', 1): 1, ('jpeg', 8): 7}
  assert refused >= least.get((packed, size), 12)
  assert capfd.readouterr().err == ''


def test_strips_that_hold_less():
  rows = [GREY[i : i + 75].tobytes() for i in (0, 75)]
  good = [zlib.compress(row) for row in rows]
  image = tiff_file.made(GREY, packed=8, strips=good, strip_rows=75)
  np.testing.assert_array_equal(read(image)[0], GREY)
  short = [good[0], zlib.compress(rows[1][:-1])]
  with pytest.raises(ValueError, match='16274 of 16275 bytes in a strip'):
    read(tiff_file.made(GREY, packed=8, strips=short, strip_rows=75))


def test_lzw_codes_of_a_strip():
  """By hand: Clear, 'a', 'a' + its entry, End: 9 bits each, high bit first."""
  codes = [256, 97, 258, 257]
  bits = ''.join(f'{code:09b}' for code in codes).ljust(40, '0')
  strip = int(bits, 2).to_bytes(5, 'big')
  assert tiff_lzw.fault(strip, 3) is None
  assert '3 of 4 bytes' in tiff_lzw.fault(strip, 4)
  assert 'more than 2' in tiff_lzw.fault(strip, 2)
  early = int(bits.replace(f'{258:09b}', f'{259:09b}'), 2).to_bytes(5, 'big')
  assert 'not yet' in tiff_lzw.fault(early, 3)


def test_a_large_one_is_refused_before_it_is_decoded():
  with pytest.raises(ValueError, match='megapixels'):
    tiff.read(tiff_file.made(GREY), limits.Admission(limits.Limits(0.03)))
  bomb = zlib.compress(bytes(3_000_000))
  data = tiff_file.made(GREY, packed=8, strips=[bomb])
  with pytest.raises(ValueError, match='at most 2 megabytes'):
    tiff.read(data, limits.Admission(limits.Limits(64, 2)))
