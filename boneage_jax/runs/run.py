"""Nets of a run, ready for one film after the other."""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
import os
from typing import Any
from typing import NamedTuple

import ml_collections
import numpy as np

from boneage_jax.core import config as config_lib
from boneage_jax.core import ids as ids_lib
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.runs import lineage
from boneage_jax.runs import predictions


def read_config(workdir: str) -> ml_collections.ConfigDict:
  """Read the config of the run in `workdir`."""
  path = stages.config_path(workdir)
  if not storage.exists(path):
    if storage.exists(os.path.join(workdir, stages.ENSEMBLE)):
      raise ValueError(
        f'{workdir} holds predictions of several runs, but no net: name one of '
        'these runs, or train with an ensemble stage (configs/best.py).'
      )
    raise ValueError(f'No run in {workdir}: there is no config.json.')
  return config_lib.read_config(path)


COLUMNS = predictions.COLUMNS


class Run(NamedTuple):
  """What a run predicted, and on what.

  Attributes:
    name: as a table calls it.
    folder: of predictions.csv and, for nets with bins, distributions.npz.
    rows: columns id, split, sex, age, prediction; months.
    data: of `lineage.data_set`, with label_files; empty where not known.
    config: of the run; None for a folder of predictions alone.
    train: ids of the training films; None where the prepared data are gone.
    parts: of a pair of stages of one sex each, their runs; else none.
  """

  name: str
  folder: str
  rows: dict[str, np.ndarray]
  data: dict[str, Any]
  config: Any = None
  train: frozenset[str] | None = None
  parts: tuple['Run', ...] = ()


def read_run(name: str, stage: str = '') -> Run:
  """Read a run.

  Args:
    name: `RUN`, `RUN:stage`, the folder of a stage, of an ensemble or of an
      external test.
    stage: overrides that of `name`.

  Raises:
    ValueError: no such run, no predictions of that stage, a film twice or in
      two splits.
  """
  workdir, _, named = name.rpartition(':')
  if storage.exists(storage.absolute(name)) or not workdir:
    workdir, named = name, ''
  workdir, stage = storage.absolute(workdir), stage or named
  if storage.exists(os.path.join(workdir, stages.EXTERNAL)):
    return _read_external(workdir)
  path = stages.config_path(workdir)
  if not storage.exists(path) and not stage:
    parent, last = os.path.split(workdir)
    path = stages.config_path(parent)
    combined = storage.exists(os.path.join(workdir, stages.ENSEMBLE))
    of_run = storage.exists(path) and last in config_lib.read_json(path)
    if combined and not of_run:
      return _read_ensemble(workdir, last)
    workdir, stage = parent, last
  if not storage.exists(path):
    raise ValueError(
      'Expected the folder of a run, with a config.json, or of an ensemble; '
      f'got {name!r}.'
    )
  config = config_lib.read_config(path)
  stage = stages.chosen(config, stage)
  folder = stages.path(workdir, stage)
  if config.get(stage, {}).get('job', 'train') == 'report':
    raise ValueError(
      f'{workdir}:{stage} is a report: name the stage that it shows, '
      f'{workdir}:{config[stage].stage}.'
    )
  if not storage.exists(os.path.join(folder, stages.PREDICTIONS)):
    has = [
      s
      for s in stages.sections(config)
      if config[s].job in ('train', 'ensemble', 'fit_regressors')
      and storage.exists(stages.path(workdir, s, stages.PREDICTIONS))
    ]
    raise ValueError(
      f'{workdir} has no predictions of {stage!r}, only of '
      f'{", ".join(has) or "no stage"}; name one as {workdir}:STAGE.'
    )
  label = f'{os.path.basename(workdir)}:{stage}'
  combined = stage in config and config[stage].job == 'ensemble'
  of_folds = not combined or (config.data.folds and config.data.fold < 0)
  if of_folds and storage.exists(os.path.join(folder, stages.ENSEMBLE)):
    return _read_ensemble(folder, label)
  known, _ = lineage.prepared(config, workdir)
  train = lineage.training_films(config, stage, workdir)
  rows = _rows(folder)
  held_out = rows['id'][rows['split'] != 'train'].tolist()
  shared = sorted((train or frozenset()) & set(held_out), key=ids_lib.sort_key)
  if shared:
    raise ValueError(
      f'Expected every film in one split, but {len(shared)} films that {name} '
      f'was tested on are training films of its data, such as {shared[:5]}: '
      'the data were prepared anew since; run it again.'
    )
  return Run(label, folder, rows, known, config, train)


def read_member(name: str, stage: str = '') -> Run:
  """Read a member of an ensemble: what `read_run` reads, or a pair of stages.

  Args:
    name: as of `read_run`, or `RUN:boys+girls`.
    stage: overrides that of `name`, and may be `boys+girls`.

  Raises:
    ValueError: as `read_run`; or both stages of a pair predicted one film.
  """
  workdir, _, named = name.rpartition(':')
  if not stage and workdir and '/' not in named and '+' in named:
    name, stage = workdir, named
  pair = [read_run(name, part) for part in stages.parts(stage)]
  if len(pair) == 1:
    return pair[0]
  rows = {
    column: np.concatenate([run.rows[column] for run in pair])
    for column in COLUMNS
  }
  ids, counts = np.unique(rows['id'], return_counts=True)
  if (counts > 1).any():
    raise ValueError(
      f'Expected {stage} to be stages of one sex each, got predictions of film '
      f'{ids[counts > 1][0]} by both: give one --config.STAGE.input.sex=M, the '
      'other F.'
    )
  train = [run.train for run in pair]
  return pair[0]._replace(
    name=f'{pair[0].name.rpartition(":")[0]}:{stage}',
    folder=os.path.join(os.path.dirname(pair[0].folder), stage),
    rows=rows,
    train=None if None in train else frozenset().union(*train),
    parts=tuple(pair),
  )


def _read_external(folder: str) -> Run:
  """Read what a run predicted of other films, none of which it has seen."""
  path = os.path.join(folder, stages.EXTERNAL)
  known = storage.read_json(path, keys=('data', 'checked'))
  # Ids of these films say nothing of those of the run's own.
  train = frozenset() if known['checked'] else None
  label = os.path.basename(folder)
  return Run(label, folder, _rows(folder), known['data'], None, train)


def _read_ensemble(folder: str, label: str) -> Run:
  path = os.path.join(folder, stages.ENSEMBLE)
  known = storage.read_json(path, keys=('members', 'data'))
  films = []
  try:
    for place in _folders(folder, known['members']):
      films.append(read_run(place).train)
    train = None if None in films else frozenset().union(*films)
  except (ValueError, OSError, ImportError):  # a member is out of reach
    train = None
  return Run(label, folder, _rows(folder), known['data'], None, train)


def _folders(folder: str, members: Sequence[dict[str, Any]]) -> Iterator[str]:
  """Yield the folders of members, of pairs those of both stages.

  Args:
    folder: of the ensemble, with which folds may have been moved.
    members: of ensemble.json.
  """
  for place in [member['folder'] for member in members]:
    head, last = os.path.split(place)
    pair = [os.path.join(head, part) for part in stages.parts(last)]
    if storage.exists(place):
      yield place
    elif len(pair) > 1:
      yield from pair
    else:
      yield os.path.join(os.path.dirname(folder), *place.split('/')[-2:])


def _rows(folder: str) -> dict[str, np.ndarray]:
  path = os.path.join(folder, stages.PREDICTIONS)
  rows = predictions.read_predictions(path)
  missing = [name for name in COLUMNS if name not in rows]
  if missing:
    raise ValueError(
      f'Expected columns {", ".join(COLUMNS)} in {path}, got no '
      f'{", ".join(missing)}: they are of another task than age.'
    )
  return {name: rows[name] for name in COLUMNS}


def trained_on(run: Run, ids: Collection[str]) -> set[str] | None:
  """Return those of `ids` that the run was trained on; None if not known.

  Where the prepared data are gone but films were split by a hash of their id,
  and no net started from another, these are the films that the hash gives to
  training: the archive may have lacked some of them.
  """
  if run.train is not None:
    return run.train & set(ids)
  if run.config is None or run.config.data.split not in ('auto', 'hash'):
    return None
  starts = (s.get('init_from') for s in stages.sections(run.config).values())
  if any(start and start.run for start in starts):
    return None
  own, _ = selection.assign(run.config, _as_training(run.rows['id']))
  if np.any(own != run.rows['split']):
    return None  # not split by hash after all
  films = np.array(sorted(ids))
  names, _ = selection.assign(run.config, _as_training(films))
  return set(films[names == 'train'].tolist())


def _as_training(ids: np.ndarray) -> dict[str, np.ndarray]:
  """Return the table of films of which a split is yet to be drawn."""
  return {'id': ids, 'split': np.full(len(ids), 'train')}


def align_predictions(runs: Sequence[Run]) -> dict[str, np.ndarray]:
  """Return the films that every run predicted, in the order of the first.

  Returns:
    id, sex, age [N]; split, prediction [M, N], a row per run.

  Raises:
    ValueError: no common film, or a film with two ages or two sexes.
  """
  ids = runs[0].rows['id']
  for run in runs[1:]:
    ids = ids[np.isin(ids, run.rows['id'])]
  if not len(ids):
    names = ', '.join(run.name for run in runs)
    raise ValueError(f'Expected films in common, got none among {names}.')
  parts = [rows_at(run, ids) for run in runs]
  first = {**parts[0], 'sex': parts[0]['sex'].copy()}
  for run, part in zip(runs[1:], parts[1:], strict=True):
    # An unknown sex (0) is no contradiction; months are compared to 0.01.
    other = np.abs(part['age'] - first['age']) > 0.01
    other |= part['sex'] * first['sex'] < 0
    if other.any():
      k = int(np.argmax(other))
      raise ValueError(
        f'Expected the same labels in {runs[0].name} and {run.name}, got '
        f'other ages or sexes for {other.sum()} of {len(ids)} films, as film '
        f'{ids[k]} ({first["age"][k]:g} and {part["age"][k]:g} months): '
        'errors against two label files do not compare; predict again.'
      )
    unknown = first['sex'] == 0
    first['sex'][unknown] = part['sex'][unknown]
  return {
    'id': ids,
    'sex': first['sex'],
    'age': first['age'],
    'split': np.stack([part['split'] for part in parts]),
    'prediction': np.stack([part['prediction'] for part in parts]),
  }


def distributions(run: Run, ids: np.ndarray) -> np.ndarray | None:
  """Return probabilities [N, bins] of films; None for a net without bins.

  Raises:
    ValueError: a film has none, or rows are no distributions.
  """
  stored: dict[str, np.ndarray] = {}
  for part in run.parts or (run,):
    path = os.path.join(part.folder, stages.DISTRIBUTIONS)
    of_part = predictions.read_distributions(path)
    if not of_part:
      return None
    stored |= of_part
  missing = [i for i in ids.tolist() if i not in stored]
  if missing:
    raise ValueError(
      f'Expected a distribution of every film of {run.name}, got none of '
      f'{len(missing)} such as {missing[:5]}: {path} is of another run.'
    )
  rows = np.stack([stored[i] for i in ids.tolist()]).astype(np.float64)
  return rows / rows.sum(axis=1, keepdims=True)  # float16 sums to 1 +- 2e-4


def rows_at(run: Run, ids: np.ndarray) -> dict[str, np.ndarray]:
  """Return the run's rows of these films, in their order."""
  order = np.argsort(run.rows['id'])
  index = order[np.searchsorted(run.rows['id'][order], ids)]
  return {name: column[index] for name, column in run.rows.items()}
