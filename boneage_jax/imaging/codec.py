"""Image files to grey films."""

import struct
import zlib

import cv2
import numpy as np

from boneage_jax.imaging import dicom
from boneage_jax.imaging import png


def decode_stored(data: bytes) -> np.ndarray:
  """Decode an image file to uint8 [H, W] grey.

  Colour becomes luminance; deeper images are scaled from their own range.

  Raises:
    ValueError: the bytes are no complete image.
  """
  image = None
  if data:
    stored = np.frombuffer(png.inflate(data), np.uint8)
    image = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
  if image is None:
    raise ValueError(
      f'expected a complete PNG or JPEG image, got {len(data)} bytes that do '
      'not decode; copy the file again or leave it out'
    )
  if image.ndim == 3:
    code = cv2.COLOR_BGR2GRAY if image.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    image = cv2.cvtColor(image, code)
  if image.dtype != np.uint8:
    image = image.astype(np.float32)
    low, high = image.min(), image.max()
    image = np.rint((image - low) * (255 / max(high - low, 1e-6)))
    image = image.astype(np.uint8)
  return image


def turn(data: bytes, quarters: int) -> bytes:
  """Turn an image file counter-clockwise by quarters, without loss."""
  if not quarters % 4:
    return data
  film = np.ascontiguousarray(np.rot90(decode_stored(data), quarters))
  return cv2.imencode('.png', film)[1].tobytes()


def read(data: bytes) -> tuple[np.ndarray, bool]:
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


PNG = b'\x89PNG\r\n\x1a\n'
