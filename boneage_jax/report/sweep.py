"""The end of a sweep: a table and a plot, validation first."""

from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any
from typing import NamedTuple

import numpy as np

from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import selection
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import text_table
from boneage_jax.runs import run as run_lib

SPLITS = ('validation', 'test')
CSV, PNG = 'sweep.csv', 'sweep.png'


class Judged(NamedTuple):
  """What the films of a split say of a run.

  Attributes:
    mae: mean absolute error, months.
    films: how many there are.
  """

  mae: float
  films: int


class Row(NamedTuple):
  """A setting of a sweep.

  Attributes:
    values: of the fields that differ, as text.
    seeds: of its runs.
    errors: by split, mean absolute error of each of them, months.
    films: by split, how many films each of these errors is of.
  """

  values: tuple[str, ...]
  seeds: tuple[int, ...]
  errors: dict[str, list[float]]
  films: dict[str, list[int]]

  def mean(self, split: str) -> float:
    """Mean over the seeds; infinity without any."""
    found = self.errors.get(split)
    return float(np.mean(found)) if found else float('inf')

  def sd(self, split: str) -> float | None:
    """Standard deviation over the seeds; None of one."""
    found = self.errors.get(split, ())
    return float(np.std(found, ddof=1)) if len(found) > 1 else None


def errors_of(folder: str, stage: str = '') -> dict[str, Judged]:
  """Return the error of a run by split."""
  run = run_lib.read_run(folder, stage)
  found = {}
  for split in SPLITS:
    rows = selection.select_split(run.rows, split)
    if count := len(rows['id']):
      error = np.abs(rows['prediction'] - rows['age'])
      found[split] = Judged(float(np.mean(error)), count)
  return found


def sweep_rows(
  runs: Sequence[tuple[Mapping[str, str], int, Mapping[str, Judged]]],
) -> list[Row]:
  """Join the runs of each setting; the lowest error on validation comes first.

  Args:
    runs: values of the fields, seed, and error by split.
  """
  joined: dict[tuple[str, ...], Row] = {}
  for values, seed, errors in runs:
    key = tuple(values.values())
    row = joined.setdefault(key, Row(key, (), {}, {}))
    joined[key] = row._replace(seeds=(*row.seeds, seed))
    for split, (mae, films) in errors.items():
      row.errors.setdefault(split, []).append(mae)
      row.films.setdefault(split, []).append(films)
  return sorted(joined.values(), key=lambda row: row.mean('validation'))


def sweep_table(names: Sequence[str], rows: Sequence[Row]) -> str:
  """Lay out the settings with their errors."""
  head = [*names, 'seeds']
  for split in SPLITS:
    head += [f'{split} MAE', 'sd']
  cells = []
  for row in rows:
    one = [*row.values, str(len(row.seeds))]
    for split in SPLITS:
      sd = row.sd(split)
      one.append(f'{row.mean(split):.2f}' if split in row.errors else '')
      one.append('' if sd is None else f'{sd:.2f}')
    cells.append(one)
  return f'{text_table.layout(head, cells)}\n{_films_line(rows)}'


def _films_line(rows: Sequence[Row]) -> str:
  """Say how many films judge; fewest and most, where settings differ in it."""
  parts = []
  for split in SPLITS:
    counts = [n for row in rows for n in row.films.get(split, ())]
    ends = dict.fromkeys([min(counts, default=0), max(counts, default=0)])
    parts.append(f'{" to ".join(map(str, ends))} of {split}')
  return f'Films that judge each run: {", ".join(parts)}.'


def write(out: str, names: Sequence[str], rows: Sequence[Row]) -> None:
  """Write sweep.csv, a row for each run, and sweep.png into a folder."""
  with storage.replacing(os.path.join(out, CSV)) as file:
    writer = tables.Writer(file)
    figures = [f'{s}_{figure}' for s in SPLITS for figure in ('mae', 'films')]
    writer.writerow([*names, 'seed', *figures])
    for row in rows:
      for k, seed in enumerate(row.seeds):
        cells = []
        for split in SPLITS:
          there = k < len(row.errors.get(split, ()))
          cells += (
            [f'{row.errors[split][k]:.4f}', row.films[split][k]]
            if there
            else ['', '']
          )
        writer.writerow([*row.values, seed, *cells])
  with storage.replacing(os.path.join(out, PNG), 'wb') as file:
    file.write(plot_style.png(lambda f, p: draw(f, p, names, rows)))


def draw(
  figure: Any,
  palette: plot_style.Palette,
  names: Sequence[str],
  rows: Sequence[Row],
) -> None:
  """Draw a line for each setting: a dot for each seed, a bar at the mean."""
  axes = figure.add_subplot()
  looks = zip(
    SPLITS, ('accent', 'faint'), ('o', '^'), (0.12, -0.12), strict=True
  )
  for split, colour, marker, shift in looks:
    shown = [(k, row) for k, row in enumerate(rows) if split in row.errors]
    for k, row in shown:
      found = row.errors[split]
      height = np.full(len(found), k - shift)
      label = split if (k, row) == shown[0] else None
      axes.scatter(
        *(found, height),
        color=palette[colour],
        marker=marker,
        s=28,
        alpha=0.75,
        linewidths=0,
        label=label,
      )
      axes.vlines(
        np.mean(found), k - shift - 0.16, k - shift + 0.16, palette[colour]
      )
  axes.set_yticks(range(len(rows)), ['\n'.join(row.values) for row in rows])
  axes.set_ylim(len(rows) - 0.5, -0.5)  # the best one at the top
  axes.set_ylabel('\n'.join(names))
  axes.set_xlabel('mean absolute error, months')
  axes.set_title('A dot for each seed, a bar at the mean')
  axes.legend()
