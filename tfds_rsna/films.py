"""Checks one film and encodes it as the data set keeps it."""

import cv2
import numpy as np

from boneage_jax.imaging import codec
from boneage_jax.imaging import png


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
  image, is_plain = codec.read(data)
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
