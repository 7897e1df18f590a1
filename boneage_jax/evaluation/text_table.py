"""Text tables for a terminal."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.evaluation import plot_style

NO_TEST = 'The run has no test films: its figures are of validation films.'


def layout(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Align columns: the first to the left, the others to the right.

  Rows may be shorter than the head.
  """
  width = len(head)
  cells = [[*row, *[''] * (width - len(row))] for row in (head, *rows)]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  lines = [
    '  '.join(
      [row[0].ljust(widths[0])]
      + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
    )
    for row in cells
  ]
  return '\n'.join(line.rstrip() for line in lines)


def interval(row: Mapping[str, Any], key: str, sign: str = '') -> str:
  """Lay out the 95 % interval of a figure; empty where there is none."""
  if f'{key}_ci95' not in row:
    return ''
  low, high = row[f'{key}_ci95']
  return f'{low:{sign}.2f} to {high:{sign}.2f}'


def group(name: str) -> str:
  """Name a group of `metrics.summary` as a reader would: girls, 72-96."""
  return ', '.join(
    plot_style.NAMES.get(part, part) for part in name.split(', ')
  )
