"""Image files to grey films, uint8 [H, W]."""

from collections.abc import Mapping
import contextlib
import types
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.imaging import bmp
from boneage_jax.imaging import codec_pool
from boneage_jax.imaging import dicom
from boneage_jax.imaging import dicom_file
from boneage_jax.imaging import exif
from boneage_jax.imaging import greys
from boneage_jax.imaging import jpeg
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.imaging import png
from boneage_jax.imaging import tiff

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
  'rescale': (
    'RescaleSlope, RescaleIntercept or ModalityLUTSequence of the DICOM header '
    'is void or makes no sense and is not used: compare the film with the '
    'original'
  ),
  'for_processing': (
    'the DICOM header says FOR PROCESSING: these are values of the detector, '
    'not a film as it is shown. Export the film FOR PRESENTATION'
  ),
  'void_window': (
    'WindowCenter, WindowWidth or VOILUTFunction of the DICOM header is void '
    'or no number and is not used'
  ),
  'padding': (
    'PixelPaddingValue or PixelPaddingRangeLimit of the DICOM header is void '
    'or no number and is not used'
  ),
  'spacing': (
    'PixelSpacing, ImagerPixelSpacing, NominalScannedPixelSpacing or '
    'PixelAspectRatio of the DICOM header is void or not two numbers above 0 '
    'and is not used'
  ),
  'resampled': (
    'rows and columns of the DICOM film do not lie equally far apart, so it '
    'was resampled to square pixels'
  ),
  'aspect': (
    'PixelSpacing, ImagerPixelSpacing, NominalScannedPixelSpacing or '
    'PixelAspectRatio of the DICOM header says that pixels are not square, but '
    'another one or the size of the difference speaks against it, so the film '
    'stays as it is: compare it with the original'
  ),
  'age': (
    'the dates and PatientAge of the DICOM header contradict each other, or '
    'say an age that nobody has, so that none is used: the chronological age '
    'is unknown unless it is given'
  ),
  'frames': 'NumberOfFrames of the DICOM header is void and taken for 1',
  'header': (
    'PatientSex, PatientAge or another text of the DICOM header is damaged and '
    'is not used'
  ),
}


class Film(NamedTuple):
  """A film from outside.

  Attributes:
    image: uint8 [H, W].
    plain: a file in which any reader finds just that, the one that was read if
      it is sound; None if there is none.
    notes: keys of `NOTES`.
    header: what a DICOM header says, see `dicom.read`; empty of other files.
  """

  image: np.ndarray
  plain: bytes | None
  notes: tuple[str, ...]
  header: Mapping[str, Any] = types.MappingProxyType({})


def read(data: bytes, limits: limits_lib.Limits | None = None) -> Film:
  """Decode a film from outside: PNG, JPEG, DICOM, TIFF or BMP, checked first.

  Colour becomes luminance, what is transparent becomes black, deeper pixels are
  scaled (see `greys`), and an orientation (Exif) is applied. DICOM, TIFF and
  JPEG that are much work are decoded by another process, see `codec_pool`.

  Args:
    data: the file.
    limits: of its size.

  Raises:
    ValueError: truncated, corrupt, of one grey, too large or of an unknown
      format.
  """
  apart = is_dicom(data) or tiff.is_tiff(data)
  if apart or (data.startswith(jpeg.SIGNATURE) and jpeg.is_much_work(data)):
    return Film(*codec_pool.read(data, limits))
  with limits_lib.admit(limits) as admission:
    return read_here(data, admission)


def read_here(data: bytes, admission: limits_lib.Admission) -> Film:
  """Decode a film in this process; see `read`."""
  admission.size(len(data))
  if is_dicom(data):
    header = dicom.read(data, admission)
    return Film(header.pop('image'), None, header.pop('notes'), header)
  if not data:
    raise ValueError('Expected an image, got an empty file.')
  plain = transparent = None
  orientation, notes = 1, ()
  if tiff.is_tiff(data):
    pixels, orientation = tiff.read(data, admission)
  elif data.startswith(bmp.SIGNATURE):
    pixels = bmp.read(data, admission)
  elif data.startswith((png.SIGNATURE, jpeg.SIGNATURE)):
    is_png = data.startswith(png.SIGNATURE)
    checked = (png if is_png else jpeg).check(data, admission)
    pixels = _decode(checked.picture)
    plain, notes, transparent = checked.data, checked.notes, checked.transparent
    orientation = exif.orientation(checked.exif)
    if orientation is None:
      notes, orientation = (*notes, 'exif'), 1
  else:
    raise ValueError(
      'Expected PNG, JPEG, DICOM, TIFF or BMP, got another kind of file.'
    )
  image = exif.apply(_film(pixels, transparent), orientation)
  if image.min() == image.max():
    raise ValueError('Blank image: every pixel has the same value.')
  is_plain = (
    pixels.ndim == 2
    and pixels.dtype == np.uint8
    and transparent is None
    and orientation == 1
  )
  return Film(image, plain if is_plain else None, notes)


def reason(error: Exception) -> str:
  """Say in one line why a film is not read."""
  words = ' '.join(str(error).split())
  if isinstance(error, ValueError):
    return words
  return f'Cannot be read: {type(error).__name__}: {words}'


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


def is_film(head: bytes) -> bool:
  """Whether a file that begins so is of a kind that is read."""
  return (
    head.startswith((png.SIGNATURE, jpeg.SIGNATURE + b'\xff'))
    or is_dicom(head)
    or tiff.is_tiff(head)
    or bmp.begins(head)
  )


def is_dicom(data: bytes) -> bool:
  """Whether a file is DICOM, also without its preamble and header."""
  return dicom_file.looks_like(data)


def _decode(data: bytes) -> np.ndarray:
  """Decode a file to the pixels that it holds, of any depth and channels."""
  # Unchanged: with alpha, and not turned by an orientation tag.
  image = None
  if data:
    with contextlib.suppress(cv2.error):  # by its own limits
      image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
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
  if pixels.ndim == 3 and pixels.shape[2] == 4:
    share = pixels[..., 3]
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2GRAY)
    pixels = _on_black(pixels, share)
    share = share > 0
  elif pixels.ndim == 3:
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
  elif transparent is not None:
    share = pixels != transparent
    pixels = np.where(share, pixels, 0).astype(pixels.dtype)
  if pixels.dtype == np.uint8:
    return pixels
  levels, counts = greys.distinct(pixels)
  seen = (levels, counts) if share is None else greys.distinct(pixels, share)
  low, high = greys.without_window(*seen, bits=16)
  image = greys.look_up(pixels, levels, greys.to_8_bit(levels, low, high))
  if share is not None:
    image[~share] = 0
  return image


def _on_black(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
  """Lay greys on black, few rows at a time as floats take much memory."""
  most = np.float32(np.iinfo(pixels.dtype).max)
  step = max(greys.BLOCK // pixels.shape[1], 1)
  for i in range(0, len(pixels), step):
    rows = slice(i, i + step)
    shares = alpha[rows].astype(np.float32) / most
    pixels[rows] = np.rint(pixels[rows] * shares).astype(pixels.dtype)
  return pixels
