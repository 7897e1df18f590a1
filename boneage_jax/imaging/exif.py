"""The orientation that a camera writes into a picture (Exif, tag 0x0112)."""

import struct

import numpy as np

_TYPES = {1: 'B', 3: 'H', 4: 'I'}  # of TIFF: byte, short, long
# Of the stored picture: transpose, mirror left and right, mirror up and down.
_STEPS = {
  1: (False, False, False),
  2: (False, True, False),
  3: (False, True, True),
  4: (False, False, True),
  5: (True, False, False),
  6: (True, True, False),
  7: (True, True, True),
  8: (True, False, True),
}


def orientation(block: bytes) -> int | None:
  """Read 1 to 8 of a TIFF block, 1 where nothing is said; None if damaged."""
  block = block.removeprefix(b'Exif\0\0')  # as some PNG writers put it
  if not block:
    return 1
  order = {b'II': '<', b'MM': '>'}.get(block[:2])
  if order is None:
    return None
  try:
    (start,) = struct.unpack_from(f'{order}I', block, 4)
    (count,) = struct.unpack_from(f'{order}H', block, start)
    for i in range(count):
      entry = start + 2 + 12 * i
      tag, kind, _ = struct.unpack_from(f'{order}HHI', block, entry)
      if tag == 0x0112:
        how = order + _TYPES[kind]
        (value,) = struct.unpack_from(how, block, entry + 8)
        return value if value in _STEPS else None
  except (struct.error, KeyError):
    return None
  return 1


def apply(image: np.ndarray, value: int) -> np.ndarray:
  """Turn or mirror [H, W, ...] as it is to be seen."""
  transpose, mirror, flip = _STEPS[value]
  if transpose:
    image = image.swapaxes(0, 1)
  if mirror:
    image = image[:, ::-1]
  if flip:
    image = image[::-1]
  return np.ascontiguousarray(image)
