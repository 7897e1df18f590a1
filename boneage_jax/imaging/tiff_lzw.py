"""LZW of TIFF: whether its codes are those of a strip; TIFF 6.0, section 13.

LZW has no checksum. But codes tell how many bytes they stand for, so a changed
one makes a strip longer or shorter.
"""

import numpy as np

CLEAR, END, FIRST = 256, 257, 258
# How many codes of 9, 10, 11 and 12 bits follow a Clear: the table grows by
# one entry a code, and codes grow one entry early.
_COUNTS = (254, 512, 1024, 2048)
_WIDTHS = np.repeat((9, 10, 11, 12), _COUNTS)
_STARTS = np.concatenate([[0], np.cumsum(_WIDTHS)])


def fault(strip: bytes, wanted: int) -> str | None:
  """Say what is wrong with a strip of so many bytes; None if nothing is."""
  data = np.frombuffer(strip, np.uint8)
  bits = 8 * len(data)
  data = np.concatenate([data, np.zeros(3, np.uint8)])
  position, count = 0, 0
  while True:
    places = position + _STARTS
    known = int(np.searchsorted(places, bits, 'right')) - 1
    codes = _codes(data, places[:known], _WIDTHS[:known])
    stops = np.flatnonzero((codes == CLEAR) | (codes == END))
    stop = int(stops[0]) if len(stops) else len(codes)
    lengths = _lengths(codes[:stop])
    if lengths is None:
      return 'LZW names a code that there is not yet'
    ends = count + np.cumsum(lengths)
    count = int(ends[-1]) if stop else count
    if count > wanted:
      return f'LZW of more than {wanted} bytes in a strip'
    if stop == len(codes):  # the end marker is missing, or the table is full
      full = stop == len(_WIDTHS) and count < wanted
      if full or count < wanted:
        return f'LZW of {count} of {wanted} bytes in a strip'
      return None
    position = int(places[stop + 1])
    if codes[stop] == END:
      return None if count == wanted else f'LZW of {count} of {wanted} bytes'
    if count == wanted and bits - position < 9:
      return None


def _codes(
  data: np.ndarray, places: np.ndarray, widths: np.ndarray
) -> np.ndarray:
  """Read codes at bits; the high bit of a byte is its first."""
  at = places >> 3
  three = [data[at + i].astype(np.int64) for i in range(3)]
  windows = three[0] << 16 | three[1] << 8 | three[2]
  return windows >> (24 - (places & 7) - widths) & (1 << widths) - 1


def _lengths(codes: np.ndarray) -> np.ndarray | None:
  """Return the bytes that each code stands for; None if one is not known.

  Entry `FIRST + i` is what code i stands for and a byte more.
  """
  entries = codes - FIRST
  if np.any(entries >= np.arange(len(codes))):
    return None
  lengths = np.ones(len(codes), np.int64)
  parents = np.where(entries < 0, -1, entries)
  alive = np.flatnonzero(parents >= 0)
  while alive.size:  # steps double: a chain of n entries takes log n rounds
    above = parents[alive]
    lengths[alive] += lengths[above]
    parents[alive] = above = parents[above]
    alive = alive[above >= 0]
  return lengths
