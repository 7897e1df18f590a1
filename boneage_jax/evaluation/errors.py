"""Print the errors of a run by sex, age and developmental stage.

  python -m boneage_jax.evaluate errors runs/cascade_phantom --by sex_age
  python -m boneage_jax.evaluate errors runs/cascade_phantom:localizer runs/best

A run is its folder, or FOLDER:STAGE. Test and validation films stay apart. The
first lines name the data set and the hashes of its label files. Several runs
get one row each, with the speed of their training.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import command
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import settings
from boneage_jax.evaluation import text_table
from boneage_jax.runs import lineage
from boneage_jax.runs import metric_writer
from boneage_jax.runs import run as run_lib

GROUPS = ('sex', 'age', 'stage', 'sex_age', 'sex_stage', 'sex_age_stage')
DEFAULT = ('sex', 'age', 'stage', 'sex_age')
HEAD = (
  *('films', 'MAE', '95 % interval', 'RMSE', 'median', 'bias'),
  *text_table.WITHIN,
)
RUNS = (
  *('films', 'MAE', '95 % interval', 'girls', 'boys', 'RMSE'),
  *(text_table.WITHIN[1], 'films/s', 'minutes'),
)


def run_summary(run: run_lib.Run) -> dict[str, Any]:
  """Return the figures of every split of a run, apart, and its data set."""
  splits = {}
  for split in splits_lib.HELD_OUT:
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
  """Lay out what `run_summary` returned."""
  parts = [f'{result["run"]}: {lineage.dataset_line(result["data"])}']
  if 'test' not in result['splits']:
    parts.append(text_table.NO_TEST)
  for split, summary in result['splits'].items():
    parts += _split_parts(split, summary, by)
  return '\n\n'.join(parts)


def films_table(
  age: np.ndarray,
  prediction: np.ndarray,
  sex: np.ndarray,
  group: np.ndarray,
  by: Sequence[str] = DEFAULT,
) -> str:
  """Lay out the errors on new films whose ages are known.

  Args:
    age, prediction: true and predicted age, months, [N].
    sex: as of `groups.SEX`, [N].
    group: of each film, as a user names it; '' for none, [N].
    by: of GROUPS.
  """
  summary = metrics.summary(age, prediction, sex)
  parts = _split_parts('films', summary, by)
  names = sorted({*group.tolist()} - {''})
  if names:
    each = {
      name: metrics.error_summary((prediction - age)[group == name])
      for name in names
    }
    rows = [[name, *text_table.errors(row, HEAD)] for name, row in each.items()]
    parts.append(text_table.layout(('group', *HEAD), rows))
  return '\n\n'.join(parts)


def _split_parts(
  split: str, summary: Mapping[str, Any], by: Sequence[str]
) -> list[str]:
  """Lay out `metrics.summary`."""
  rows = [['all', *text_table.errors(summary, HEAD)]]
  for key in by:
    cells = summary[f'by_{key}'].items()
    rows += [
      [''],
      *(
        [f'  {text_table.group(name)}', *text_table.errors(row, HEAD)]
        for name, row in cells
      ),
    ]
  balanced = summary['age_balanced']
  if 'mae' in balanced:
    cells = [f'{balanced["mae"]:.2f}', text_table.interval(balanced, 'mae')]
    rows += [[''], ['age-balanced', '', *cells]]
  return [text_table.layout((split, *HEAD), rows), _balanced_note(balanced)]


def _balanced_note(balanced: Mapping[str, Any]) -> str:
  """Say which bands the age-balanced MAE is of, or why there is none."""
  left_out = [f'{band} ({n})' for band, n in balanced['left_out'].items()]
  few = f'fewer than {metrics.BAND_FILMS} films in {", ".join(left_out)}'
  if 'mae' not in balanced:
    return f'No age-balanced MAE: {few}, which are most bands that have films.'
  others = few if left_out else 'no other has films'
  return (
    'age-balanced: the mean of the MAE of the bands '
    f'{", ".join(balanced["bands"])}; {others}.'
  )


def runs_table(results: Sequence[Mapping[str, Any]]) -> str:
  """Lay out what `run_summary` returned of several runs, a row each.

  Films/s and minutes are those of training. Minutes hold its validations but
  not its last predictions; films/s leave out the first row of the log, which
  compiles, and are empty where there is no other. Both are empty for an
  ensemble.
  """
  known = {lineage.dataset_line(result['data']): '' for result in results}
  parts = ['\n'.join(known)]
  if len(known) > 1:
    parts.append('WARNING: rows are of different data or splits.')
  for split in splits_lib.HELD_OUT:
    rows = [
      _run_cells(result, result['splits'][split])
      for result in results
      if split in result['splits']
    ]
    if rows:
      parts.append(text_table.layout((split, *RUNS), rows))
  return '\n\n'.join(parts)


def main(argv: Sequence[str] | None = None) -> None:
  """Print the tables of a run, or one table of several."""
  parser = command.parser('errors', __doc__)
  parser.add_argument('runs', metavar='RUN[:stage]', nargs='+')
  parser.add_argument(
    '--by',
    nargs='*',
    choices=GROUPS,
    default=DEFAULT,
    help='groups to show, for one run',
  )
  parser.add_argument('--out', help='JSON file to write')
  args = parser.parse_args(argv)
  with door.one_line_errors():
    runs = [run_lib.read_run(name) for name in args.runs]
    results = [run_summary(run) for run in runs]
  alone = len(results) == 1
  print(errors_table(results[0], args.by) if alone else runs_table(results))
  if differ := settings.settings_table(runs):
    print(f'\n{differ}')
  if args.out:
    storage.write_json(args.out, results[0] if alone else results, indent=1)


def _run_cells(result: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
  """Lay out one row of `runs_table`."""
  sexes = (row['by_sex'].get(sex, {}) for sex in ('F', 'M'))
  cells = [
    result['run'],
    *text_table.errors(row, RUNS[:3]),
    *(f'{one["mae"]:.2f}' if 'mae' in one else '' for one in sexes),
    *text_table.errors(row, ('RMSE', text_table.WITHIN[1])),
  ]
  if 'minutes' in result:
    rate = result['films_per_second']
    cells += ['' if rate is None else f'{rate:.1f}', f'{result["minutes"]:.1f}']
  return cells
