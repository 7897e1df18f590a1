"""TIFF files of one page, grey or RGB, of 8 or 16 bits; TIFF 6.0.

Tags are read here, and strips or tiles by `tiff_strips`, so that no decoder
sees what it might take amiss.
"""

from collections.abc import Mapping
import math
import struct
from typing import NamedTuple

import numpy as np

from boneage_jax.imaging import limits
from boneage_jax.imaging import tiff_strips

_ORDERS = {b'II*\0': '<', b'MM\0*': '>'}
_BIG = (b'II+\0', b'MM\0+')  # 64-bit offsets
_TYPES = {1: 'u1', 3: 'u2', 4: 'u4'}
_KINDS = {0: 'MinIsWhite', 1: 'MinIsBlack', 2: 'RGB', 6: 'YCbCr'}
MOST_PAGES = 1000


class Tag:
  """Numbers of the tags that are read."""

  SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION = 254, 256, 257, 258, 259
  PHOTOMETRIC, FILL_ORDER, STRIPS, ORIENTATION = 262, 266, 273, 274
  SAMPLES, STRIP_ROWS, STRIP_SIZES, PLANAR = 277, 278, 279, 284
  PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES = 317, 322, 323, 324
  TILE_SIZES, SAMPLE_FORMAT, JPEG_TABLES = 325, 339, 347


class _Field(NamedTuple):
  kind: int
  values: np.ndarray  # of an unknown kind: none

  def one(self) -> int:
    return int(self.values[0]) if len(self.values) else -1


def is_tiff(data: bytes) -> bool:
  """Whether a file begins as a TIFF, also one of 64 bits."""
  return data[:4] in _ORDERS or data[:4] in _BIG


def read(data: bytes, admission: limits.Admission) -> tuple[np.ndarray, int]:
  """Read the page of a TIFF.

  Returns:
    uint8 or uint16 [H, W], or [H, W, 3] blue first; the orientation, 1 to 8.

  Raises:
    ValueError: damaged, cut off, too large, or of a kind that is not read.
  """
  if data[:4] in _BIG:
    raise ValueError(_refused('a BigTIFF', 'a TIFF of 32-bit offsets'))
  order = _ORDERS[data[:4]]
  tags = _page(data, order)
  one = lambda tag, default: tags[tag].one() if tag in tags else default
  width, height = one(Tag.WIDTH, 0), one(Tag.HEIGHT, 0)
  if width < 1 or height < 1:
    raise ValueError(f'Corrupt TIFF: {width} x {height} pixels.')
  admission.pixels(width, height)
  samples, depth, photometric = _form(tags, one)
  packed = one(Tag.COMPRESSION, 1)
  predictor = one(Tag.PREDICTOR, 1)
  if predictor not in (1, 2):
    raise ValueError(_refused(f'Predictor {predictor}', '1 or 2'))
  plan = _plan(tags, one, width, height, samples * depth // 8)
  admission.size(sum(c.rows * c.line for c in plan))
  tables = tags.get(Tag.JPEG_TABLES)
  parts = tiff_strips.decode(
    data,
    plan,
    packed,
    admission,
    tiff_strips.Jpeg(
      bytes(tables.values) if tables else b'', samples, photometric == 6
    ),
  )
  pixels = np.empty((height, width, samples), f'u{depth // 8}')
  for chunk, raw in zip(plan, parts, strict=True):
    part = raw.view(f'{order}u{depth // 8}').reshape(chunk.rows, -1, samples)
    if predictor == 2 and packed in tiff_strips.PREDICTED:
      part = np.cumsum(part, 1, dtype=pixels.dtype)
    place = pixels[chunk.top :, chunk.left :][: chunk.rows, : part.shape[1]]
    place[:] = part[: place.shape[0], : place.shape[1]]
  if photometric == 0:
    np.subtract(np.iinfo(pixels.dtype).max, pixels, out=pixels)
  orientation = one(Tag.ORIENTATION, 1)
  pixels = pixels[..., 0] if samples == 1 else pixels[..., ::-1]
  return np.ascontiguousarray(pixels), (
    orientation if 1 <= orientation <= 8 else 1
  )


def _page(data: bytes, order: str) -> Mapping[int, _Field]:
  """Return the tags of the one page; reduced copies of it do not count."""
  pages, seen = [], set()
  (start,) = struct.unpack_from(f'{order}I', data, 4) if len(data) > 7 else (0,)
  while start and start not in seen and len(seen) < MOST_PAGES:
    seen.add(start)
    tags, start = _directory(data, order, start)
    if Tag.SUBFILE not in tags or not tags[Tag.SUBFILE].one() & 1:
      pages.append(tags)
  if len(pages) != 1:
    raise ValueError(_refused(f'{len(pages)} pages', 'a TIFF of one page'))
  return pages[0]


def _directory(
  data: bytes, order: str, start: int
) -> tuple[dict[int, _Field], int]:
  """Return the tags of a page, and where the next lies."""
  try:
    (count,) = struct.unpack_from(f'{order}H', data, start)
    end = start + 2 + 12 * count
    (following,) = struct.unpack_from(f'{order}I', data, end)
  except struct.error as e:
    raise ValueError(_truncated(data)) from e
  tags = {}
  for at in range(start + 2, end, 12):
    tag, kind, size = struct.unpack_from(f'{order}HHI', data, at)
    code = 'u1' if tag == Tag.JPEG_TABLES else _TYPES.get(kind)
    if code is None:
      tags[tag] = _Field(kind, np.empty(0, np.uint8))
      continue
    length = size * int(code[1])
    place = at + 8
    if length > 4:
      (place,) = struct.unpack_from(f'{order}I', data, place)
    if place + length > len(data):
      if tag in vars(Tag).values():
        raise ValueError(_truncated(data))
      continue
    values = np.frombuffer(data, order + code, size, place) if size else ()
    tags[tag] = _Field(kind, np.asarray(values))
  return tags, following


def _form(tags: Mapping[int, _Field], one) -> tuple[int, int, int]:
  """Return samples a pixel, bits a sample and the photometric kind."""
  samples = one(Tag.SAMPLES, 1)
  depths = tags[Tag.BITS].values.tolist() if Tag.BITS in tags else [1]
  photometric = one(Tag.PHOTOMETRIC, -1)
  jpeg = one(Tag.COMPRESSION, 1) == tiff_strips.JPEG
  if photometric not in _KINDS or (photometric == 6 and not jpeg):
    raise ValueError(
      _refused(f'PhotometricInterpretation {photometric}', 'grey or RGB')
    )
  wanted = 1 if photometric < 2 else 3
  if samples != wanted:
    raise ValueError(
      _refused(
        f'SamplesPerPixel {samples}', f'{wanted} for {_KINDS[photometric]}'
      )
    )
  if len(set(depths)) != 1 or depths[0] not in ((8,) if jpeg else (8, 16)):
    raise ValueError(_refused(f'BitsPerSample {depths[:4]}', '8 or 16'))
  formats = tags[Tag.SAMPLE_FORMAT].values if Tag.SAMPLE_FORMAT in tags else [1]
  if any(kind != 1 for kind in formats):
    raise ValueError(_refused('another SampleFormat', 'unsigned integers'))
  if samples > 1 and one(Tag.PLANAR, 1) != 1:
    raise ValueError(_refused('PlanarConfiguration 2', '1'))
  if one(Tag.FILL_ORDER, 1) != 1:
    raise ValueError(_refused('FillOrder 2', '1'))
  return samples, depths[0], photometric


def _plan(
  tags: Mapping[int, _Field], one, width: int, height: int, size: int
) -> list[tiff_strips.Chunk]:
  """List the strips or tiles; `size` is bytes a pixel."""
  tiled = Tag.TILES in tags
  if tiled:
    across, down = one(Tag.TILE_WIDTH, 0), one(Tag.TILE_HEIGHT, 0)
  else:
    across, down = width, min(one(Tag.STRIP_ROWS, height), height)
  if across < 1 or down < 1 or max(across, down) > 1 << 20:
    raise ValueError(f'Corrupt TIFF: strips or tiles of {across} x {down}.')
  wanted = math.ceil(width / across) * math.ceil(height / down)
  starts = tags.get(Tag.TILES if tiled else Tag.STRIPS)
  sizes = tags.get(Tag.TILE_SIZES if tiled else Tag.STRIP_SIZES)
  if starts is None or len(starts.values) < wanted:
    raise ValueError(f'Corrupt TIFF: fewer than {wanted} strips or tiles.')
  if sizes is None and one(Tag.COMPRESSION, 1) == 1:
    sizes = _Field(4, np.full(wanted, across * down * size))
    sizes.values[-1] = across * (height - (wanted - 1) * down) * size
  if sizes is None or len(sizes.values) < wanted:
    raise ValueError(f'Corrupt TIFF: fewer than {wanted} sizes of strips.')
  chunks = []
  places = zip(starts.values.tolist(), sizes.values.tolist(), strict=False)
  for i, (start, count) in zip(range(wanted), places, strict=False):
    row, column = divmod(i, math.ceil(width / across))
    rows = down if tiled else min(down, height - row * down)
    chunks.append(
      tiff_strips.Chunk(
        start, count, row * down, column * across, rows, across * size
      )
    )
  return chunks


def _refused(found: str, wanted: str) -> str:
  return f'Expected {wanted}, got a TIFF with {found}; save the film as PNG.'


def _truncated(data: bytes) -> str:
  return (
    f'Truncated TIFF: {len(data)} bytes do not hold all that it says; copy the '
    'file again.'
  )
