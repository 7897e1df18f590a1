"""TIFF files by hand, of any tags."""

import struct

import numpy as np


def made(pixels, order='<', packed=1, strips=None, tile=None, **tags):
  """The bytes of a TIFF of [H, W] or [H, W, 3].

  Args:
    pixels: as the file holds them.
    order: '<' or '>'.
    packed: the compression that `strips` have.
    strips: of the file; by default the pixels in one.
    tile: height and width of tiles in the place of strips.
    **tags: by name of `NUMBERS`, more or other ones.
  """
  height, width = pixels.shape[:2]
  samples = pixels.shape[2] if pixels.ndim == 3 else 1
  swapped = pixels.astype(pixels.dtype.newbyteorder(order))
  if tile:
    down, across = tile
    more = [(0, -height % down), (0, -width % across), (0, 0)][: pixels.ndim]
    padded = np.pad(swapped, more)
    strips = [
      padded[y : y + down, x : x + across].tobytes()
      for y in range(0, height, down)
      for x in range(0, width, across)
    ]
  strips = strips or [swapped.tobytes()]
  places = (324, 325) if tile else (273, 279)
  entries = {
    256: width,
    257: height,
    258: [8 * pixels.dtype.itemsize] * samples,
    259: packed,
    262: 1 if samples == 1 else 2,
    277: samples,
    places[0]: [0] * len(strips),
    places[1]: [len(s) for s in strips],
  }
  entries |= {322: tile[1], 323: tile[0]} if tile else {278: height}
  entries |= {NUMBERS[name]: value for name, value in tags.items()}
  for _ in range(2):  # the size of the table says where strips lie
    table, body = _table(entries, order)
    at = 8 + len(table) + len(body)
    entries[places[0]] = [
      at + sum(len(s) for s in strips[:i]) for i in range(len(strips))
    ]
  mark = b'II' if order == '<' else b'MM'
  head = mark + struct.pack(f'{order}HI', 42, 8)
  return head + table + body + b''.join(strips)


NUMBERS = {
  'subfile': 254,
  'bits': 258,
  'photometric': 262,
  'fill_order': 266,
  'orientation': 274,
  'samples': 277,
  'strip_rows': 278,
  'planar': 284,
  'predictor': 317,
  'sample_format': 339,
}


def _table(entries, order):
  start, body, lines = 8 + 2 + 12 * len(entries) + 4, b'', []
  for tag, value in sorted(entries.items()):
    values = value if isinstance(value, list) else [value]
    data = struct.pack(f'{order}{len(values)}I', *values)
    if len(values) > 1:
      place = struct.pack(f'{order}I', start + len(body))
      body += data
    else:
      place = data
    lines.append(struct.pack(f'{order}HHI', tag, 4, len(values)) + place)
  count = struct.pack(f'{order}H', len(lines))
  return count + b''.join(lines) + bytes(4), body
