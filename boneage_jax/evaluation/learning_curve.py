"""Does it matter which films are labelled? Two learning curves, paired by film.

  python -m boneage_jax.evaluate learning-curve runs/active_segmentation_phantom

Several runs are those of several seeds on one split: a film's Dice is the mean
over them and over the nets of a committee. A run with folds is judged by the
films that each fold was not trained on, another by its test films, or by those
of validation where it has no others. Intervals are of films, not of seeds.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.core import config as config_lib
from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.evaluation import command
from boneage_jax.evaluation import text_table
from boneage_jax.regions import active
from boneage_jax.regions import curve

HEAD = ('labelled', 'films', 'Dice A', 'Dice B', 'A - B', '95 % interval')

Curve = dict[int, dict[str, float]]  # Dice by film, by labelled films


def of_run(workdir: str, stage: str) -> Curve:
  """Return the Dice of each film that judges a run.

  Raises:
    ValueError: the run has no such stage, or it is not finished.
  """
  config = config_lib.read_config(stages.config_path(workdir))
  section = config.get(stage)
  if section is None or section.get('job') != 'active':
    raise ValueError(
      f"Expected a stage of {workdir} with the job 'active', got {stage!r}: "
      'change --stage or --against.'
    )
  one = stages.Stage(config, stage, workdir)
  if not one.done:
    raise ValueError(
      f'Expected the stage {stage} of {workdir} to be finished: run it first.'
    )
  folds = stages.fold_folders(config, workdir)
  films: Curve = {}
  for number, count in enumerate(section.rounds, 1):
    nets = active.members(config, stage, number)
    found: dict[str, float] = {}
    for folder in folds or [workdir]:
      split = 'validation' if folds else 'test'
      found |= curve.read(nets, folder, split)
    films[count] = found or curve.read(nets, workdir, 'validation')
  return films


def mean(curves: Sequence[Curve]) -> Curve:
  """Return the mean of the curves of several seeds, film by film.

  Raises:
    ValueError: they are not of the same films and rounds.
  """
  first = curves[0]
  for other in curves[1:]:
    same = {n: set(of) for n, of in other.items()}
    if same != {n: set(of) for n, of in first.items()}:
      raise ValueError(
        'Expected runs that differ in their seed alone, got others: their '
        'rounds or the films that judge them differ.'
      )
  of = lambda count, film: float(np.mean([c[count][film] for c in curves]))
  return {n: {film: of(n, film) for film in first[n]} for n in first}


def difference(a: Curve, b: Curve) -> list[dict[str, Any]]:
  """Compare two curves at every number of labelled films that both have.

  Returns:
    rows of labelled, films, dice_a, dice_b, difference (mean of A - B over the
    films of both) and, of enough films, difference_ci95.
  """
  rows = []
  for count in a:
    films = [film for film in a[count] if film in b.get(count, ())]
    if not films:
      continue
    of_a = np.array([a[count][film] for film in films])
    of_b = np.array([b[count][film] for film in films])
    row = {'labelled': count, 'films': len(films)}
    row |= {'dice_a': float(of_a.mean()), 'dice_b': float(of_b.mean())}
    rows.append(row | statistics.mean(of_a - of_b, 'difference'))
  return rows


def table(rows: Sequence[Mapping[str, Any]], a: str, b: str, runs: int) -> str:
  """Lay out what `difference` returned."""
  cells = []
  for row in rows:
    ends = row.get('difference_ci95')
    interval = '{:+.4f} to {:+.4f}'.format(*ends) if ends else ''
    numbers = [f'{row["dice_a"]:.4f}', f'{row["dice_b"]:.4f}']
    numbers += [f'{row["difference"]:+.4f}', interval]
    cells.append([str(row['labelled']), str(row['films']), *numbers])
  head = f'A {a}, B {b}; {runs} run{"s" if runs > 1 else ""}'
  return f'{head}\n{text_table.layout(HEAD, cells)}'


def main(argv: Sequence[str]) -> None:
  """Compare the curves of two stages."""
  parser = command.parser('learning-curve', __doc__)
  parser.add_argument('run', nargs='+', help='folders, one a seed')
  parser.add_argument('--stage', default='active', help='whose curve is A')
  parser.add_argument('--against', default='random', help='whose curve is B')
  parser.add_argument('--out', default='', help='also written there, as JSON')
  args = parser.parse_args(argv)
  with door.one_line_errors():
    a, b = (
      mean([of_run(storage.absolute(run), stage) for run in args.run])
      for stage in (args.stage, args.against)
    )
    rows = difference(a, b)
    print(table(rows, args.stage, args.against, len(args.run)))
    if args.out:
      storage.write_json(args.out, rows, indent=1)
