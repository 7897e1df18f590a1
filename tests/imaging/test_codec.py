"""Films from outside: orientation, transparency and depth."""

import io
import struct
import zlib

import cv2
from encode import encode
import numpy as np
from PIL import Image
from PIL import ImageOps
import pytest

from boneage_jax.imaging import codec
from boneage_jax.imaging import jpeg
from boneage_jax.imaging import png
from tfds_rsna import films


def grey(height=20, width=30):
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (height, width), np.uint8)
  return cv2.GaussianBlur(noise, (0, 0), 3)


def exif(value, order='MM', kind=3, entries=1):
  """A TIFF block; the orientation is its last entry."""
  mark = {'MM': '>', 'II': '<'}[order]
  size = {3: 'HH', 4: 'I'}[kind]
  other = struct.pack(f'{mark}HHII', 0x010F, 3, 1, 0) * (entries - 1)
  values = (value, 0) if size == 'HH' else (value,)
  entry = struct.pack(f'{mark}HHI{size}', 0x0112, kind, 1, *values)
  head = order.encode() + struct.pack(f'{mark}HIH', 42, 8, entries)
  return head + other + entry + bytes(4)


def with_exif(jpeg, block, before=b''):
  body = b'Exif\0\0' + block
  size = (len(body) + 2).to_bytes(2, 'big')
  return jpeg[:2] + before + b'\xff\xe1' + size + body + jpeg[2:]


def segment(size):
  """Another block of a camera, of so many bytes."""
  return b'\xff\xe2' + (size + 2).to_bytes(2, 'big') + bytes(size)


def chunk(kind, body):
  checksum = struct.pack('>I', zlib.crc32(kind + body))
  return struct.pack('>I', len(body)) + kind + body + checksum


def png_file(depth, colour, lines, *before, interlaced=0, hw=None):
  height, width = hw or (len(lines), 3)
  head = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, interlaced)
  body = b''.join(b'\0' + line for line in lines)
  chunks = [chunk(b'IHDR', head), *before, chunk(b'IDAT', zlib.compress(body))]
  return png.SIGNATURE + b''.join(chunks) + chunk(b'IEND', b'')


@pytest.mark.parametrize('value', range(1, 9))
@pytest.mark.parametrize('before', [b'', segment(9), segment(60_000) * 2])
def test_orientation_counts_wherever_it_lies(value, before):
  jpeg = encode(grey(), '.jpg')
  data = with_exif(jpeg, exif(value), before)
  stored = codec.decode_stored(jpeg)
  wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
  film = codec.read(data)
  assert film.image.shape == wanted.shape and not film.notes
  assert np.abs(film.image.astype(int) - wanted).max() <= 3  # decoders round
  assert np.array_equal(np.sort(film.image.ravel()), np.sort(stored.ravel()))
  # The data set keeps the film as it is to be seen: it is read without tags.
  kept = films.encode(data)[0]
  np.testing.assert_array_equal(codec.decode_stored(kept), film.image)
  assert (kept == data) == (value == 1)


@pytest.mark.parametrize('order', ['II', 'MM'])
@pytest.mark.parametrize('kind', [3, 4])
def test_orientation_in_every_spelling(order, kind):
  jpeg = encode(grey(), '.jpg')
  wanted = np.rot90(codec.decode_stored(jpeg), -1)
  block = exif(6, order, kind, entries=3)
  film = codec.read(with_exif(jpeg, block))
  np.testing.assert_array_equal(film.image, wanted)
  tagged = encode(grey())
  tagged = tagged[:33] + chunk(b'eXIf', block) + tagged[33:]
  film = codec.read(tagged)
  np.testing.assert_array_equal(film.image, np.rot90(grey(), -1))
  assert film.plain is None


@pytest.mark.parametrize(
  'block', [exif(0), exif(9), exif(6)[:12], exif(6)[:19], b'XX' + bytes(30)]
)
def test_a_damaged_exif_block_is_named(block):
  jpeg = encode(grey(), '.jpg')
  film = codec.read(with_exif(jpeg, block))
  assert film.notes == ('exif',)
  np.testing.assert_array_equal(film.image, codec.decode_stored(jpeg))


def transparent(depth):
  """Every kind: (name, file, greys, alpha), greys and alpha from 0 to 1."""
  most = (1 << depth) - 1
  code = '>u1' if depth == 8 else '>u2'
  values = np.array([[0.1, 0.4, 0.9], [0.2, 0.6, 0.8]])
  alpha = np.array([[1, 0.5, 0], [0.25, 1, 0]])
  levels, opaque = (np.rint(x * most).astype(code) for x in (values, alpha))
  key = levels[0, 2:]
  one = (levels != key).astype(float)
  stack = lambda *x: np.stack(x, -1).astype(code)
  la = stack(levels, opaque)
  rgba = stack(levels, levels, levels, opaque)
  rgb = stack(levels, levels, levels)
  lines = lambda x: [row.tobytes() for row in x]
  trns = lambda n: chunk(b'tRNS', np.tile(key.astype('>u2'), n).tobytes())
  yield 'LA', png_file(depth, 4, lines(la)), values, alpha
  yield 'RGBA', png_file(depth, 6, lines(rgba)), values, alpha
  yield 'grey tRNS', png_file(depth, 0, lines(levels), trns(1)), values, one
  yield 'RGB tRNS', png_file(depth, 2, lines(rgb), trns(3)), values, one
  if depth == 8:
    palette = chunk(b'PLTE', rgb.reshape(-1, 3).tobytes())
    palette += chunk(b'tRNS', opaque.tobytes())
    index = np.arange(6, dtype='u1').reshape(2, 3)
    yield 'palette', png_file(8, 3, lines(index), palette), values, alpha


@pytest.mark.parametrize('depth', [8, 16])
def test_what_is_transparent_is_black(depth):
  for name, data, values, alpha in transparent(depth):
    film = codec.read(data)
    wanted = 255 * values * alpha
    if depth == 16:  # from percentile to percentile of what is seen
      low, high = np.percentile((values * alpha)[alpha > 0], (0.5, 99.5))
      wanted = 256 * np.clip((values * alpha - low) / (high - low), 0, 1)
      wanted[alpha == 0] = 0
    assert np.abs(film.image - wanted).max() <= 1.1, name
    assert film.plain is None


def test_a_transparent_grey_of_few_bits():
  line = bytes([0b00011011])  # 0, 1, 2, 3
  key = chunk(b'tRNS', b'\0\2')
  data = png_file(2, 0, [line], key, hw=(1, 4))
  np.testing.assert_array_equal(codec.read(data).image, [[0, 85, 0, 255]])


def test_8_bits_that_were_written_as_16_are_left_alone():
  grey = np.arange(20, 211, dtype=np.uint16).repeat(3).reshape(3, -1)
  for deep in (grey * 256, grey * 257, grey * 256 + 255):
    np.testing.assert_array_equal(codec.read(encode(deep)).image, grey)
  deep = grey * 257
  deep[0, 0] += 9  # more than 8 bits: from percentile to percentile
  film = codec.read(encode(deep)).image
  assert (film.min(), film.max()) == (0, 255)


def test_few_pixels_do_not_decide_the_range_of_16_bits():
  deep = np.tile(np.arange(1001, dtype=np.uint16), (3, 1))
  film = codec.read(encode(deep + 40)).image
  # Percentiles 0.5 and 99.5 are 45 and 1035, but for repeats.
  parts = np.clip(np.floor((np.arange(1001) - 5.0) / 990 * 256), 0, 255)
  assert np.abs(film - parts).max() <= 1
  odd = deep.copy()
  odd[1, :9] = 65535
  few = codec.read(encode(odd)).image
  assert len(np.unique(few)) == 256
  assert np.corrcoef(few[0], deep[0])[0, 1] > 0.999
  # A film that is black but for a few pixels has no range between percentiles.
  thin = np.zeros((40, 40), np.uint16)
  thin[3, 3:6] = 100, 200, 300
  film = codec.read(encode(thin)).image
  np.testing.assert_array_equal(film[3, 2:7], [0, 85, 170, 255, 0])
  with pytest.raises(ValueError, match='Blank'):
    codec.read(encode(np.full((9, 9), 700, np.uint16)))


def adam7(image):
  """The lines of an interlaced PNG."""
  starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4))
  starts += ((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
  passes = [image[y::down, x::right] for x, y, right, down in starts]
  return [row.tobytes() for part in passes if part.size for row in part]


@pytest.mark.parametrize('hw', [(37, 21), (3, 5), (2, 9), (9, 2)])
def test_interlaced_films(hw):
  image = np.arange(np.prod(hw), dtype=np.uint8).reshape(hw)
  data = png_file(8, 0, adam7(image), interlaced=1, hw=hw)
  np.testing.assert_array_equal(codec.read(data).image, image)


def test_a_png_is_judged_before_libpng_prints(capfd):
  lines = [bytes([50 + i] * 3) for i in range(4)]
  whole = png_file(8, 0, lines)
  profile = chunk(b'iCCP', b'a\0\0no profile')
  film = codec.read(png_file(8, 0, lines, profile))
  np.testing.assert_array_equal(film.image[:, 0], range(50, 54))
  np.testing.assert_array_equal(codec.decode_stored(film.plain), film.image)
  found = codec.read(whole + b'behind')
  assert found.notes == ('trailing_bytes',) and found.plain == whole
  found = codec.read(png_file(8, 0, lines * 2, hw=(4, 3)))
  assert found.notes == ('stray_bytes',)
  np.testing.assert_array_equal(found.image, film.image)
  np.testing.assert_array_equal(codec.decode_stored(found.plain), film.image)
  with pytest.raises(ValueError, match='8 of 16 bytes of pixels'):
    codec.read(png_file(8, 0, lines[:2], hw=(4, 3)))
  with pytest.raises(ValueError, match='Truncated PNG'):
    codec.read(whole[:-5])
  at = whole.index(b'IDAT') + 9
  with pytest.raises(ValueError, match='wrong checksum'):
    codec.read(whole[:at] + b'x' + whole[at + 1 :])
  assert capfd.readouterr() == ('', '')


def test_films_of_the_pool_are_those_of_this_process():
  """TIFF by another process, and the same pixels as PNG by this one."""
  deep = grey().astype(np.uint16) * 231
  for image in (grey(), deep, np.stack([grey(), 255 - grey(), grey()], -1)):
    found, wanted = (codec.read(encode(image, s)) for s in ('.tif', '.png'))
    np.testing.assert_array_equal(found.image, wanted.image)
    assert found.plain is None and not found.header
  for suffix in ('.tif', '.bmp'):  # the data set keeps them as PNG
    kept, *hw = films.encode(encode(grey(), suffix))
    assert kept.startswith(png.SIGNATURE) and hw == [20, 30]
    np.testing.assert_array_equal(codec.decode_stored(kept), grey())


def test_a_jpeg_that_is_much_work_is_read_in_the_pool(monkeypatch):
  data = encode(grey(), '.jpg')
  wanted = codec.read(data)
  monkeypatch.setattr(jpeg, 'MUCH', 0)
  monkeypatch.setattr(codec, '_decode', None)  # here it would fail
  found = codec.read(data)
  np.testing.assert_array_equal(found.image, wanted.image)
  assert found.plain == data
  odd = codec.read(data + b'behind')
  assert odd.notes == ('trailing_bytes',) and odd.plain == data
