"""Tables for a terminal, of one run or of several side by side.

  python -m boneage_jax.evaluate table RUN[:stage] [--by=sex_age] [--out=FILE]
  python -m boneage_jax.evaluate table RUN[:stage] RUN[:stage] ...

Every split by itself, with the data set and the label files' hashes on top. Of
several runs a row each, with the speed of their training.
"""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import sys
from typing import Any

from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import text_table
from boneage_jax.runs import lineage
from boneage_jax.runs import metric_writer
from boneage_jax.runs import run as run_lib

GROUPS = ('sex', 'age', 'stage', 'sex_age', 'sex_stage', 'sex_age_stage')
DEFAULT = ('sex', 'age', 'stage', 'sex_age')
HEAD = (
  'films',
  'MAE',
  '95 % interval',
  'RMSE',
  'median',
  'bias',
  *(f'<= {months} mo' for months in statistics.WITHIN),
)
SYSTEMS = (
  'films',
  'MAE',
  '95 % interval',
  'girls',
  'boys',
  'RMSE',
  f'<= {statistics.WITHIN[1]} mo',
  'films/s',
  'minutes',
)


def run_summary(run: run_lib.Run) -> dict[str, Any]:
  """Return the figures of every split of a run, apart, and its data set."""
  splits = {}
  for split in run_lib.SPLITS:
    rows = selection.select_split(run.rows, split)
    if len(rows['id']):
      splits[split] = metrics.summary(
        rows['age'], rows['prediction'], rows['sex']
      )
  result = {'run': run.name, 'data': run.data, 'splits': splits}
  if speed := metric_writer.speed(run.folder):
    result['films_per_second'], result['minutes'] = speed
  return result


def errors_table(result: Mapping[str, Any], by: Sequence[str] = DEFAULT) -> str:
  """Lay out what `figures` returned."""
  parts = [f'{result["run"]}: {lineage.dataset_line(result["data"])}']
  for split, summary in result['splits'].items():
    rows = [_cells('all', summary)]
    for key in by:
      cells = summary[f'by_{key}'].items()
      rows += [
        [''],
        *(_cells(f'  {text_table.group(name)}', r) for name, r in cells),
      ]
    balanced = summary['age_balanced']
    if 'mae' in balanced:
      cells = [f'{balanced["mae"]:.2f}', text_table.interval(balanced, 'mae')]
      rows += [[''], ['age-balanced', '', *cells]]
    parts.append(text_table.layout((split, *HEAD), rows))
    left_out = [f'{band} ({n})' for band, n in balanced['left_out'].items()]
    parts.append(
      'age-balanced: the mean of the MAE of the bands '
      f'{", ".join(balanced["bands"]) or "(none)"}; too few films in '
      f'{", ".join(left_out) or "none"}.'
    )
  return '\n\n'.join(parts)


def runs_table(results: Sequence[Mapping[str, Any]]) -> str:
  """Lay out what `figures` returned of several runs, a row each.

  Films/s and minutes are those of training, with its validations but not its
  last predictions; empty for an ensemble.
  """
  known = {lineage.dataset_line(result['data']): '' for result in results}
  parts = ['\n'.join(known)]
  if len(known) > 1:
    parts.append('WARNING: rows are of different data or splits.')
  for split in run_lib.SPLITS:
    rows = [
      _system(result, result['splits'][split])
      for result in results
      if split in result['splits']
    ]
    if rows:
      parts.append(text_table.layout((split, *SYSTEMS), rows))
  return '\n\n'.join(parts)


def main(argv: Sequence[str] | None = None) -> None:
  """Print the tables of a run, or one table of several."""
  parser = argparse.ArgumentParser(
    prog='evaluate table', description='Errors of a run.'
  )
  parser.add_argument('runs', metavar='RUN[:stage]', nargs='+')
  parser.add_argument(
    '--by', nargs='*', choices=GROUPS, default=DEFAULT, help='of one run'
  )
  parser.add_argument('--out', help='JSON file for all figures')
  args = parser.parse_args(argv)
  try:
    results = [run_summary(run_lib.read_run(name)) for name in args.runs]
  except (ValueError, OSError) as error:
    sys.exit(f'Error: {error}')
  alone = len(results) == 1
  print(errors_table(results[0], args.by) if alone else runs_table(results))
  if args.out:
    storage.write_json(args.out, results[0] if alone else results, indent=1)


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
  """One row of a table; a cell with too few films has its count alone."""
  if 'mae' not in row:
    return [name, str(row['n'])]
  return [
    name,
    str(row['n']),
    f'{row["mae"]:.2f}',
    text_table.interval(row, 'mae'),
    f'{row["rmse"]:.2f}',
    f'{row["median"]:.2f}',
    f'{row["bias"]:+.2f}',
    *(f'{100 * row[f"within_{months}"]:.1f} %' for months in statistics.WITHIN),
  ]


def _system(result: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
  """One row of `systems`."""
  sexes = (row['by_sex'].get(sex, {}) for sex in ('F', 'M'))
  cells = [
    result['run'],
    str(row['n']),
    f'{row["mae"]:.2f}',
    text_table.interval(row, 'mae'),
    *(f'{one["mae"]:.2f}' if 'mae' in one else '' for one in sexes),
    f'{row["rmse"]:.2f}',
    f'{100 * row[f"within_{statistics.WITHIN[1]}"]:.1f} %',
  ]
  if 'minutes' in result:
    cells += [f'{result["films_per_second"]:.1f}', f'{result["minutes"]:.1f}']
  return cells
