"""The learning curve of active learning: Dice by number of labelled films."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.core import ids
from boneage_jax.core import stages
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.core import tables

JSON, CSV = 'curve.json', 'curve.csv'
FIGURES = ('dice', 'jaccard')


def read(
  members: Sequence[str], workdir: str, split: str, figure: str = 'dice'
) -> dict[str, float]:
  """Return a figure of each held-out film, the mean over some nets, by id.

  The figures are those of the task: the net's mask against the drawn one. Films
  that are not judged are left out.

  Args:
    members: the stages of these nets.
    workdir: of the run.
    split: 'validation' or 'test'.
    figure: one of FIGURES.
  """
  found: dict[str, list[float]] = {}
  for member in members:
    path = stages.path(workdir, member, stages.PREDICTIONS)
    with storage.naming(path), storage.reading(path) as file:
      for row in tables.read_dicts(file, path, ('id', 'split', figure)):
        if row['split'] == split and row[figure]:
          found.setdefault(row['id'], []).append(float(row[figure]))
  films = sorted(found, key=ids.sort_key)
  return {film: float(np.mean(found[film])) for film in films}


def write(
  stage: str, workdir: str, rounds: Mapping[int, Sequence[str]], query: str
) -> None:
  """Write curve.json and curve.csv of a stage, and say what they say.

  Args:
    stage, workdir: of the run.
    rounds: the nets of each number of labelled films.
    query: how these were chosen.
  """
  path = lambda file: stages.path(workdir, stage, file)
  rows = []
  for count, members in rounds.items():
    for split in ('validation', 'test'):
      values = {f: read(members, workdir, split, f) for f in FIGURES}
      if not values['dice']:
        continue  # a run without test films is lawful
      row: dict[str, Any] = {'labelled': count, 'split': split}
      row['films'] = len(values['dice'])
      for figure in FIGURES:
        of_films = np.array(list(values[figure].values()))
        row |= statistics.mean(of_films, figure)
      rows.append(row)
      print(line(stage, row), flush=True)
  storage.write_json(path(JSON), {'query': query, 'rounds': rows}, indent=1)
  with storage.replacing(path(CSV)) as file:
    writer = tables.Writer(file)
    writer.writerow(['labelled', 'split', 'films', 'dice', 'lo95', 'hi95'])
    for row in rows:
      ends = row.get('dice_ci95', ('', ''))
      start = [row[name] for name in ('labelled', 'split', 'films')]
      numbers = [f'{x:.5f}' if x != '' else '' for x in (row['dice'], *ends)]
      writer.writerow([*start, *numbers])


def line(stage: str, row: Mapping[str, Any]) -> str:
  """Say how good the masks are after some labelled films."""
  ends = row.get('dice_ci95')
  interval = ' ({:.4f} to {:.4f})'.format(*ends) if ends else ''
  return (
    f'{stage}: with {row["labelled"]} labelled films, mean Dice '
    f'{row["dice"]:.4f}{interval} on {row["films"]} {row["split"]} films.'
  )
