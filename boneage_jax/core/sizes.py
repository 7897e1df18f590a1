"""Sizes of pictures in configs: one number for a square, or two."""

from collections.abc import Sequence
import numbers


def size_hw(size: int | Sequence[int]) -> tuple[int, int]:
  """Return height and width in pixels; an int is the side of a square.

  Raises:
    ValueError: neither an int nor (height, width), or not above 0.
  """
  pair = (size, size) if isinstance(size, numbers.Integral) else size
  if isinstance(pair, Sequence) and len(pair) == 2:
    height, width = pair
    if all(isinstance(n, numbers.Integral) and n > 0 for n in pair):
      return int(height), int(width)
  raise ValueError(
    'Expected a size (input.size, crop_size) as one number of pixels above 0 '
    f'or as (height, width), got {size!r}.'
  )
