"""The one frame of a DICOM file, decoded; asked first how large it is."""

from collections.abc import Iterator
import struct
from typing import Any
from typing import NamedTuple

import numpy as np

from boneage_jax.imaging import dicom_elements
from boneage_jax.imaging import jpeg
from boneage_jax.imaging import limits

_JPEG = tuple(f'1.2.840.10008.1.2.4.{n}' for n in (50, 51, 57, 70, 80, 81))
_JPEG_8_BIT = _JPEG[:2]  # of which the second may have 12
_RLE = '1.2.840.10008.1.2.5'
_JPEG_2000 = b'\xff\x4f\xff\x51'
_STARTS = (jpeg.SIGNATURE, _JPEG_2000)  # of a codestream


class Shape(NamedTuple):
  """What the header says of the pixels; PS3.3, C.7.6.3."""

  rows: int
  columns: int
  samples: int
  allocated: int
  bits: int
  high: int
  signed: bool


def shape(header: dicom_elements.Header, admission: limits.Admission) -> Shape:
  """Read the elements without which no pixel can be read.

  Raises:
    ValueError: one is missing or makes no sense, there are several frames, or
      the film is too large.
  """
  rows = header.needed('Rows', 1)
  columns = header.needed('Columns', 1)
  samples = header.needed('SamplesPerPixel', 1, 4)
  allocated = header.needed('BitsAllocated', 1, 64)
  bits = header.needed('BitsStored', 1, allocated)
  high = header.needed('HighBit', 0, allocated - 1)
  signed = bool(header.needed('PixelRepresentation', 0, 1))
  frames = 1
  if header.is_there('NumberOfFrames'):
    found = header.numbers('NumberOfFrames')
    if len(found) == 1 and found[0] >= 1:
      frames = found[0]
    else:
      header.note('frames')
  if frames != 1:
    raise ValueError(_several(f'{frames:g} frames (NumberOfFrames)'))
  admission.pixels(columns, rows)
  admission.size(rows * columns * samples * allocated // 8)
  return Shape(rows, columns, samples, allocated, bits, high, signed)


def decoded(
  header: dicom_elements.Header, asked: Shape, syntax: str, pydicom: Any
) -> tuple[np.ndarray, str]:
  """Decode without moving bits.

  Returns:
    [H, W] or [H, W, 3], and the PhotometricInterpretation that it has.

  Raises:
    ValueError: no pixels, several pages, or they cannot be decoded.
  """
  data = header.value('PixelData')
  if not isinstance(data, bytes) or not data:
    raise ValueError(
      'expected one radiograph, found no pixel data (PixelData).'
    )
  uid = pydicom.uid.UID(syntax)
  small = pydicom.Dataset()
  small.file_meta = pydicom.dataset.FileMetaDataset()
  small.file_meta.TransferSyntaxUID = uid
  small.set_original_encoding(*header.dataset.original_encoding)
  small.Rows, small.Columns = asked.rows, asked.columns
  small.SamplesPerPixel = asked.samples
  small.BitsAllocated, small.BitsStored = asked.allocated, asked.bits
  small.HighBit, small.PixelRepresentation = asked.high, int(asked.signed)
  small.PhotometricInterpretation = header.text('PhotometricInterpretation')
  if asked.samples > 1:
    small.PlanarConfiguration = header.needed('PlanarConfiguration', 0, 1)
  small['PixelData'] = header.dataset['PixelData']
  name = uid.name if uid.name != syntax else f'unknown, {syntax[:64]}'
  encapsulated = uid.is_transfer_syntax and uid.is_encapsulated
  if uid.is_transfer_syntax and not encapsulated:
    _check_length(data, asked, small.PhotometricInterpretation)
  frame = _frame(data, syntax) if encapsulated else b''
  try:
    if frame:
      _check_frame(frame, asked, syntax)
    pixels, said = pydicom.pixels.get_decoder(uid).as_array(
      small, raw=True, correct_unused_bits=False, allow_excess_frames=False
    )
  except MemoryError:
    raise
  except Exception as e:  # each decoder plug-in raises its own kinds
    words = ' '.join(str(e).split())
    raise ValueError(
      f'the pixels cannot be decoded (TransferSyntaxUID: {name}): {words} If '
      'the file is whole, pip install python-gdcm, or export it uncompressed.'
    ) from e
  wanted = (asked.rows, asked.columns) + (3,) * (asked.samples == 3)
  if pixels.shape != wanted or pixels.dtype.kind not in 'ui':
    raise ValueError(
      f'expected pixels {list(wanted)} by Rows, Columns and SamplesPerPixel, '
      f'got {list(pixels.shape)} of {pixels.dtype}. Export the film again.'
    )
  return pixels, str(said['photometric_interpretation'])


def _several(what: str) -> str:
  return (
    f'expected one radiograph, found {what}. Export the frame with '
    'the hand as its own file.'
  )


def _check_length(data: bytes, asked: Shape, photometric: str) -> None:
  """Refuse native pixels of several pages, or of less than one."""
  wanted = asked.rows * asked.columns * asked.samples * asked.allocated // 8
  if photometric == 'YBR_FULL_422':
    wanted = wanted // 3 * 2
  if len(data) >= 2 * wanted > 8:
    raise ValueError(_several(f'{len(data) // wanted} pages in PixelData'))
  if len(data) < wanted:
    raise ValueError(
      f'expected {wanted} bytes of PixelData, found {len(data)}: the file is '
      'cut off.'
    )


def _frame(data: bytes, syntax: str) -> bytes:
  """Return the compressed frame; several are refused."""
  offsets, *fragments = _items(data)
  starts = [f for f in fragments if f.startswith(_STARTS)]
  pages = max(len(offsets) // 4, len(starts))
  if syntax == _RLE:
    pages = max(pages, len(fragments))
  if pages > 1:
    raise ValueError(_several(f'{pages} frames in PixelData'))
  return b''.join(fragments)


def _check_frame(frame: bytes, asked: Shape, syntax: str) -> None:
  """Refuse a compressed frame that is damaged, or of another size."""
  size = None
  if syntax in _JPEG:
    size = _size_of_jpeg(frame)
  elif frame.startswith(_JPEG_2000) and len(frame) >= 24:
    right, lower, left, upper = struct.unpack_from('>4I', frame, 8)
    size = right - left, lower - upper
  if size is not None and size != (asked.columns, asked.rows):
    raise ValueError(
      f'PixelData holds a picture of {size[0]} x {size[1]}, but Columns and '
      f'Rows say {asked.columns} x {asked.rows}.'
    )
  if syntax in _JPEG_8_BIT and asked.bits == 8:
    jpeg.check(frame.rstrip(b'\0'))


def _items(data: bytes) -> Iterator[bytes]:
  """Yield the offset table and the fragments; PS3.5, A.4."""
  position = 0
  while position + 8 <= len(data):
    group, element, size = struct.unpack_from('<HHI', data, position)
    if (group, element) != (0xFFFE, 0xE000):
      break
    yield data[position + 8 : position + 8 + size]
    position += 8 + size
  if not position:
    raise ValueError('expected a compressed frame, found none (PixelData).')


def _size_of_jpeg(frame: bytes) -> tuple[int, int] | None:
  """Return width and height of a JPEG of any process, if it says them."""
  position = 2
  while position + 9 <= len(frame) and frame[position] == 0xFF:
    marker = frame[position + 1]
    if marker == 0xFF:
      position += 1
      continue
    # Frame headers, among them that of JPEG-LS; ITU T.81, B.2.2, and T.87.
    if marker in {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}:
      height, width = struct.unpack_from('>HH', frame, position + 5)
      return width, height
    position += 2 + struct.unpack_from('>H', frame, position + 2)[0]
  return None
