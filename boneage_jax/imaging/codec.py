"""Image files to grey films, uint8 [H, W]."""

import cv2
import numpy as np

from boneage_jax.imaging import dicom
from boneage_jax.imaging import png


def read(data: bytes) -> tuple[np.ndarray, bool]:
  """Decode a film from outside: PNG, JPEG or DICOM, checked first.

  Colour becomes luminance, deeper pixels are scaled from their own range, and
  an orientation tag (Exif) is applied.

  Returns:
    uint8 [H, W]; and whether any reader finds just that in the file.

  Raises:
    ValueError: truncated, corrupt, of one grey or of an unknown format.
  """
  if is_dicom(data):
    return dicom.read(data)['image'], False
  _check(data)
  image = _decode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
  if image.min() == image.max():
    raise ValueError('Blank image: every pixel has the same value.')
  # An orientation tag is applied here but need not be by other readers.
  is_plain = (
    image.ndim == 2
    and image.dtype == np.uint8
    and b'Exif\0\0' not in data[:4096]
    and b'eXIf' not in data
  )
  return _grey(image), is_plain


def decode_stored(data: bytes) -> np.ndarray:
  """Decode a film that we wrote, as fast as can be and without checks.

  Training decodes every film once an epoch. An orientation tag is ignored.

  Raises:
    ValueError: the bytes are no complete image.
  """
  return _grey(_decode(png.inflate(data), cv2.IMREAD_UNCHANGED))


def bitmap(film: np.ndarray) -> bytes:
  """Encode uint8 [H, W] for `decode_stored`, large but in no time."""
  return cv2.imencode('.bmp', film)[1].tobytes()


def turn(data: bytes, quarters: int) -> bytes:
  """Turn an image file counter-clockwise by quarters, without loss."""
  if not quarters % 4:
    return data
  film = np.rot90(decode_stored(data), quarters)
  return png.encode(np.ascontiguousarray(film))


def is_dicom(data: bytes) -> bool:
  """Whether a file says that it is DICOM (PS3.10, 7.1)."""
  return data[128:132] == b'DICM'


def _check(data: bytes) -> None:
  """Refuse files that OpenCV would fill up with black or can't read."""
  if not data:
    raise ValueError('Expected an image, got an empty file.')
  if data.startswith(png.SIGNATURE):
    png.check(data)
  elif not data.startswith(b'\xff\xd8'):
    raise ValueError('Expected PNG, JPEG or DICOM, got another kind of file.')
  elif not data.rstrip(b'\0\r\n ').endswith(b'\xff\xd9'):
    raise ValueError('Truncated JPEG: no end marker; copy the file again.')


def _decode(data: bytes, flags: int) -> np.ndarray:
  """Decode a file to the pixels that it holds, of any depth and channels."""
  image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
  if image is None:
    raise ValueError(
      f'Expected a complete PNG or JPEG image, got {len(data)} bytes that do '
      'not decode; copy the file again or leave it out.'
    )
  return image


def _grey(image: np.ndarray) -> np.ndarray:
  """Turn pixels of any depth and channels (BGR, BGRA) into uint8 [H, W]."""
  if image.ndim == 3:
    code = cv2.COLOR_BGR2GRAY if image.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    image = cv2.cvtColor(image, code)
  if image.dtype == np.uint8:
    return image
  low, high = int(image.min()), int(image.max())  # 12 or 14 of 16 bits in use
  scaled = (image.astype(np.float32) - low) / max(high - low, 1)
  return np.rint(scaled * 255).astype(np.uint8)
