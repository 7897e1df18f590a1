"""Strips and tiles of a TIFF, checked and decoded to their bytes."""

from collections.abc import Iterator
from collections.abc import Sequence
import os
import struct
import tempfile
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.imaging import jpeg
from boneage_jax.imaging import limits
from boneage_jax.imaging import tiff_lzw

NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACK_BITS = 1, 5, 7, 8, 32946, 32773
READ = (NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACK_BITS)
PREDICTED = (LZW, DEFLATE, OLD_DEFLATE)
_ADOBE = b'\xff\xee\0\x0eAdobe\0\x64\0\0\0\0'  # and one byte: the colours


class Chunk(NamedTuple):
  """A strip or tile: where it lies in the file and in the picture."""

  start: int
  count: int
  top: int
  left: int
  rows: int
  line: int  # bytes of a row


class Jpeg(NamedTuple):
  """What strips of JPEG share."""

  tables: bytes
  samples: int
  ycc: bool


def decode(
  data: bytes,
  plan: Sequence[Chunk],
  packed: int,
  admission: limits.Admission,
  shared: Jpeg,
) -> Iterator[np.ndarray]:
  """Yield the bytes of each strip or tile, uint8 [rows * line].

  Raises:
    ValueError: damaged, cut off, or of a compression that is not read.
  """
  if packed not in READ:
    raise ValueError(
      'Expected a TIFF without compression, or with LZW, Deflate, PackBits or '
      f'JPEG, got compression {packed}; save the film as PNG.'
    )
  for chunk in plan:
    if chunk.start + chunk.count > len(data):
      raise ValueError(
        f'Truncated TIFF: {len(data)} bytes, and a strip or tile ends at '
        f'{chunk.start + chunk.count}; copy the file again.'
      )
  strips = (memoryview(data)[c.start : c.start + c.count] for c in plan)
  if packed == LZW:
    yield from _lzw(plan, list(strips))
    return
  for chunk, strip in zip(plan, strips, strict=True):
    wanted = chunk.rows * chunk.line
    if packed == JPEG:
      raw = _jpeg(chunk, bytes(strip), shared, admission)
    elif packed in (DEFLATE, OLD_DEFLATE):
      raw = _inflated(strip, wanted, admission)
    elif packed == PACK_BITS:
      raw = _unpacked(strip, wanted)
    else:
      raw = strip
    if len(raw) < wanted:
      raise ValueError(_damaged(f'{len(raw)} of {wanted} bytes in a strip'))
    yield np.frombuffer(raw, np.uint8, wanted)


def _inflated(
  strip: memoryview, wanted: int, admission: limits.Admission
) -> bytes:
  raw = bytearray()
  try:
    for piece in admission.inflated([strip]):
      raw += piece[: wanted - len(raw)]
  except limits.DamagedError as e:
    raise ValueError(_damaged(str(e))) from e
  return bytes(raw)


def _unpacked(strip: memoryview, wanted: int) -> bytes:
  """Decode PackBits: runs of bytes, or of one byte (TIFF 6.0, section 9)."""
  raw, at, end = bytearray(), 0, len(strip)
  while len(raw) < wanted and at < end:
    head = strip[at]
    if head < 128:
      raw += strip[at + 1 : at + 2 + head]
      at += 2 + head
    elif head > 128:
      raw += bytes(strip[at + 1 : at + 2]) * (257 - head)
      at += 2
    else:
      at += 1
  if len(raw) > wanted or at > end:
    raise ValueError(_damaged('a run of PackBits ends beyond its strip'))
  return bytes(raw)


def _jpeg(
  chunk: Chunk, strip: bytes, shared: Jpeg, admission: limits.Admission
) -> np.ndarray:
  """Decode a strip as the JPEG file that it is with the shared tables."""
  tables = shared.tables
  if tables and not (
    tables[:2] == jpeg.SIGNATURE and tables[-2:] == b'\xff\xd9'
  ):
    raise ValueError(_damaged('its JPEG tables are cut off'))
  if strip[:2] != jpeg.SIGNATURE:
    raise ValueError(_damaged('a strip is no JPEG'))
  adobe = _ADOBE + bytes([shared.ycc]) if shared.samples == 3 else b''
  whole = jpeg.SIGNATURE + adobe + tables[2:-2] + strip[2:]
  try:
    width, height = jpeg.size_of(whole)
  except ValueError as e:
    raise ValueError(f'Damaged TIFF: {e}') from e
  columns = chunk.line // shared.samples
  if width != columns or height < chunk.rows or height > chunk.rows + 64:
    raise ValueError(
      _damaged(f'a strip of {width} x {height}, not {columns} x {chunk.rows}')
    )
  try:
    checked = jpeg.check(whole, admission)
  except ValueError as e:
    raise ValueError(f'Damaged TIFF: {e}') from e
  pixels = cv2.imdecode(
    np.frombuffer(checked.picture, np.uint8), cv2.IMREAD_UNCHANGED
  )
  if pixels is None or pixels.size != width * height * shared.samples:
    raise ValueError(_damaged('a strip of JPEG does not decode'))
  if shared.samples == 3:
    pixels = pixels[..., ::-1]
  return np.ascontiguousarray(pixels[: chunk.rows]).reshape(-1)


def _lzw(
  plan: Sequence[Chunk], strips: Sequence[memoryview]
) -> Iterator[np.ndarray]:
  """Decode by OpenCV a TIFF whose pixels are the bytes of the strips."""
  for chunk, strip in zip(plan, strips, strict=True):
    reason = tiff_lzw.fault(strip, chunk.rows * chunk.line)
    if reason is not None:
      raise ValueError(_damaged(reason))
  rows, said = _libtiff(plan, strips)
  if said or rows is None:
    words = ' '.join(said.split())[-200:]
    raise ValueError(_damaged(words or 'its LZW does not decode'))
  top = 0
  for chunk in plan:
    yield rows[top : top + chunk.rows].reshape(-1)
    top += chunk.rows


def _libtiff(
  plan: Sequence[Chunk], strips: Sequence[memoryview]
) -> tuple[np.ndarray | None, str]:
  """Return bytes [H, line], and what the decoder said."""
  count, height = len(plan), sum(c.rows for c in plan)
  table = 8 + 2 + 12 * 9 + 4
  body = table + 8 * count
  starts = body + np.cumsum([0, *(len(s) for s in strips)])[:-1]
  sizes = [len(s) for s in strips]
  entries = [
    (256, 4, 1, plan[0].line),
    (257, 4, 1, height),
    (258, 3, 1, 8),
    (259, 3, 1, LZW),
    (262, 3, 1, 1),
    (273, 4, count, table if count > 1 else int(starts[0])),
    (277, 3, 1, 1),
    (278, 4, 1, plan[0].rows),
    (279, 4, count, table + 4 * count if count > 1 else sizes[0]),
  ]
  made = b''.join(
    [
      b'II*\0\x08\0\0\0' + struct.pack('<H', len(entries)),
      *(struct.pack('<HHII', *entry) for entry in entries),
      bytes(4),
      np.array([*starts, *sizes], '<u4').tobytes(),
      *strips,
    ]
  )
  with tempfile.TemporaryFile() as heard:
    before = os.dup(2)
    os.dup2(heard.fileno(), 2)
    try:
      rows = cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as e:
      return None, str(e)
    finally:
      os.dup2(before, 2)
      os.close(before)
    heard.seek(0)
    said = heard.read().decode(errors='replace')
  if rows is not None and rows.shape != (height, plan[0].line):
    rows = None
  return rows, said


def _damaged(reason: str) -> str:
  return f'Damaged TIFF ({reason}); copy the file again.'
