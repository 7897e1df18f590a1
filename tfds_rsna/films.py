"""Checks one film and encodes it as the data set keeps it."""

import cv2
import numpy as np

from boneage_jax.imaging import codec
from boneage_jax.imaging import png


def encode(data: bytes, long_side: int | None = None) -> tuple[bytes, int, int]:
  """Checks a film's file and encodes it as 8-bit grey.

  A sound 8-bit single-channel PNG or JPEG that need not shrink or turn is kept
  as it is, byte for byte; an odd one (`codec.NOTES`) is kept without what was
  odd; everything else becomes a lossless PNG.

  Args:
    data: a PNG, JPEG, DICOM, TIFF or BMP file.
    long_side: shrink (area average) to at most this, never enlarge.

  Returns:
    The encoded film, and height and width of the source film.

  Raises:
    ValueError: the reason why the film is bad.
  """
  film = codec.read(data)
  return pack(film, long_side), *film.image.shape


def shrink(data: bytes, long_side: int | None) -> bytes:
  """Encodes a stored film anew, as `encode` does; unchecked."""
  return pack(codec.Film(codec.decode_stored(data), data, ()), long_side)


def pack(film: codec.Film, long_side: int | None) -> bytes:
  """Encodes what `codec.read` found; see `encode`."""
  image = shrunk(film.image, long_side)
  if image is film.image and film.plain is not None:
    return film.plain
  return png.encode(image)


def shrunk(image: np.ndarray, long_side: int | None) -> np.ndarray:
  """Shrinks uint8 [H, W] as the data set does; a small one is returned."""
  height, width = image.shape
  if long_side is None or max(height, width) <= long_side:
    return image
  scale = long_side / max(height, width)
  size = max(1, round(width * scale)), max(1, round(height * scale))
  return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
