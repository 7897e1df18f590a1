"""Predictions that a stage leaves: predictions.csv and distributions.npz."""

from collections.abc import Mapping
import contextlib
import os
from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import groups

COLUMNS = ('id', 'split', 'sex', 'age', 'prediction')
# The columns of predictions.csv. `evaluate calibrate` fills the interval, and
# `predict` judges a film: until then the last four are empty.
FILE_COLUMNS = (
  *('id', 'split', 'sex', 'age_true', 'age_predicted'),
  *('lo90', 'hi90', 'status', 'quality_flags'),
)
# A stored distribution sums to 1 +- 2e-4: its numbers are float16.
SUM_TOLERANCE = 0.01


def read_predictions(path: str) -> dict[str, np.ndarray]:
  """Read predictions.csv into COLUMNS: id, split, sex, age, prediction.

  `sex` is +1, -1 or 0 (`groups.SEX`), `age` the true and `prediction` the
  predicted age, months.

  Raises:
    ValueError: the file is missing, empty or names a film twice, or an age is
      not a finite number.
  """
  if not storage.exists(path):
    raise ValueError(f'{path} is missing: run the stage that writes it first.')
  with storage.reading(path) as file:
    rows = tables.read_dicts(file, path, ('id', 'split'))
  if not rows:
    raise ValueError(f'Expected predictions in {path}, got none.')
  out = {name: np.array([r[name] for r in rows]) for name in ('id', 'split')}
  if 'sex' in rows[0]:
    out['sex'] = groups.sex_number(row['sex'] for row in rows)
  for name, column in (('age', 'age_true'), ('prediction', 'age_predicted')):
    if column in rows[0]:
      out[name] = _months(path, column, rows)
  ids, counts = np.unique(out['id'], return_counts=True)
  if np.any(counts > 1):
    twice = ids[counts > 1]
    film = twice[0]
    where = ', '.join(out['split'][out['id'] == film])
    raise ValueError(
      f'Expected each film once in {path}; {len(twice)} films come more than '
      f'once, as film {film} (in {where}). A film in two splits makes the '
      'figures worthless: split by film id.'
    )
  return out


def read_extra(folder: str, ids: np.ndarray) -> dict[str, np.ndarray]:
  """Return the numbers beside the age in a folder's predictions.csv, by name.

  Args:
    folder: of a stage or of an ensemble.
    ids: of films that it has predicted, [N].

  Returns:
    [N] each, in the order of `ids`; empty of a net that tells ages alone.
  """
  path = os.path.join(folder, stages.PREDICTIONS)
  with storage.reading(path) as file:
    of = {row['id']: row for row in tables.read_dicts(file, path, ('id',))}
  names = [name for name in next(iter(of.values())) if name not in FILE_COLUMNS]
  return {n: np.array([_number(of[i][n]) for i in ids.tolist()]) for n in names}


def _months(path: str, column: str, rows: list[dict[str, str]]) -> np.ndarray:
  """Return a column of ages, which must be finite numbers."""
  months = np.array([_number(row[column]) for row in rows])
  bad = np.flatnonzero(~np.isfinite(months)).tolist()
  if bad:
    film, text = (rows[bad[0]][name] for name in ('id', column))
    raise ValueError(
      f'{len(bad)} of {len(rows)} values of {column} in {path} are not finite '
      f'numbers, as that of film {film}, {text!r}: a label is missing, or a '
      'net that answers NaN has diverged.'
    )
  return months


def _number(text: str | None) -> float:
  try:
    return float(text)
  except (TypeError, ValueError):
    return np.nan


def write_predictions(folder: str, rows: Mapping[str, np.ndarray]) -> None:
  """Write predictions.csv and, with bins, distributions.npz (float16).

  Args:
    folder: of a stage.
    rows: COLUMNS, ages in months, [N]; with bins also probability, [N, bins];
      `extra`, further numbers of the net by name, [N] each.

  Where these are the predictions of before, their intervals stay. Where they
  are others, what was fitted to those of before is removed, and that is said.
  """
  table = {
    'id': rows['id'].tolist(),
    'split': rows['split'].tolist(),
    'sex': groups.sex_text(rows['sex']).tolist(),
    'age_true': rows['age'].tolist(),
    'age_predicted': np.round(rows['prediction'], 4).tolist(),
  }
  empty = [''] * len(table['id'])
  extra = rows.get('extra', {})
  table |= {n: np.round(x.astype(float), 6).tolist() for n, x in extra.items()}
  table |= _intervals(folder, table)
  with storage.replacing(os.path.join(folder, stages.PREDICTIONS)) as file:
    writer = tables.Writer(file)
    names = (*FILE_COLUMNS, *extra)
    writer.writerow(names)
    columns = (table.get(name, empty) for name in names)
    writer.writerows(zip(*columns, strict=True))
  if 'probability' in rows:
    path = os.path.join(folder, stages.DISTRIBUTIONS)
    probability = rows['probability'].astype(np.float16)
    with storage.replacing(path, 'wb') as file:
      np.savez(file, id=rows['id'], probability=probability)


def _intervals(folder: str, table: Mapping[str, list]) -> dict[str, list]:
  """Return the columns of intervals that still hold; remove what does not."""
  path = os.path.join(folder, stages.PREDICTIONS)
  fitted = [
    name for name in stages.FITTED if storage.exists(os.path.join(folder, name))
  ]
  if not fitted:
    return {}
  old: dict[str, dict[str, str]] = {}
  # Of a damaged table nothing holds, and its stage writes it anew.
  with (
    contextlib.suppress(FileNotFoundError, ValueError),
    storage.reading(path) as file,
  ):
    old = {row['id']: row for row in tables.read_dicts(file, path, ('id',))}
  told = {film: _number(row.get('age_predicted')) for film, row in old.items()}
  if told == dict(zip(table['id'], table['age_predicted'], strict=True)):
    ends = ('lo90', 'hi90')
    return {n: [old[i].get(n, '') for i in table['id']] for n in ends}
  for name in fitted:
    storage.remove(os.path.join(folder, name))
  print(
    f'{folder}: {", ".join(fitted)} were fitted to other predictions and are '
    'removed: give python -m boneage_jax.evaluate calibrate again, and adapt '
    'for each site.'
  )
  return {}


def fill_intervals(folder: str, ids: np.ndarray, interval: np.ndarray) -> None:
  """Write lo90 and hi90 into the predictions.csv of a folder.

  Args:
    folder: of a stage or of an ensemble.
    ids: film ids, [N]; those of the file, in any order.
    interval: ends of the 90 % interval, months, [N, 2].
  """
  path = os.path.join(folder, stages.PREDICTIONS)
  with storage.reading(path) as file:
    rows = tables.read_dicts(file, path, ('id',))
  ends = dict(zip(ids.tolist(), interval.tolist(), strict=True))
  for row in rows:
    row['lo90'], row['hi90'] = (f'{end:.2f}' for end in ends[row['id']])
  with storage.replacing(path) as file:
    tables.write_dicts(file, rows)


def read_distributions(path: str) -> dict[str, np.ndarray]:
  """Return {film id: probability [bins]}; empty where the file is missing.

  Raises:
    ValueError: a film twice, or a row that is no distribution: with negative
      numbers, NaN or infinity, or a sum that is not 1 as far as float16 goes.
  """
  if not storage.exists(path):
    return {}
  with storage.naming(path), np.load(storage.reading(path, 'rb')) as file:
    ids, rows = file['id'], file['probability']
  sums = rows.sum(axis=1, dtype=np.float64)
  with np.errstate(invalid='ignore'):
    good = (np.abs(sums - 1) < SUM_TOLERANCE) & (rows >= 0).all(axis=1)
  films, counts = np.unique(ids, return_counts=True)
  if not good.all():
    first = int(np.argmin(good))
    raise ValueError(
      f'Expected distributions over ages in {path}, got {np.sum(~good)} of '
      f'{len(good)} rows that are none, as that of film {ids[first]} (sum '
      f'{sums[first]:.4g}): the file is damaged or its net has diverged. Run '
      'the stage that writes it again.'
    )
  if (counts > 1).any():
    raise ValueError(
      f'Expected each film once in {path}, got {films[counts > 1][0]} more '
      'than once: run the stage that writes it again.'
    )
  return dict(zip(ids.tolist(), rows, strict=True))


def read_npz(path: str, key: str) -> dict[str, Any]:
  """Return {film id: row of `key`}; empty where the file is missing."""
  if not storage.exists(path):
    return {}
  with storage.naming(path), np.load(storage.reading(path, 'rb')) as file:
    return dict(zip(file['id'].tolist(), file[key], strict=True))
