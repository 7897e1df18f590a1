"""Bytes to a DICOM header: with or without preamble, deflated or not."""

import io
import struct
from typing import Any

from boneage_jax.imaging import limits

DEFLATED = '1.2.840.10008.1.2.1.99'
IMPLICIT, EXPLICIT = '1.2.840.10008.1.2', '1.2.840.10008.1.2.1'
BIG_ENDIAN = '1.2.840.10008.1.2.2'
_LONG = b'OB OD OF OL OV OW SQ SV UC UN UR UT UV'.split()  # 4 bytes of length
_VRS = {*_LONG, *b'AE AS AT CS DA DS DT FD FL IS LO LT PN SH'.split()}
_VRS |= {*b'SL SS ST TM UI UL US'.split()}
_SYNTAX = b'\x02\x00\x10\x00UI'  # the element that names the transfer syntax
_FIRST = (
  0x0002,
  0x0008,
  0x0010,
  0x0018,
  0x0020,
  0x0028,
)  # groups that a file without preamble begins with


def looks_like(data: bytes) -> bool:
  """Whether a file is DICOM, also without its preamble (PS3.10, 7.1)."""
  if data[128:132] == b'DICM':
    return True
  if len(data) < 16:
    return False
  for order in '<>':
    group, element = struct.unpack_from(f'{order}HH', data)
    (size,) = struct.unpack_from(f'{order}I', data, 4)
    # Elements rise, so the first of its group is a low one. A length that fits
    # tells one without VR from other files that begin with such bytes.
    bare = order == '<' and size <= min(len(data) - 8, 1024)
    first = group in _FIRST and element <= 0x0100
    if first and (data[4:6] in _VRS or bare):
      return True
  return False


def parse(
  data: bytes, admission: limits.Admission, pydicom: Any
) -> tuple[Any, str]:
  """Read the header, and name the transfer syntax.

  Args:
    data: the file.
    admission: of the film.
    pydicom: the package, which is optional.

  Raises:
    ValueError: no DICOM, too large when inflated, or no header to be read.
  """
  if not looks_like(data):
    raise ValueError(
      'expected a DICOM file (DICM at byte 128, or a header without preamble). '
      'Export the film again, or give it as PNG or JPEG.'
    )
  data = _inflated(data, admission)
  try:
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    syntax = getattr(dataset, 'file_meta', {}).get('TransferSyntaxUID')
  except Exception as e:  # damaged headers raise many kinds
    raise ValueError(
      f'the DICOM header cannot be read: {type(e).__name__}: {e}'
    ) from e
  if syntax:
    return dataset, str(syntax)
  implicit, little = dataset.original_encoding
  if implicit is None or implicit:
    return dataset, IMPLICIT  # DICOM's default
  return dataset, EXPLICIT if little else BIG_ENDIAN


def _inflated(data: bytes, admission: limits.Admission) -> bytes:
  """Inflate a deflated file, as far as is allowed; others stay as they are."""
  start = 132 if data[128:132] == b'DICM' else 0
  end, syntax_at = start, None
  while data[end : end + 2] == b'\x02\x00' and end + 12 <= len(data):
    if data[end : end + 6] == _SYNTAX:
      syntax_at = end
    if data[end + 4 : end + 6] in _LONG:
      end += 12 + struct.unpack_from('<I', data, end + 8)[0]
    else:
      end += 8 + struct.unpack_from('<H', data, end + 6)[0]
  if syntax_at is None:
    return data
  (size,) = struct.unpack_from('<H', data, syntax_at + 6)
  place = slice(syntax_at + 8, syntax_at + 8 + size)
  if data[place].rstrip(b'\0 ') != DEFLATED.encode():
    return data
  head = bytearray(data[:end])
  head[place] = EXPLICIT.encode().ljust(size, b'\0')
  whole = bytearray(head)
  try:
    for piece in admission.inflated([memoryview(data)[end:]], wbits=-15):
      whole += piece
  except limits.DamagedError as e:
    raise ValueError(f'the deflated DICOM is damaged: {e}.') from e
  return bytes(whole)
