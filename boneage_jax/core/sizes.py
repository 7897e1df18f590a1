"""Sizes of pictures in configs: one number for a square, or two."""

from collections.abc import Sequence
import numbers
from typing import Any


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


def training_hw(options: Any) -> tuple[int, int]:
  """Return height and width that a net is trained at.

  Args:
    options: how films become net inputs: `size` of a whole film, and `crop`,
      the side of the square that training sees, a share of the shorter side; 0
      is all of the film.

  Raises:
    ValueError: a size or share that cannot be.
  """
  height, width = size_hw(options.size)
  share = getattr(options, 'crop', 0.0)  # runs of earlier versions have none
  if not 0 <= share <= 1:
    raise ValueError(
      'Expected input.crop as a share of the shorter side from 0, for all of '
      f'the film, to 1, got {share}.'
    )
  if not share:
    return height, width
  return (max(round(share * min(height, width)), 1),) * 2
