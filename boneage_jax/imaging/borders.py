"""Borders of one grey around a film, as scanners and exports add them."""

import numpy as np

GREYS = 3  # a border varies by no more grey levels, the film beside it by more
PART = 0.5  # this share of a film's outermost line differs from the border
EDGE = 2  # lines in which the film begins: a shrunken film has a blend first


def inside(film: np.ndarray) -> tuple[slice, slice]:
  """Return the rows and columns of uint8 [H, W] inside of its border.

  Outer lines of one grey are a border if the film begins right behind them: at
  least half of one of the next two lines has another grey. A flat background
  stays, as only a finger tip follows it. Borders within borders are removed as
  well. A film without content is kept whole.
  """
  rows, columns = slice(0, film.shape[0]), slice(0, film.shape[1])
  while True:
    top, bottom, left, right = _widths(film[rows, columns])
    if not (top or bottom or left or right):
      return rows, columns
    rows = slice(rows.start + top, rows.stop - bottom)
    columns = slice(columns.start + left, columns.stop - right)


def _widths(film: np.ndarray) -> tuple[int, int, int, int]:
  """Count the lines of the border at the top, bottom, left and right."""
  sides = film, film[::-1], film.T, film.T[::-1]
  flat = top, bottom, left, right = [_flat(lines) for lines in sides]
  height, width = film.shape
  if top + bottom >= height or left + right >= width:
    return 0, 0, 0, 0
  inner = film[top : height - bottom, left : width - right]
  begins = inner, inner[::-1], inner.T, inner.T[::-1]
  found = []
  for lines, count, first in zip(sides, flat, begins, strict=True):
    away = np.abs(first[:EDGE] - np.median(lines[max(count - 1, 0)])) > GREYS
    found.append(count if away.mean(1).max() >= PART else 0)
  return tuple(found)


def _flat(lines: np.ndarray) -> int:
  """Count the first lines of [N, M] that have one grey between them."""
  low, high = 255, 0
  for count, line in enumerate(lines):
    low, high = min(low, int(line.min())), max(high, int(line.max()))
    if high - low > GREYS:  # most films end the search at once
      return count
  return len(lines)
