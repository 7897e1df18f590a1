"""Print how many damaged TIFF files are refused, by packing and damage."""

import io

import cv2
import numpy as np
from PIL import Image

from boneage_jax.imaging import limits
from boneage_jax.imaging import tiff

FILES = 40
PACKINGS = {'LZW': 'tiff_lzw', 'Deflate': 'tiff_adobe_deflate', 'JPEG': 'jpeg'}
OFFSET, COUNT = (
  273,
  279,
)  # tags of the strips: where they lie, how long they are


def film() -> np.ndarray:
  """Draw smoothed noise, uint8 [300, 434]."""
  noise = np.random.default_rng(0).integers(0, 256, (150, 217), np.uint8)
  return np.tile(cv2.GaussianBlur(noise, (0, 0), 2), (2, 2))


def packed(kind: str) -> tuple[bytes, int, int]:
  """Return a TIFF of the film, where its pixels begin, and their bytes."""
  out = io.BytesIO()
  Image.fromarray(film()).save(out, 'TIFF', compression=kind)
  with Image.open(out) as whole:
    start, size = whole.tag_v2[OFFSET][0], sum(whole.tag_v2[COUNT])
  return out.getvalue(), start, size


def refused(data: bytes, start: int, size: int, damage: int) -> int:
  """Count refused files, each changed once in the second quarter of pixels.

  Args:
    data: the whole file.
    start, size: of its pixels.
    damage: bytes that are changed; 4096 are zeros, others are random.
  """
  rng, found = np.random.default_rng(damage), 0
  for _ in range(FILES):
    at = int(rng.integers(start + size // 4, start + size // 2))
    new = bytes(damage) if damage == 4096 else rng.bytes(damage)
    changed = (data[:at] + new)[: len(data)] + data[at + damage :]
    try:
      tiff.read(changed, limits.Admission())
    except ValueError:
      found += 1
  return found


def main() -> None:
  """Print the table."""
  for name, kind in PACKINGS.items():
    for damage in (4096, 64, 8, 1):
      count = refused(*packed(kind), damage)
      print(f'{damage} bytes, {name}: {count} of {FILES} refused')


if __name__ == '__main__':
  main()
