"""Rows of the tables of this folder."""

from collections.abc import Iterable
import csv
import math
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent
# Value, low and high end.
INTERVALS = (
  *((value, 'lo', 'hi') for value in ('mae', 'value', 'covered')),
  ('validation_mae', 'validation_lo', 'validation_hi'),
  ('validation_value', 'validation_lo', 'validation_hi'),
  ('difference', 'difference_lo', 'difference_hi'),
  ('dice', 'dice_lo', 'dice_hi'),
  ('found', 'found_lo', 'found_hi'),
  ('jaccard', 'jaccard_lo', 'jaccard_hi'),
  ('change', 'change_ci95_low', 'change_ci95_high'),
  ('bias_change', 'bias_change_ci95_low', 'bias_change_ci95_high'),
)
NUMBERS = {
  *{column for interval in INTERVALS for column in interval},
  *('n', 'rmse', 'within12', 'girls', 'boys', 'parameters', 'films_per_s'),
  *('minutes', 'seed', 'paper_mae_v1', 'paper_mae_v2', 'ours', 'peer_value'),
  *('ratio', 'input_size', 'level', 'width', 'least_films_of_a_band', 'moved'),
  *('flagged', 'trusted_change', 'labelled', 'dice_chosen', 'dice_random'),
  *('kb', 'ms_a_film', 'cores_localizer', 'cores_assessor'),
  *('memory_gib', 'share_of_memory', 'gflop', 'traffic_gb'),
  *('estimate_ms', 'share_of_peak', 'films_per_s_a_chip', 'compile_cpu_s'),
}
Row = dict[str, str]


def read(name: str) -> list[Row]:
  """Read a table of this folder.

  Raises:
    ValueError: a cell breaks the rules of README.md.
  """
  with open(FOLDER / name, encoding='utf-8', newline='') as file:
    rows = list(csv.DictReader(file))
  for number, row in enumerate(rows, start=2):
    _check(f'results/{name}, row {number}', row)
  return rows


def _check(where: str, row: Row) -> None:
  if None in row or None in row.values():
    raise ValueError(f'{where}: expected as many cells as columns.')
  numbers = {}
  for column in NUMBERS & row.keys():
    try:
      numbers[column] = float(row[column] or 'nan')
    except ValueError:
      raise ValueError(
        f'{where}, column {column}: expected a number or nothing, got '
        f'{row[column]!r}.'
      ) from None
  for value, low, high in INTERVALS:
    least, middle, most = (numbers.get(k, math.nan) for k in (low, value, high))
    if middle < least or middle > most:
      raise ValueError(
        f'{where}, column {value}: expected a value within its interval, got '
        f'{row[value]} ({row[low]} to {row[high]}).'
      )
  if 'command' in row and not (FOLDER / 'commands' / row['command']).is_file():
    raise ValueError(
      f'{where}, column command: no file results/commands/{row["command"]}.'
    )


def current(name: str) -> list[Row]:
  """Read the rows of a table that no later run replaces."""
  return [row for row in read(name) if not row['superseded_by']]


def run(row: Row) -> str:
  """Name the config and preset of a row."""
  return ':'.join(filter(None, (row['config'], row['preset'])))


def interval(row: Row, value: str, low: str, high: str) -> str:
  """Write a value with its interval, if it has one."""
  return row[value] + (f' ({row[low]} to {row[high]})' if row[low] else '')


def grouped(rows: Iterable[Row], *columns: str) -> Iterable:
  """Group rows by columns, in the order of their first rows."""
  groups = {}
  for row in rows:
    groups.setdefault(tuple(row[column] for column in columns), []).append(row)
  return groups.items()
