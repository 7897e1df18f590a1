"""PNG files: checked, and in a form that decodes faster to the same pixels."""

from collections.abc import Iterator
import struct
import zlib

import cv2
import numpy as np

try:
  from isal import isal_zlib
except ImportError:  # no wheel for this machine: OpenCV inflates
  isal_zlib = None

SIGNATURE = b'\x89PNG\r\n\x1a\n'
BLOCK = 65535  # most bytes in a block that deflate stores
QUICK = [
  cv2.IMWRITE_PNG_FILTER,
  cv2.IMWRITE_PNG_FILTER_UP,  # each line less the one above
  cv2.IMWRITE_PNG_STRATEGY,
  cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,  # no search for repeats
]


def encode(image: np.ndarray) -> bytes:
  """Encode uint8 [H, W], or BGR, losslessly in the form that decodes fastest.

  Films decode in half of the time that OpenCV's own choice takes, or less,
  and are a tenth smaller: bones run along the columns.
  """
  return cv2.imencode('.png', image, QUICK)[1].tobytes()


def check(data: bytes) -> None:
  """Walk the chunks: libpng fills a truncated film up with black.

  Raises:
    ValueError: a chunk is cut off or its checksum is wrong.
  """
  for kind, start, end in _chunks(data):
    if end + 4 > len(data):
      break
    (checksum,) = struct.unpack_from('>I', data, end)
    if checksum != zlib.crc32(memoryview(data)[start - 4 : end]):
      raise ValueError(
        f'Corrupt PNG: wrong checksum at byte {start - 8} of {len(data)}; copy '
        'the file again.'
      )
    if kind == b'IEND':
      return
  raise ValueError(
    f'Truncated PNG: {len(data)} bytes and no end; copy the file again.'
  )


def inflate(data: bytes) -> bytes:
  """Return a PNG with its pixels stored instead of deflated.

  isal inflates 2.5 times as fast as the zlib of OpenCV, which then has the
  filters of the lines left to undo. What is no PNG comes back as it is.

  Raises:
    ValueError: the pixels are cut off or damaged.
  """
  if isal_zlib is None or not data.startswith(SIGNATURE):
    return data
  view, parts, first, last = memoryview(data), [], 0, len(data)
  for kind, start, end in _chunks(data):
    if kind == b'IDAT':
      first, last = first or start - 8, end + 4
      parts.append(view[start:end])
    elif parts:
      break
  try:
    lines = isal_zlib.decompress(b''.join(parts), bufsize=4 * len(data))
  except isal_zlib.error as error:
    raise ValueError(
      'Expected a complete PNG, got one whose pixels do not inflate '
      f'({error}); copy the file again or leave it out.'
    ) from error
  return b''.join([view[:first], *_stored(lines), view[last:]])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
  """Yield kind, start and end of the content of each chunk."""
  position = len(SIGNATURE)
  while position + 12 <= len(data):
    length, kind = struct.unpack_from('>I4s', data, position)
    yield kind, position + 8, position + 8 + length
    position += length + 12


def _stored(lines: bytes) -> list[bytes]:
  """Cut a zlib stream that stores `lines` into chunks of one block each."""
  chunks, view = [], memoryview(lines)
  for start in range(0, len(lines), BLOCK):
    block = view[start : start + BLOCK]
    last = start + BLOCK >= len(lines)
    body = b''.join(
      [
        b'IDAT',
        b'' if start else b'\x78\x01',  # zlib's header
        struct.pack('<BHH', last, len(block), len(block) ^ BLOCK),
        block,
        struct.pack('>I', isal_zlib.adler32(lines)) if last else b'',
      ]
    )
    checksum = struct.pack('>I', isal_zlib.crc32(body))
    chunks += [struct.pack('>I', len(body) - 4), body, checksum]
  return chunks
