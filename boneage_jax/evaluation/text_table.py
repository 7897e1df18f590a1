"""Text tables for a terminal."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.data import groups
from boneage_jax.evaluation import metrics

NO_TEST = 'The run has no test films: its figures are of validation films.'
WITHIN = tuple(f'<= {months} mo' for months in metrics.WITHIN)
_ERRORS = (
  ('MAE', 'mae', '{:.2f}'),
  ('RMSE', 'rmse', '{:.2f}'),
  ('median', 'median', '{:.2f}'),
  ('bias', 'bias', '{:+.2f}'),
)

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


def errors(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
  """Lay out figures of `metrics.error_summary`; '' for those it lacks.

  Args:
    row: figures, `n` at least.
    columns: of films, MAE, 95 % interval, RMSE, median, bias and WITHIN.
  """
  cells = {'films': str(row['n']), '95 % interval': interval(row, 'mae')}
  for column, key, form in _ERRORS:
    cells[column] = form.format(row[key]) if key in row else ''
  for column, months in zip(WITHIN, metrics.WITHIN, strict=True):
    share = row.get(f'within_{months}')
    cells[column] = '' if share is None else f'{100 * share:.1f} %'
  return [cells[column] for column in columns]


def group(name: str) -> str:
  """Name a group of `metrics.summary` as a reader would: girls, 72-96."""
  return ', '.join(groups.PLURAL.get(part, part) for part in name.split(', '))
