"""BMP files of 8 and 24 bits, as they lie in the file."""

import struct

import numpy as np

from boneage_jax.imaging import limits

SIGNATURE = b'BM'
_DEPTHS = (8, 24)  # bits a pixel: of a palette, or of three colours


def begins(head: bytes) -> bool:
  """Whether a file begins as a BMP: many a text has its first two letters."""
  return head.startswith(SIGNATURE) and head[6:10] == bytes(4)


def read(data: bytes, admission: limits.Admission) -> np.ndarray:
  """Read a BMP that is not compressed.

  Returns:
    uint8 [H, W] of a grey palette, else [H, W, 3], blue first.

  Raises:
    ValueError: it is cut off, or of another kind.
  """
  if len(data) < 54:
    raise ValueError('Truncated BMP: no header; copy the file again.')
  start, size, width, height, planes, bits, packed, _, _, _, colours = (
    struct.unpack_from('<IIiiHHIIiiI', data, 10)
  )
  if size < 40 or planes != 1:
    raise ValueError(
      'Expected a BMP with a header of 40 bytes or more and one plane, got '
      f'{size} bytes and {planes}; save the film as PNG.'
    )
  if packed or bits not in _DEPTHS:
    raise ValueError(
      'Expected a BMP of 8 or 24 bits, not compressed, got '
      f'{bits} bits and compression {packed}; save the film as PNG.'
    )
  if width < 1 or not height:
    raise ValueError(f'Corrupt BMP: {width} x {height} pixels.')
  admission.pixels(width, abs(height))
  line = (width * bits + 31) // 32 * 4
  admission.size(line * abs(height))
  if start + line * abs(height) > len(data):
    raise ValueError(
      f'Truncated BMP: {max(len(data) - start, 0)} of {line * abs(height)} '
      'bytes of pixels; copy the file again.'
    )
  shape = abs(height), line
  pixels = np.frombuffer(data, np.uint8, shape[0] * line, start).reshape(shape)
  pixels = pixels[:, : width * bits // 8]
  if height > 0:  # the last line lies first
    pixels = pixels[::-1]
  if bits == 24:
    return np.ascontiguousarray(pixels.reshape(shape[0], width, 3))
  count = colours or 256
  palette = np.zeros((256, 4), np.uint8)
  end = 14 + size + 4 * count
  if count > 256 or end > start:
    raise ValueError(f'Corrupt BMP: a palette of {count} colours.')
  palette[:count] = np.frombuffer(data[14 + size : end], np.uint8).reshape(
    -1, 4
  )
  if pixels.max() >= count:
    raise ValueError('Corrupt BMP: a colour that the palette lacks.')
  grey = (palette[:, :1] == palette[:, :3]).all()
  return np.take(palette[:, 0] if grey else palette[:, :3], pixels, 0)
