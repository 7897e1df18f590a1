"""JPEG files: checked before they are decoded, and what is odd about them.

JPEG has no checksum. What libjpeg warns about in the entropy-coded data is
taken for damage; harmless oddities are mended in a copy, over which no decoder
has anything to say. docs/reference/reading.md says what cannot be seen.
"""

from collections.abc import Sequence
import re
from typing import NamedTuple

import simplejpeg

from boneage_jax.imaging import jpeg_scan
from boneage_jax.imaging import limits

SIGNATURE = b'\xff\xd8'
EXIF = b'Exif\0\0'
# Where entropy-coded data end: at a marker that is no restart, after fill.
_END_OF_SCAN = re.compile(rb'\xff+[^\x00\xd0-\xd7\xff]', re.DOTALL)
_MARKER = re.compile(rb'\xff+[^\x00\xff]', re.DOTALL)
_LAST_RESTARTS = re.compile(rb'(?:\xff[\xd0-\xd7])+\Z', re.DOTALL)
_BARE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_EOI, _SOS, _APP0, _APP1, _APP14 = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xCA)
FEW = 32  # stray bytes of any value that a progressive file may have
MOST_SCANS = 200  # libjpeg goes over the whole picture for each
MUCH = 200_000_000  # pixels of all scans, or 24 bytes of the file for one


class Checked(NamedTuple):
  """A sound file.

  Attributes:
    data: that decodes without a word; the file itself unless it is odd.
    exif: content of its Exif block, or b''.
    notes: names of what is odd, see `codec.NOTES`.
  """

  data: bytes
  exif: bytes
  notes: tuple[str, ...]
  transparent: None = None

  @property
  def picture(self) -> bytes:
    """The file to decode."""
    return self.data


class _Part(NamedTuple):
  """A segment, with the entropy-coded data behind it where it is a scan's."""

  marker: int
  body: bytes
  scan: bytes = b''

  def encoded(self) -> bytes:
    if self.marker in _BARE:
      return bytes((0xFF, self.marker))
    size = (len(self.body) + 2).to_bytes(2, 'big')
    return bytes((0xFF, self.marker)) + size + self.body + self.scan


def is_much_work(data: bytes) -> bool:
  """Whether a file may take more than a few seconds, as hostile ones do."""
  try:
    parts, _ = _parse(data)
    frame = _frame(parts)
  except ValueError:
    return False
  scans = sum(part.marker == _SOS for part in parts)
  return max(frame.width * frame.height * scans, 24 * len(data)) > MUCH


def size_of(data: bytes) -> tuple[int, int]:
  """Return width and height as a file says them.

  Raises:
    ValueError: it does not.
  """
  frame = _frame(_parse(data)[0])
  return frame.width, frame.height


def check(data: bytes, admission: limits.Admission | None = None) -> Checked:
  """Judge a file by what libjpeg says of it.

  Raises:
    ValueError: truncated, damaged, too large, or of a kind that is not read.
  """
  parts, notes = _parse(data)
  exif = [
    p.body[len(EXIF) :]
    for p in parts
    if p.marker == _APP1 and p.body.startswith(EXIF)
  ]
  frame = _frame(parts)
  (admission or limits.Admission()).pixels(frame.width, frame.height)
  _check_scans(parts, frame)
  colours = 'CMYK' if len(frame.components) == 4 else 'GRAY'
  parts, mended = _mend_header(parts, len(frame.components))
  if mended and 'jpeg_header' not in notes:
    notes.append('jpeg_header')
  if _has_stray_bytes(parts, colours):
    parts = _without_stray_bytes(parts, frame, colours)
    notes.append('stray_bytes')
  clean = _encoded(parts) if notes else data
  if (reason := _verdict(clean, colours)) is not None:
    raise ValueError(_damaged(reason))
  return Checked(clean, exif[0] if exif else b'', tuple(notes))


def _parse(data: bytes) -> tuple[list[_Part], list[str]]:
  """Cut a file into its segments, up to the end marker."""
  parts: list[_Part] = []
  notes: list[str] = []
  position = len(SIGNATURE)
  while match := _MARKER.search(data, position):
    if match.start() > position:
      notes.append('jpeg_header')
    marker, position = data[match.end() - 1], match.end()
    if marker == _EOI:
      if position < len(data):
        notes.append('trailing_bytes')
      break
    if marker in _BARE:
      parts.append(_Part(marker, b''))
      continue
    length = int.from_bytes(data[position : position + 2], 'big')
    if length < 2 or position + length > len(data):
      raise ValueError(_truncated(data))
    body = data[position + 2 : position + length]
    position += length
    scan = b''
    if marker == _SOS:
      end = _END_OF_SCAN.search(data, position)
      stop = end.start() if end else len(data)
      scan, position = data[position:stop], stop
    parts.append(_Part(marker, body, scan))
  else:
    if not parts or parts[-1].marker != _SOS:
      raise ValueError(_truncated(data))
    # A lone FF is half of the end marker.
    last = parts[-1]
    parts[-1] = last._replace(scan=last.scan.rstrip(b'\xff'))
    notes.append('end_marker')
  return parts, list(dict.fromkeys(notes))


def _frame(parts: Sequence[_Part]) -> jpeg_scan.Frame:
  """Read the frame header, the only one that a picture has."""
  frames = [part for part in parts if part.marker in _FRAMES]
  if len(frames) != 1:
    raise ValueError(_damaged(f'{len(frames)} frame headers'))
  try:
    return jpeg_scan.frame(frames[0].marker, frames[0].body)
  except (IndexError, ValueError) as e:
    raise ValueError(_damaged('the frame header is too short')) from e


def _check_scans(parts: Sequence[_Part], frame: jpeg_scan.Frame) -> None:
  """Refuse a file that ends between two scans: libjpeg says nothing."""
  scans = sum(part.marker == _SOS for part in parts)
  if scans > MOST_SCANS:
    raise ValueError(
      f'Expected a JPEG of at most {MOST_SCANS} scans, got {scans}; save it '
      'anew.'
    )
  left = {(name, k) for name in frame.components for k in range(64)}
  for part in parts:
    if part.marker != _SOS:
      continue
    scan = jpeg_scan.scan_header(part.body)
    if scan is None:
      raise ValueError(_damaged('a scan header is too short'))
    if frame.marker not in _PROGRESSIVE:
      left -= {(name, k) for name in scan.tables for k in range(64)}
    elif scan.low == 0:  # its last bit
      known = range(scan.first, scan.last + 1)
      left -= {(name, k) for name in scan.tables for k in known}
  if left:
    raise ValueError('Truncated JPEG: scans are missing; copy the file again.')


def _mend_header(
  parts: Sequence[_Part], components: int
) -> tuple[list[_Part], bool]:
  """Write what libjpeg takes odd headers for; its pixels stay the same."""
  sequential = not any(p.marker in _PROGRESSIVE for p in parts)
  mended = []
  for part in parts:
    body = bytearray(part.body)
    if part.marker == _APP0 and body[:5] == b'JFIF\0' and len(body) >= 14:
      body[5] = 1  # major revision
    elif part.marker == _APP14 and body[:5] == b'Adobe' and len(body) >= 12:
      known = {3: (1, 0), 4: (2, 0)}.get(components)
      if known and body[11] not in known:
        body[11] = known[0]
    elif part.marker == _SOS and sequential and len(body) >= 4:
      body[-3:] = (0, 63, 0)
    mended.append(part._replace(body=bytes(body)))
  return mended, mended != list(parts)


def _has_stray_bytes(parts: Sequence[_Part], colours: str) -> bool:
  """Whether the last scan needs less than all of its bytes.

  libjpeg reads ahead, so that it says nothing of the first few.
  """
  scans = [i for i, part in enumerate(parts) if part.marker == _SOS]
  last = parts[scans[-1]]
  scan = _LAST_RESTARTS.sub(b'', last.scan)
  less = scan[:-2] if scan.endswith(b'\xff\0') else scan[:-1]
  shorter = [*parts[: scans[-1]], last._replace(scan=less)]
  return _suffices(_encoded(shorter), colours)


def _without_stray_bytes(
  parts: Sequence[_Part], frame: jpeg_scan.Frame, colours: str
) -> list[_Part]:
  """Cut off what follows the last block, unless it is of the film.

  Data that were changed often hold more blocks than the film has, as Huffman
  codes fall into step again. So the bits behind the last block decide: where a
  scan ends, ones fill its last byte (ITU T.81, F.1.2.3).
  """
  scans = [i for i, part in enumerate(parts) if part.marker == _SOS]
  parts = list(parts[: scans[-1] + 1])
  scan = parts[-1].scan
  if frame.marker in (0xC0, 0xC1):
    tables = b''.join(p.body for p in parts if p.marker == 0xC4)
    restart = [p.body for p in parts if p.marker == 0xDD]
    end = jpeg_scan.end_of_blocks(
      frame,
      parts[-1].body,
      tables,
      int.from_bytes(restart[-1], 'big') if restart else 0,
      scan,
    )
  else:
    end = _shortest(parts, colours)
    stray = scan[end:]
    fills_up = len(set(scan[max(end - 2, 0) : end + 1])) == 1  # a cut file
    if fills_up or (len(stray) > FEW and len(set(stray)) > 1):
      end = None
  if end is None:
    raise ValueError(_damaged('it holds more blocks than the picture has'))
  parts[-1] = parts[-1]._replace(scan=scan[:end])
  return parts


def _shortest(parts: list[_Part], colours: str) -> int:
  """Find how many bytes of the last scan libjpeg needs."""
  enough, few = len(parts[-1].scan), 0
  while enough - few > 1:
    half = (enough + few) // 2
    trial = [*parts[:-1], parts[-1]._replace(scan=parts[-1].scan[:half])]
    if _suffices(_encoded(trial), colours):
      enough = half
    else:
      few = half
  return enough


def _encoded(parts: Sequence[_Part]) -> bytes:
  return b''.join([SIGNATURE, *(p.encoded() for p in parts), b'\xff\xd9'])


def _suffices(data: bytes, colours: str) -> bool:
  """Whether a file holds all blocks, and perhaps more."""
  reason = _verdict(data, colours)
  return reason is None or 'before marker 0xd9' in reason


def _verdict(data: bytes, colours: str) -> str | None:
  """Return the last thing that libjpeg says of a file, of several."""
  try:
    simplejpeg.decode_jpeg(data, colours)
  except ValueError as e:
    return str(e).rstrip('.')
  return None


def _damaged(reason: str) -> str:
  if 'remature end' in reason:
    return f'Truncated JPEG ({reason}); copy the file again.'
  return f'Damaged JPEG ({reason}); copy the file again.'


def _truncated(data: bytes) -> str:
  return (
    f'Truncated JPEG: {len(data)} bytes and no pixels; copy the file again.'
  )
