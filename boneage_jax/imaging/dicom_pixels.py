"""Pixels of a DICOM file as values that can be trusted, or a refusal."""

from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.imaging import dicom_elements
from boneage_jax.imaging import dicom_frame
from boneage_jax.imaging import greys
from boneage_jax.imaging import limits

GREY = ('MONOCHROME1', 'MONOCHROME2')
PALETTE = 'PALETTE COLOR'
COLOUR = ('RGB', 'YBR_FULL', 'YBR_FULL_422', 'YBR_ICT', 'YBR_RCT')
SAMPLES = {'grey or of a palette': 1, 'colour': 3}
_RLE = '1.2.840.10008.1.2.5'


class Stored(NamedTuple):
  """Grey or index pixels, by the values that they have.

  Attributes:
    words: unsigned integers [H, W], as decoded.
    levels: [N], the words that there are, in order.
    values: int64 [N], what BitsStored says that they are.
    counts: int64 [N], how many pixels have them.
    padding: bool [N], whether they are outside of the film.
    bits: BitsStored.
    least: the least value that these bits can hold.
  """

  words: np.ndarray
  levels: np.ndarray
  values: np.ndarray
  counts: np.ndarray
  padding: np.ndarray
  bits: int
  least: int


def stored(
  header: dicom_elements.Header,
  syntax: str,
  admission: limits.Admission,
  pydicom: Any,
) -> Stored | np.ndarray:
  """Return the stored values; of colour the luminance, uint8 [H, W].

  Args:
    header: of one frame.
    syntax: UID of the transfer syntax.
    admission: of the film.
    pydicom: the package, which is optional.

  Raises:
    ValueError: a kind of pixels that is not read, or they cannot be decoded.
  """
  if not header.is_there('PixelData'):
    raise ValueError(
      'expected one radiograph, found no pixel data (PixelData).'
    )
  photometric = header.text('PhotometricInterpretation')
  if photometric not in (*GREY, PALETTE, *COLOUR):
    raise ValueError(
      f'expected PhotometricInterpretation {", ".join((*GREY, PALETTE))} or '
      f'{", ".join(COLOUR)}, found {photometric!r}. Export the film '
      'as MONOCHROME2.'
    )
  shape = dicom_frame.shape(header, admission)
  kind = 'colour' if photometric in COLOUR else 'grey or of a palette'
  if shape.samples != SAMPLES[kind]:
    raise ValueError(
      f'expected SamplesPerPixel {SAMPLES[kind]} for {photometric}, found '
      f'{shape.samples}.'
    )
  if kind == 'colour' and (shape.allocated, shape.bits) != (8, 8):
    raise ValueError(
      'expected grey or 8-bit colour pixels, found colour of BitsStored '
      f'{shape.bits} and BitsAllocated {shape.allocated}.'
    )
  if shape.allocated not in (8, 16, 32):
    raise ValueError(
      f'expected whole numbers of 8, 16 or 32 bits, found BitsAllocated '
      f'{shape.allocated}.'
    )
  pixels, photometric = dicom_frame.decoded(header, shape, syntax, pydicom)
  if kind == 'colour':
    return _luminance(pixels, photometric, pydicom)
  # Big-endian files give big-endian arrays, whose bytes mean something else.
  native = pixels.astype(pixels.dtype.newbyteorder('='), 'C', copy=False)
  words = native.view(f'u{native.dtype.itemsize}')
  return _values(words, shape, header, syntax, pydicom)


def palette_grey(
  values: np.ndarray, header: dicom_elements.Header, pydicom: Any
) -> np.ndarray:
  """Return the luminance, uint8 [N], of indices.

  Raises:
    ValueError: the palette is missing or damaged.
  """
  try:
    colours = pydicom.pixels.apply_color_lut(values[None], header.dataset)
  except Exception as e:  # a table that is short or missing
    raise ValueError(
      f'the palette (PaletteColorLookupTable) of PhotometricInterpretation '
      f'PALETTE COLOR cannot be read: {e} Export the film as MONOCHROME2.'
    ) from e
  most = np.iinfo(colours.dtype).max
  colours = np.rint(colours[..., :3] * (255 / most)).astype(np.uint8)
  return cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)[0]


def _luminance(
  pixels: np.ndarray, photometric: str, pydicom: Any
) -> np.ndarray:
  """Return uint8 [H, W] of RGB or YBR, few rows at a time."""
  image = np.empty(pixels.shape[:2], np.uint8)
  step = max(greys.BLOCK // pixels.shape[1], 1)
  for i in range(0, len(pixels), step):
    rows = pixels[i : i + step]
    if photometric in ('YBR_FULL', 'YBR_FULL_422'):
      rows = pydicom.pixels.convert_color_space(rows, 'YBR_FULL', 'RGB')
    image[i : i + step] = cv2.cvtColor(
      np.ascontiguousarray(rows), cv2.COLOR_RGB2GRAY
    )
  return image


def _values(
  words: np.ndarray,
  shape: dicom_frame.Shape,
  header: dicom_elements.Header,
  syntax: str,
  pydicom: Any,
) -> Stored:
  """Take BitsStored bits below HighBit of each word; PS3.5, 8.1.1."""
  allocated, bits, high = 8 * words.dtype.itemsize, shape.bits, shape.high
  shift = high + 1 - bits
  if not 0 <= shift <= allocated - bits:
    raise ValueError(
      f'expected HighBit from {bits - 1} to {allocated - 1} for BitsStored '
      f'{bits} of {allocated}, found {high}.'
    )
  compressed = pydicom.uid.UID(syntax).is_encapsulated and syntax != _RLE
  if shift and compressed:
    raise ValueError(
      f'expected HighBit {bits - 1} in compressed pixels of {bits} bits, found '
      f'{high}. Export the film uncompressed.'
    )
  levels, counts = greys.distinct(words)
  whole = levels.astype(np.int64)
  values = whole >> shift & (1 << bits) - 1
  if shape.signed:
    values -= (values >> bits - 1) << bits
  padding = _padding(whole, values, shape, header)
  above = whole >> high + 1
  copies = np.where(values < 0, (1 << allocated - high - 1) - 1, 0)
  beyond = (above != 0) & (above != copies) & ~padding
  low = whole[~padding]
  below = shift and low.size and low.max() < 1 << bits and low.min() >= 0
  if (beyond.any() and not _has_overlay(header)) or (
    below and (low & (1 << shift) - 1).any()
  ):
    raise ValueError(
      f'the pixels do not fit the header, which says that {bits} bits are '
      f'stored below HighBit {high}. Correct BitsStored or HighBit, or export '
      'the film again.'
    )
  least = -(1 << (bits - 1)) if shape.signed else 0
  return Stored(words, levels, values, counts, padding, bits, least)


def _has_overlay(header: dicom_elements.Header) -> bool:
  """Overlays of old files lie in bits that are not stored (PS3.3, C.9.2)."""
  for group in range(0x6000, 0x6020, 2):
    try:
      if header.dataset[group, 0x0102].value:
        return True
    except Exception:  # absent, or damaged
      continue
  return False


def _padding(
  words: np.ndarray,
  values: np.ndarray,
  shape: dicom_frame.Shape,
  header: dicom_elements.Header,
) -> np.ndarray:
  """Mark the levels outside of the exposed field, bool [N].

  Writers take a padding value of signed pixels for unsigned and the reverse,
  which is seen from its size.
  """
  ends = [
    header.numbers(keyword, 'padding')
    for keyword in ('PixelPaddingValue', 'PixelPaddingRangeLimit')
  ]
  first, last = (
    int(end[0]) if len(end) == 1 and np.isfinite(end[0]) else None
    for end in ends
  )
  for end, number in zip(ends, (first, last), strict=True):
    if end and number is None:
      header.note('padding')
  if first is None:
    return np.zeros(values.shape, bool)
  last = first if last is None else last

  def meant(end: int) -> int:
    if shape.signed and 1 << 15 <= end < 1 << 16 and shape.allocated <= 16:
      return end - (1 << 16)
    return end if shape.signed or end >= 0 else end + (1 << shape.allocated)

  low, high = sorted((meant(first), meant(last)))
  found = (values >= low) & (values <= high)
  if first == last:  # a value that needs bits that are not stored
    found |= words == first % (1 << shape.allocated)
  return found
