"""Pixels of a DICOM file as values that can be trusted, or a refusal."""

from typing import Any

import cv2
import numpy as np

from boneage_jax.imaging import jpeg

GREY = ('MONOCHROME1', 'MONOCHROME2')
PALETTE = 'PALETTE COLOR'
COLOUR = ('RGB', 'YBR_FULL', 'YBR_FULL_422', 'YBR_ICT', 'YBR_RCT')
NEEDED = (
  'PhotometricInterpretation',
  'SamplesPerPixel',
  'Rows',
  'Columns',
  'BitsAllocated',
  'BitsStored',
  'PixelRepresentation',
)
_JPEG_8_BIT = '1.2.840.10008.1.2.4.50'
_RLE = '1.2.840.10008.1.2.5'


def stored(dataset: Any, pydicom: Any) -> tuple[np.ndarray, np.ndarray]:
  """Return the stored values, and which of them are padding.

  Args:
    dataset: of one frame.
    pydicom: the package, which is optional.

  Returns:
    int64 [H, W] of BitsStored bits, or uint8 [H, W, 3] in RGB; bool [H, W].

  Raises:
    ValueError: a kind of pixels that is not read, or they cannot be decoded.
  """
  missing = [k for k in NEEDED if dataset.get(k) in (None, '')]
  if missing:
    raise ValueError(
      f'expected {", ".join(missing)} in the header, found nothing. Export the '
      'film again.'
    )
  photometric = str(dataset.get('PhotometricInterpretation', '')).strip()
  if photometric not in (*GREY, PALETTE, *COLOUR):
    raise ValueError(
      f'expected PhotometricInterpretation {", ".join((*GREY, PALETTE))} or '
      f'{", ".join(COLOUR)}, found {photometric!r}. Export the film '
      'as MONOCHROME2.'
    )
  words = _decoded(dataset, pydicom)
  samples = 3 if photometric in COLOUR else 1
  if (words.shape[2] if words.ndim == 3 else 1) != samples:
    raise ValueError(
      f'expected {samples} samples a pixel for {photometric}, found '
      f'{dataset.SamplesPerPixel}.'
    )
  if samples == 3:
    if words.dtype != np.uint8 or dataset.BitsStored != 8:
      raise ValueError(
        f'expected grey or 8-bit colour pixels, found colour of '
        f'{dataset.BitsStored} bits.'
      )
    return words, np.zeros(words.shape[:2], bool)
  if words.dtype.kind not in 'ui' or dataset.BitsAllocated not in (8, 16, 32):
    raise ValueError(
      f'expected whole numbers of 8, 16 or 32 bits, found '
      f'{dataset.BitsAllocated} bits of kind {words.dtype}.'
    )
  return _values(words, dataset)


def palette_grey(values: np.ndarray, dataset: Any, pydicom: Any) -> np.ndarray:
  """Return the luminance, uint8 [H, W], of an index picture.

  Raises:
    ValueError: the palette is missing or damaged.
  """
  try:
    colours = pydicom.pixels.apply_color_lut(values, dataset)
  except Exception as e:  # a table that is short or missing
    raise ValueError(
      f'the palette of PhotometricInterpretation PALETTE COLOR cannot be read: '
      f'{e} Export the film as MONOCHROME2.'
    ) from e
  most = np.iinfo(colours.dtype).max
  colours = np.rint(colours[..., :3] * (255 / most)).astype(np.uint8)
  return cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)


def _decoded(dataset: Any, pydicom: Any) -> np.ndarray:
  """Decode without moving bits; YBR becomes RGB."""
  syntax = dataset.file_meta.get('TransferSyntaxUID')
  try:
    if syntax == _JPEG_8_BIT:
      frame = next(
        pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
      )
      jpeg.check(frame)
    return pydicom.pixels.pixel_array(dataset, correct_unused_bits=False)
  except Exception as e:  # each decoder plug-in raises its own kinds
    raise ValueError(
      'the pixels cannot be decoded (transfer syntax: '
      f'{getattr(syntax, "name", "unknown")}): {e} If the file is whole, '
      'pip install python-gdcm, or export it uncompressed.'
    ) from e


def _values(words: np.ndarray, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
  """Take BitsStored bits below HighBit of each word; PS3.5, 8.1.1."""
  allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
  signed = bool(dataset.PixelRepresentation)
  high = dataset.get('HighBit')
  high = bits - 1 if high is None else int(high)
  shift = high + 1 - bits
  if not 0 <= shift <= allocated - bits:
    raise ValueError(
      f'expected HighBit from {bits - 1} to {allocated - 1} for {bits} bits '
      f'stored of {allocated}, found {high}.'
    )
  syntax = dataset.file_meta.TransferSyntaxUID
  if shift and syntax.is_encapsulated and syntax != _RLE:
    raise ValueError(
      f'expected HighBit {bits - 1} in compressed pixels of {bits} bits, found '
      f'{high}. Export the film uncompressed.'
    )
  words = words.view(f'u{words.dtype.itemsize}').astype(np.int64)
  values = words >> shift & (1 << bits) - 1
  if signed:
    values -= (values >> bits - 1) << bits
  padding = _padding(words, values, dataset, signed)
  above = words >> high + 1
  copies = np.where(values < 0, (1 << allocated - high - 1) - 1, 0)
  # Overlays of old files lie in bits that are not stored (PS3.3, C.9.2).
  overlay = any(
    (group, 0x0102) in dataset and dataset[group, 0x0102].value
    for group in range(0x6000, 0x6020, 2)
  )
  beyond = (above != 0) & (above != copies) & ~padding
  low = words[~padding]
  below = shift and low.size and low.max() < 1 << bits and low.min() >= 0
  if (beyond.any() and not overlay) or (
    below and (low & (1 << shift) - 1).any()
  ):
    raise ValueError(
      f'the pixels do not fit the header, which says that {bits} bits are '
      f'stored below HighBit {high}. Correct BitsStored or HighBit, or export '
      'the film again.'
    )
  return values, padding


def _padding(
  words: np.ndarray, values: np.ndarray, dataset: Any, signed: bool
) -> np.ndarray:
  """Mark the pixels outside of the exposed field, bool [H, W].

  Writers take a padding value of signed pixels for unsigned and the reverse,
  which is seen from its size.
  """
  first = dataset.get('PixelPaddingValue')
  if first is None or first == '':
    return np.zeros(values.shape, bool)
  last = dataset.get('PixelPaddingRangeLimit')
  last = first if last is None or last == '' else last
  allocated = int(dataset.BitsAllocated)

  def meant(end: int) -> int:
    if signed and 1 << 15 <= end < 1 << 16 and allocated <= 16:
      return end - (1 << 16)
    return end if signed or end >= 0 else end + (1 << allocated)

  low, high = sorted((meant(int(first)), meant(int(last))))
  found = (values >= low) & (values <= high)
  if first == last:  # a value that needs bits that are not stored
    found |= words == int(first) % (1 << allocated)
  return found
