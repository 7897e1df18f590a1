"""Where the blocks of a baseline JPEG's last scan end, to the bit.

libjpeg says that bytes are left over, not whether they are of the film.
"""

import array
from collections.abc import Mapping
from collections.abc import Sequence
import math
import re
from typing import NamedTuple

import numpy as np

_RESTART = re.compile(rb'\xff[\xd0-\xd7]', re.DOTALL)
_NO_CODE = 1 << 40  # bits; leads beyond any scan


class Frame(NamedTuple):
  """A frame header: `components` are (horizontal, vertical) samples by name."""

  marker: int
  height: int
  width: int
  components: Mapping[int, tuple[int, int]]


class Scan(NamedTuple):
  """A scan header: `tables` are (DC, AC) by component; ITU T.81, B.2.3."""

  tables: Mapping[int, tuple[int, int]]
  first: int
  last: int
  low: int


def frame(marker: int, body: bytes) -> Frame:
  """Read a frame header.

  Raises:
    IndexError: it is too short.
    ValueError: it has no size.
  """
  height, width = (int.from_bytes(body[i : i + 2], 'big') for i in (1, 3))
  components = {
    body[i]: (body[i + 1] >> 4, body[i + 1] & 15)
    for i in range(6, 6 + 3 * body[5], 3)
  }
  if not height or not width or not components:
    raise ValueError('no size')
  if not all(h and v for h, v in components.values()):
    raise ValueError('no samples')
  return Frame(marker, height, width, components)


def scan_header(body: bytes) -> Scan | None:
  """Read a scan header; None if it is too short."""
  if not body or len(body) < 4 + 2 * body[0]:
    return None
  count = body[0]
  tables = {
    body[i]: (body[i + 1] >> 4, body[i + 1] & 15)
    for i in range(1, 1 + 2 * count, 2)
  }
  first, last, bits = body[1 + 2 * count : 4 + 2 * count]
  return Scan(tables, first, last, bits & 15)


def end_of_blocks(
  frame: Frame, header: bytes, tables: bytes, restart: int, scan: bytes
) -> int | None:
  """Return how many bytes of a scan hold the blocks of the picture.

  Args:
    frame: of the picture, baseline or extended sequential, with Huffman codes.
    header: of the scan.
    tables: content of the DHT segments before it.
    restart: units (MCU) of a restart interval, or 0.
    scan: its entropy-coded data, as in the file.

  Returns:
    Their number; None where what follows is of the film as well, as in data
    that were changed.
  """
  codes = _codes(tables)
  units, blocks = _layout(frame, scan_header(header))
  starts = [0, *(m.end() for m in _RESTART.finditer(scan))]
  # A restart marker may stand behind the last interval.
  if restart:
    count = math.ceil(units / restart)
    if len(starts) < count:
      return None
    start, units = starts[count - 1], units - restart * (count - 1)
  elif len(starts) > 1:
    return None
  else:
    start = 0
  data = scan[start:].replace(b'\xff\0', b'\xff')
  try:
    pairs = [(codes[0, dc], codes[1, ac]) for dc, ac in blocks]
  except KeyError:
    return None
  walk = _Walk(data, pairs)
  if not walk.go(units):
    return None
  size = math.ceil(walk.position / 8)
  fill = 8 * size - walk.position
  rest = data[size:]
  if not walk.is_filled(size):
    return None
  # Without a filling bit only the bytes say that something else begins: what
  # filled up a file that was cut off begins before the last block.
  if not fill and len(set(data[max(size - 2, 0) : size + 1])) == 1:
    return None
  constant = fill and len(set(rest)) == 1
  if not constant and walk.reaches_the_end():
    return None
  return start + len(data[:size].replace(b'\xff', b'\xff\0'))


class _Walk:
  """Steps over blocks; `position` is in bits."""

  def __init__(self, data: bytes, blocks: Sequence[tuple]):
    padded = np.frombuffer(data + bytes(2), np.uint8).astype(np.uint32)
    bits = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]
    self._bits = array.array('I', bits.tobytes())
    self._blocks = blocks
    self._size = len(data)
    self.position = 0

  def go(self, units: int) -> bool:
    """Step over so many units; False where codes or data do not suffice."""
    bits, position = self._bits, self.position
    try:
      for _ in range(units):
        for (dc, _), (ac, steps) in self._blocks:
          position += dc[bits[position >> 3] >> 8 - (position & 7) & 0xFFFF]
          k = 1
          while k < 64:
            code = bits[position >> 3] >> 8 - (position & 7) & 0xFFFF
            position += ac[code]
            k += steps[code]
    except IndexError:
      return False
    self.position = position
    return position <= 8 * self._size

  def is_filled(self, size: int) -> bool:
    """Whether ones fill the rest of `size` bytes, less than a byte."""
    fill = 8 * size - self.position
    ones = (1 << fill) - 1
    return fill < 8 and (not fill or self._bits[size - 1] >> 16 & ones == ones)

  def reaches_the_end(self) -> bool:
    """Whether whole units follow, up to the last byte."""
    while self.go(1):
      if self.is_filled(self._size):
        return True
    return False


def _layout(frame: Frame, scan: Scan) -> tuple[int, list[tuple[int, int]]]:
  """Return the number of units and the tables of the blocks of one."""
  across = max(h for h, _ in frame.components.values())
  down = max(v for _, v in frame.components.values())
  if len(scan.tables) == 1:
    ((name, tables),) = scan.tables.items()
    h, v = frame.components[name]
    columns = math.ceil(math.ceil(frame.width * h / across) / 8)
    rows = math.ceil(math.ceil(frame.height * v / down) / 8)
    return columns * rows, [tables]
  columns = math.ceil(frame.width / (8 * across))
  rows = math.ceil(frame.height / (8 * down))
  blocks = []
  for name, tables in scan.tables.items():
    blocks += [tables] * math.prod(frame.components[name])
  return columns * rows, blocks


def _codes(tables: bytes) -> dict[tuple[int, int], tuple[list, list]]:
  """Return by class and number what each 16 bits advance, in bits and places.

  A code is followed by as many bits as the low half of its symbol says; the
  high half are zeros that are skipped (ITU T.81, F.1.2 and C).
  """
  found, i = {}, 0
  while i + 17 <= len(tables):
    kind, number = tables[i] >> 4, tables[i] & 15
    counts = tables[i + 1 : i + 17]
    symbols = iter(tables[i + 17 : i + 17 + sum(counts)])
    bits, steps = [], []
    for length, count in enumerate(counts, 1):
      for symbol in (s for _, s in zip(range(count), symbols, strict=False)):
        size, skipped = symbol & 15, symbol >> 4
        step = skipped + 1 if size or skipped == 15 else 64
        bits += [length + size] * (1 << 16 - length)
        steps += [step] * (1 << 16 - length)
    left = (1 << 16) - len(bits)
    found[kind, number] = bits + [_NO_CODE] * left, steps + [64] * left
    i += 17 + sum(counts)
  return found
