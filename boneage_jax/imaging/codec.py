"""Image files to grey films, uint8 [H, W]."""

from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.imaging import dicom
from boneage_jax.imaging import exif
from boneage_jax.imaging import greys
from boneage_jax.imaging import jpeg
from boneage_jax.imaging import png

# What may be odd about a file that is read nevertheless.
NOTES = {
  'end_marker': 'the end marker alone is missing, and is added',
  'stray_bytes': 'bytes before the end are not of the picture, and are ignored',
  'trailing_bytes': 'bytes behind the end of the picture are ignored',
  'jpeg_header': 'the header of the JPEG is odd; the pixels are sound',
  'exif': 'the Exif block is damaged, so no orientation is applied',
  'window': (
    'the window of the DICOM header does not fit the pixels and is not used: '
    'compare the film with the original'
  ),
}


class Film(NamedTuple):
  """A film from outside.

  Attributes:
    image: uint8 [H, W].
    plain: a file in which any reader finds just that, the one that was read if
      it is sound; None if there is none.
    notes: keys of `NOTES`.
  """

  image: np.ndarray
  plain: bytes | None
  notes: tuple[str, ...]


def read(data: bytes) -> Film:
  """Decode a film from outside: PNG, JPEG or DICOM, checked first.

  Colour becomes luminance, what is transparent becomes black, deeper pixels are
  scaled (see `greys`), and an orientation (Exif) is applied.

  Raises:
    ValueError: truncated, corrupt, of one grey or of an unknown format.
  """
  if is_dicom(data):
    film = dicom.read(data)
    return Film(film['image'], None, film['notes'])
  if not data:
    raise ValueError('Expected an image, got an empty file.')
  if data.startswith(png.SIGNATURE):
    checked = png.check(data)
  elif data.startswith(jpeg.SIGNATURE):
    checked = jpeg.check(data)
  else:
    raise ValueError('Expected PNG, JPEG or DICOM, got another kind of file.')
  pixels = _decode(checked.picture)
  notes = checked.notes
  orientation = exif.orientation(checked.exif)
  if orientation is None:
    notes, orientation = (*notes, 'exif'), 1
  image = exif.apply(_film(pixels, checked.transparent), orientation)
  if image.min() == image.max():
    raise ValueError('Blank image: every pixel has the same value.')
  is_plain = (
    pixels.ndim == 2
    and pixels.dtype == np.uint8
    and checked.transparent is None
    and orientation == 1
  )
  return Film(image, checked.data if is_plain else None, notes)


def decode_stored(data: bytes) -> np.ndarray:
  """Decode a film that we wrote, as fast as can be and without checks.

  Training decodes every film once an epoch. An orientation tag is ignored.

  Raises:
    ValueError: the bytes are no complete image.
  """
  return _film(_decode(png.inflate(data)))


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


def _decode(data: bytes) -> np.ndarray:
  """Decode a file to the pixels that it holds, of any depth and channels."""
  # Unchanged: with alpha, and not turned by an orientation tag.
  image = (
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if data
    else None
  )
  if image is None:
    raise ValueError(
      f'Expected a complete PNG or JPEG image, got {len(data)} bytes that do '
      'not decode; copy the file again or leave it out.'
    )
  return image


def _film(pixels: np.ndarray, transparent: int | None = None) -> np.ndarray:
  """Turn pixels of any depth and channels (BGR, BGRA) into uint8 [H, W].

  Args:
    pixels: as decoded.
    transparent: a grey that stands for nothing.
  """
  share = None
  if pixels.ndim == 3:
    if pixels.shape[2] == 4:
      most = np.iinfo(pixels.dtype).max
      share = pixels[..., 3].astype(np.float32) / most
    code = cv2.COLOR_BGR2GRAY if share is None else cv2.COLOR_BGRA2GRAY
    pixels = cv2.cvtColor(pixels, code)
  elif transparent is not None:
    share = (pixels != transparent).astype(np.float32)
  seen = pixels if share is None else np.rint(pixels * share)
  if pixels.dtype == np.uint8:
    return seen.astype(np.uint8)
  inside = pixels.ravel() if share is None else seen[share > 0]
  image = greys.without_window(seen, inside, bits=16)
  if share is not None:
    image[share == 0] = 0
  return image
