"""Frames of one grey about a film, as scanners and exports add them."""

import numpy as np

GREYS = 3  # lines of a frame vary by no more, and a film beside it by more
PART = 0.5  # of a film's outermost line has another grey than its frame
EDGE = 2  # lines in which a film begins: a shrunken film has a blend first


def inside(film: np.ndarray) -> tuple[slice, slice]:
  """Return rows and columns of uint8 [H, W] that are no frame.

  Lines from the edge inwards that all have one grey are a frame if the film
  begins at once behind them: half or more of one of the next two lines has
  another grey. Behind a background that is merely flat only a finger tip has,
  and it stays. Frames in frames are taken off, too; a film without content is
  all kept.
  """
  rows, columns = slice(0, film.shape[0]), slice(0, film.shape[1])
  while True:
    top, bottom, left, right = _widths(film[rows, columns])
    if not (top or bottom or left or right):
      return rows, columns
    rows = slice(rows.start + top, rows.stop - bottom)
    columns = slice(columns.start + left, columns.stop - right)


def _widths(film: np.ndarray) -> tuple[int, int, int, int]:
  """Return how many lines of a frame lie on top, at bottom, left and right."""
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
  """Return how many first lines [N, M] have one grey between them."""
  low, high = 255, 0
  for count, line in enumerate(lines):
    low, high = min(low, int(line.min())), max(high, int(line.max()))
    if high - low > GREYS:  # of most films at once
      return count
  return len(lines)
