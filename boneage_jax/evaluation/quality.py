"""Measure which planted faults the quality checks of a run find.

  python -m boneage_jax.evaluate quality runs/cascade_phantom --films=500

Every fault of `phantom/faults.py` is planted in test films, which no check was
fitted on. The nets read them, and all flags that `predict` would give count, at
the limits that `evaluate calibrate` stored. Also judged: test films as they
are, whose flags are false alarms, and pictures that are no hands, of which none
was learned. Writes quality_checks.json, .csv and .png to the stage's folder.
"""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import os
from typing import Any

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import startup
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.evaluation import command
from boneage_jax.evaluation import non_hands
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import quality_answers
from boneage_jax.evaluation import quality_films
from boneage_jax.evaluation import quality_fit
from boneage_jax.evaluation import text_table
from boneage_jax.inference import loading
from boneage_jax.inference import one_film
from boneage_jax.inference import quality
from boneage_jax.phantom import faults
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib

FILMS, PICTURES = 500, 200
AIM = 0.9
# The flags that name a fault.
NAMES = {
  fault: flag
  for flag, planted in quality_fit.FAULTS.items()
  for fault in planted
} | {'inverted': 'polarity', 'few_pixels': 'sharpness', 'blurred': 'sharpness'}
CLEAN, PICTURE = 'clean', 'picture'
COLUMNS = ('kind', 'n', 'flag', 'refused', 'checked', 'found', 'named')


def count(kind: str, flags: Sequence[Sequence[str]]) -> dict[str, Any]:
  """Sum up the flags of films of one kind.

  Returns:
    kind; n; flag, the one that names the fault ('' of clean films); refused and
    checked, shares by status; found, the share that has the status that its
    fault calls for, or refused, with its interval found_ci95 (Wilson); named,
    the share with the flag itself.
  """
  flag = NAMES.get(kind, '' if kind == CLEAN else 'not_a_hand')
  status = [quality.status(one) for one in flags]
  refused = np.mean([one == quality.REFUSED for one in status])
  checked = np.mean([one == quality.CHECK for one in status])
  called_for = refused if flag in quality.REFUSING else refused + checked
  hits = round(float(called_for) * len(flags))
  return {
    'kind': kind,
    'n': len(flags),
    'flag': flag,
    'refused': float(refused),
    'checked': float(checked),
    'found': float(called_for),
    'found_ci95': list(statistics.wilson(hits, len(flags))),
    'named': float(np.mean([flag in one for one in flags])) if flag else 0.0,
  }


def run_checks(
  run: run_lib.Run, films: int = FILMS, pictures: int = PICTURES
) -> dict[str, Any]:
  """Judge the checks of a run; return the content of quality_checks.json.

  Returns:
    run; data; films (ids); sources, the number of different pictures that are
    no hands; rows, one a kind, see `count`.

  Raises:
    ValueError: the run has no fitted checks, no prepared data or no test film.
  """
  source = quality_films.Films(run)
  nets = loading.load(
    source.workdir, os.path.basename(run.folder), quality_answers.BATCH
  )
  if nets.checks is None:
    raise ValueError(
      f'Expected fitted quality checks of {run.name}, got none: run '
      '`python -m boneage_jax.evaluate calibrate` on it first.'
    )
  names, plain = source.of('test', films)
  if not names:
    raise ValueError(f'Expected test films of {run.name}, got none.')
  shipped = non_hands.sources()
  others = non_hands.draw(shipped, pictures)
  planted = (CLEAN, *faults.KINDS)
  kinds = [*planted * len(names), *[PICTURE] * len(others)]
  known = [one for one in source.known(names) for _ in planted]
  known += known[:1] * len(others)
  shown = itertools.chain(_planted(source, names, plain), others)
  shown = map(source.fitted, shown)
  found: dict[str, list] = {kind: [] for kind in kinds}
  read = collections.deque()  # kinds of the films that nets read

  def not_of_one_grey() -> Iterator[tuple[np.ndarray, Mapping[str, Any]]]:
    for kind, film, one in zip(kinds, shown, known, strict=True):
      if film.min() == film.max():  # `predict` reads no such film
        found[kind].append(('blank',))
      else:
        read.append(kind)
        yield film, one

  answers = quality_answers.each(nets, not_of_one_grey(), len(kinds))
  for outputs, film in answers:
    flags, *_ = one_film.judged(nets, film, outputs)
    found[read.popleft()].append(flags)
  return {
    'run': run.name,
    'data': run.data,
    'films': names,
    'sources': len(shipped),
    'rows': [count(kind, rows) for kind, rows in found.items()],
  }


def quality_table(result: Mapping[str, Any]) -> str:
  """Lay out what `run_checks` returned."""
  share = lambda value: f'{100 * value:.1f} %'
  rows = []
  for row in result['rows']:
    ends = ' to '.join(f'{100 * end:.1f}' for end in row['found_ci95'])
    cells = [row['kind'], str(row['n']), share(row['refused'])]
    cells += [share(row['checked'])]
    if row['kind'] != CLEAN:
      cells += [row['flag'], share(row['named']), share(row['found']), ends]
    rows.append(cells)
  head = ('test films', 'n', 'refused', 'check', 'flag', 'with it')
  few = [
    row['kind']
    for row in result['rows']
    if row['kind'] != CLEAN and row['found'] < AIM
  ]
  less = f'Found less often than {100 * AIM:.0f} %: {", ".join(few)}.\n'
  return (
    f'{result["run"]}: {lineage.dataset_line(result["data"])}\n\n'
    + text_table.layout((*head, 'found', '95 % interval'), rows)
    + f'\n\n{less if few else ""}'
    'Found: refused, or checked where the fault calls for no more. Faults are '
    'planted by the\ncode whose kinds the checks learned, on films that they '
    'did not learn.\nPictures: crops and turns of '
    f'{result["sources"]} different ones.'
  )


def bars(result: Mapping[str, Any]) -> plot_style.Draw:
  """Plot the share that is found of every kind, and false alarms."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    rows = result['rows'][::-1]
    figure.set_size_inches(6.4, 0.6 + 0.24 * len(rows))
    axes = figure.subplots()
    left = np.zeros(len(rows))
    for key, colour in (('refused', 'accent'), ('checked', 'faint')):
      wide = 100 * np.array([row[key] for row in rows])
      axes.barh(range(len(rows)), wide, left=left, color=palette[colour])
      left = left + wide
    axes.axvline(100 * AIM, color=palette['ink'], lw=0.8, ls=':')
    axes.set_yticks(range(len(rows)), [row['kind'] for row in rows])
    axes.set(xlim=(0, 100), xlabel='films refused (dark), to be checked (%)')
    axes.set_title(f'Planted faults, n = {len(result["films"])}')

  return draw


def write(folder: str, result: Mapping[str, Any]) -> None:
  """Write quality_checks.json, .csv and .png to a folder."""
  storage.make_folder(folder)
  path = os.path.join(folder, 'quality_checks')
  storage.write_json(f'{path}.json', result, indent=1)
  with storage.replacing(f'{path}.csv') as file:
    writer = tables.Writer(file)
    writer.writerow([*COLUMNS, 'found_ci95_low', 'found_ci95_high'])
    for row in result['rows']:
      writer.writerow([*(row[name] for name in COLUMNS), *row['found_ci95']])
  with storage.replacing(f'{path}.png', 'wb') as file:
    file.write(plot_style.png(bars(result)))


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('quality', __doc__)
  parser.add_argument('run', metavar='RUN[:stage]')
  parser.add_argument(
    '--films',
    type=int,
    default=FILMS,
    help='number of test films; chosen by a hash of their id',
  )
  parser.add_argument(
    '--pictures', type=int, default=PICTURES, help='number of non-hands'
  )
  parser.add_argument('--out', help="folder to write; default: the stage's")
  args = parser.parse_args(argv)
  with door.one_line_errors():
    startup.set_up()
    run = run_lib.read_run(args.run)
    result = run_checks(run, args.films, args.pictures)
    write(args.out or run.folder, result)
  print(quality_table(result))


def _planted(
  source: quality_films.Films, names: Sequence[str], films: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
  """Yield each film as it is, and then with every fault of KINDS."""
  for name, film in zip(names, films, strict=True):
    yield film
    hand = faults.find_hand(film)
    for kind in faults.KINDS:
      yield faults.plant(kind, film, quality_fit.seed(name), hand)
