"""Checks one film and encodes it as the data set keeps it."""

import struct
import zlib

import cv2
import numpy as np

from boneage_jax import dicom
from boneage_jax import png

PNG = b'\x89PNG\r\n\x1a\n'


def encode(data: bytes, long_side: int | None = None) -> tuple[bytes, int, int]:
  """Checks a film's file and encodes it as 8-bit grey.

  An 8-bit single-channel PNG or JPEG that need not shrink is kept as it is,
  byte for byte; everything else becomes a lossless PNG.

  Args:
    data: a PNG, JPEG or DICOM file.
    long_side: shrink (area average) to at most this, never enlarge.

  Returns:
    The encoded film, and height and width of the source film.

  Raises:
    ValueError: the reason why the film is bad.
  """
  image, is_plain = decode(data)
  return pack(data, image, is_plain, long_side), *image.shape


def pack(
  data: bytes, image: np.ndarray, is_plain: bool, long_side: int | None
) -> bytes:
  """Encodes what `decode` made of `data`; see `encode`."""
  height, width = image.shape
  if long_side is not None and max(height, width) > long_side:
    scale = long_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  elif is_plain:
    return data
  return png.encode(image)


def decode(data: bytes) -> tuple[np.ndarray, bool]:
  """Decodes a whole film to uint8 [H, W]; True where the file is just that.

  Raises:
    ValueError: truncated, corrupt or of an unknown format.
  """
  if data.startswith(PNG):
    check_png(data)
  elif data.startswith(b'\xff\xd8'):
    if not data.rstrip(b'\0\r\n ').endswith(b'\xff\xd9'):
      raise ValueError('truncated JPEG: no end marker')
  elif data[128:132] == b'DICM':
    return dicom.read(data)['image'], False
  elif not data:
    raise ValueError('empty file')
  else:
    raise ValueError('neither PNG, JPEG nor DICOM')
  image = cv2.imdecode(
    np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
  )
  if image is None:
    raise ValueError('corrupt image: it cannot be decoded')
  if image.min() == image.max():
    raise ValueError('blank image: every pixel has the same value')
  # An orientation tag is applied here but need not be by other readers.
  is_plain = (
    image.ndim == 2
    and image.dtype == np.uint8
    and b'Exif\0\0' not in data[:4096]
    and b'eXIf' not in data
  )
  if image.ndim == 3:
    image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
  if image.dtype != np.uint8:  # 12 or 14 of 16 bits are in use: real range
    low, high = int(image.min()), int(image.max())
    scaled = (image.astype(np.float32) - low) / max(high - low, 1)
    image = np.rint(scaled * 255).astype(np.uint8)
  return image, is_plain


def check_png(data: bytes) -> None:
  """Walks the chunks: libpng fills a truncated film up with black.

  Raises:
    ValueError: a chunk is cut off or its checksum is wrong.
  """
  position = len(PNG)
  while position + 12 <= len(data):
    length, kind = struct.unpack_from('>I4s', data, position)
    end = position + 8 + length
    if end + 4 > len(data):
      break
    (crc,) = struct.unpack_from('>I', data, end)
    if crc != zlib.crc32(memoryview(data)[position + 4 : end]):
      raise ValueError(
        f'corrupt PNG: wrong checksum at byte {position} of {len(data)}'
      )
    if kind == b'IEND':
      return
    position = end + 4
  raise ValueError(f'truncated PNG: {len(data)} bytes and no end')
