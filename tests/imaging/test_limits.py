"""Limits of one film, before it is decoded."""

import os
import struct
import zlib

from encode import encode
import numpy as np
import pytest

from boneage_jax.imaging import codec
from boneage_jax.imaging import limits
from boneage_jax.imaging import png
from tfds_rsna import archive as archives

GREY = np.arange(200, dtype=np.uint8).reshape(10, 20)


def chunk(kind, body):
  checksum = struct.pack('>I', zlib.crc32(kind + body))
  return struct.pack('>I', len(body)) + kind + body + checksum


def png_file(width, height, *bodies):
  head = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
  chunks = [chunk(b'IHDR', head), *(chunk(b'IDAT', b) for b in bodies)]
  return png.SIGNATURE + b''.join(chunks) + chunk(b'IEND', b'')


def test_pixels_are_counted_first():
  small = limits.Limits(megapixels=0.0001)
  for suffix in ('.png', '.jpg', '.bmp', '.tif'):
    with pytest.raises(
      ValueError, match=r'20 x 10 \(1 megapixels\).*--max_megapixels=1 '
    ):
      codec.read(encode(GREY, suffix), small)
  huge = bytearray(encode(GREY, '.jpg'))
  at = huge.index(b'\xff\xc0') + 5
  huge[at : at + 4] = struct.pack('>HH', 30000, 30000)
  with pytest.raises(ValueError, match='max_megapixels=900'):
    codec.read(bytes(huge))


def test_a_png_is_inflated_as_far_as_allowed():
  bomb = zlib.compress(bytes(5_000_000))
  few = limits.Limits(megabytes=1)
  with pytest.raises(ValueError, match='at most 1 megabytes'):
    codec.read(png_file(20, 10, bomb), few)
  with pytest.raises(ValueError, match='at most 1 megabytes'):
    codec.read(png_file(2000, 1000, bomb), few)
  lines = b''.join(b'\0' + row.tobytes() for row in GREY)
  packed = zlib.compress(lines)
  cut = [packed[i : i + 3] for i in range(0, len(packed), 3)]
  film = codec.read(png_file(20, 10, *cut), few)
  np.testing.assert_array_equal(film.image, GREY)
  with pytest.raises(ValueError, match='do not inflate'):
    codec.read(png_file(20, 10, packed[:-6]))


def test_pixels_too_many_to_be_kept_decode_to_the_same(monkeypatch):
  lines = b''.join(b'\0' + row.tobytes() for row in GREY)
  for behind in (b'', b'stray'):
    data = png_file(20, 10, zlib.compress(lines + behind))
    wanted = codec.read(data)
    monkeypatch.setattr(png, 'KEPT', 0)
    found = codec.read(data)
    monkeypatch.undo()
    np.testing.assert_array_equal(found.image, wanted.image)
    assert found.notes == wanted.notes
    np.testing.assert_array_equal(codec.decode_stored(found.plain), GREY)


def test_regular_files_alone(tmp_path):
  os.mkfifo(tmp_path / 'pipe.png')  # nobody writes into it
  os.symlink('loop.png', tmp_path / 'loop.png')
  (tmp_path / 'film.png').write_bytes(encode(GREY))
  os.symlink('film.png', tmp_path / 'link.png')
  for path, says in (
    (tmp_path / 'pipe.png', 'Expected a file, got a pipe'),
    ('/dev/zero', 'Expected a file, got a device'),
    (tmp_path, 'Expected a file, got a folder'),
  ):
    with pytest.raises(ValueError, match=says):
      limits.read_file(path)
  with pytest.raises(OSError, match='symbolic links'):
    limits.read_file(tmp_path / 'loop.png')
  assert limits.read_file(tmp_path / 'link.png') == encode(GREY)
  with pytest.raises(ValueError, match=r'at most 0\.0001 megabytes'):
    limits.read_file(tmp_path / 'film.png', limits.Limits(64, 0.0001))


def test_a_member_of_a_zip_is_bounded_though_it_lies(tmp_path):
  import zipfile

  path = tmp_path / 'films.zip'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('1.png', bytes(3_000_000))
  for size in (3_000_000, 5):  # as the list of the zip says, or less
    film = archives.Film('1', True, 1.0, str(path), '1.png', size)
    with pytest.raises(ValueError, match='at most 1 megabytes'):
      film.read(limits.Limits(megabytes=1))
  assert len(film.read()) == 3_000_000
