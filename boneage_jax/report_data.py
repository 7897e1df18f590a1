"""What a report says: the files of a run, read and turned into figures."""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import os
from typing import Any

import numpy as np

from boneage_jax import boxes
from boneage_jax import conformal
from boneage_jax import data
from boneage_jax import files
from boneage_jax import metric_writer
from boneage_jax import metrics
from boneage_jax import plots

COLUMNS = ('id', 'split', 'male', 'age', 'prediction')
SPLITS = ('test', 'validation', 'train')  # the first present is the headline


def predictions(path: str) -> dict[str, np.ndarray]:
  """Read predictions.csv into columns id, split, male, age, prediction.

  Raises:
    ValueError: the file is missing, empty or names a film twice.
  """
  if not files.exists(path):
    raise ValueError(f'{path} is missing: run the stage that writes it first.')
  with files.reading(path) as file:
    rows = list(csv.DictReader(file))
  if not rows:
    raise ValueError(f'Expected predictions in {path}, got none.')
  out = {name: np.array([r[name] for r in rows]) for name in ('id', 'split')}
  out['id'] = out['id'].astype(np.int64)
  for name in ('male', 'age', 'prediction'):
    if name in rows[0]:
      out[name] = np.array([float(r[name]) for r in rows])
  ids, counts = np.unique(out['id'], return_counts=True)
  if np.any(counts > 1):
    twice = ids[counts > 1]
    film = int(twice[0])
    where = ', '.join(out['split'][out['id'] == film])
    raise ValueError(
      f'Expected each film once in {path}; {len(twice)} films come more than '
      f'once, as film {film} (in {where}). A film in two splits makes the '
      'figures worthless: split by film id.'
    )
  return out


def write_predictions(folder: str, rows: Mapping[str, np.ndarray]) -> None:
  """Write predictions.csv and, with bins, distributions.npz (float16).

  Args:
    folder: of a stage.
    rows: COLUMNS, ages in months, [N]; with bins also probability, [N, bins].
  """
  columns = {**rows, 'prediction': np.round(rows['prediction'], 4)}
  with files.replacing(os.path.join(folder, 'predictions.csv')) as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(
      zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
    )
  if 'probability' in rows:
    path = os.path.join(folder, 'distributions.npz')
    probability = rows['probability'].astype(np.float16)
    with files.replacing(path, 'wb') as file:
      np.savez(file, id=rows['id'], probability=probability)


def intervals(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Return `low` and `high`, 90 % conformal intervals in months, [N].

  Fitted on the validation films by sex and predicted age, see `conformal.fit`;
  nothing where these are too few.
  """
  fitted = data.select(rows, 'validation')
  levels = conformal.LEVELS
  if len(fitted['id']) < conformal.least_films(max(levels)):
    return {}
  ends = conformal.intervals(conformal.fit(fitted), rows)[:, levels.index(90)]
  return {'low': ends[:, 0], 'high': ends[:, 1]}


def read_npz(path: str, key: str) -> dict[int, Any]:
  """Return {film id: row of `key`}; empty where the file is missing."""
  if not files.exists(path):
    return {}
  with np.load(files.reading(path, 'rb')) as file:
    return dict(zip(file['id'].tolist(), file[key], strict=True))


def located(
  workdir: str, stage: str | None
) -> tuple[dict[int, dict[str, boxes.Region]], dict[str, Any], dict[str, Any]]:
  """Read what a locate stage left; empty where there is none.

  Returns:
    regions of `boxes.read_regions`, coverage.json, and heat maps as
    {'maps': {film id: [R, h, w]}, 'resize': how films became net inputs}.
  """
  if not stage:
    return {}, {}, {}
  folder = os.path.join(workdir, stage)
  path = os.path.join(folder, 'regions.csv')
  regions = boxes.read_regions(path) if files.exists(path) else {}
  path = os.path.join(folder, 'maps.npz')
  heat: dict[str, Any] = {'maps': read_npz(path, 'maps'), 'resize': 'squash'}
  if heat['maps']:
    with np.load(files.reading(path, 'rb')) as file:
      if 'geometry' in file:
        heat['resize'] = str(file['geometry'])
  coverage = files.read_json(os.path.join(folder, 'coverage.json'), {})
  return regions, coverage, heat


def data_set(folder: str | None, split: str) -> dict[str, Any]:
  """Name the data set from its build.json; `subset` where films are missing.

  `label_files` has the name and the hash of the labels of every split.
  """
  build = {}
  if folder:
    build = files.read_json(os.path.join(folder, 'build.json'), {})
  keys = ('name', 'films', 'of', 'label_file', 'label_file_sha256')
  out = {key: build[key] for key in keys if key in build}
  if 'label_file' in out:  # the name alone: the folder differs by machine
    out['label_file'] = os.path.basename(str(out['label_file']))
  if 'label_files' in build:  # those of the test films are most in dispute
    out['label_files'] = {
      split: {**labels, 'file': os.path.basename(labels['file'])}
      for split, labels in build['label_files'].items()
    }
  if 'films' in out and 'of' in out:
    out['subset'] = out['films'] < out['of']
  if build.get('bad'):
    out['unreadable'] = [int(film) for film, *_ in build['bad']]
  if split:
    out['split'] = split
  return out


def curves(
  workdir: str, stages: Sequence[str] = ()
) -> dict[str, list[dict[str, float]]]:
  """Read the training rows of every stage, and fold, that has some."""
  out = {}
  for folds in ('', 'fold_*/'):
    for path in files.glob(f'{workdir}/{folds}*/metrics.jsonl'):
      rows = metric_writer.read(path)
      if any('train_loss' in row or 'validation_mae' in row for row in rows):
        *_, fold, stage, _ = path.split('/')
        out[(stage, fold) if folds else (stage,)] = rows
  order = [*stages, *(stage for stage, *_ in out)]
  names = sorted(out, key=lambda name: (order.index(name[0]), name))
  return {'_'.join(name): out[name] for name in names}


def sex_medians(age: np.ndarray, male: np.ndarray) -> dict[str, float]:
  """Return the median age by sex; 'unknown' is the median of all films."""
  age, sexes = np.asarray(age, np.float64), metrics.sex(male)
  out = {'unknown': float(np.median(age))}
  for name in ('female', 'male'):
    if np.any(sexes == name):
      out[name] = float(np.median(age[sexes == name]))
  return out


def figures(
  rows: Mapping[str, np.ndarray],
  predictors: Mapping[str, Mapping[int, float]],
) -> dict[str, Any]:
  """Summarise every split and compare it with other predictors.

  Args:
    rows: of `predictions`.
    predictors: name -> {film id: predicted age, months}.
  """
  order = [s for s in SPLITS if s in rows['split']]
  order += sorted(set(rows['split'].tolist()) - set(order))
  return {
    'headline': order[0],
    'splits': {name: _summary(data.select(rows, name), name) for name in order},
    'references': {
      name: _compare(rows, order, ages) for name, ages in predictors.items()
    },
  }


def _summary(rows: Mapping[str, np.ndarray], split: str) -> dict[str, Any]:
  out = metrics.summary(rows['age'], rows['prediction'], rows['male'])
  if 'low' in rows and split == 'test':  # not of films that gave the intervals
    inside = (rows['low'] <= rows['age']) & (rows['age'] <= rows['high'])
    out['covered_90'] = float(np.mean(inside))
  return out


def _compare(
  rows: Mapping[str, np.ndarray],
  splits: Sequence[str],
  ages: Mapping[int, float],
) -> dict[str, Any]:
  """Compare the predictions with a reference's on the films both have."""
  out = {}
  for name in splits:
    part = data.select(rows, name)
    both = np.array([int(i) in ages for i in part['id']], bool)
    if not both.any():
      continue
    age, prediction = part['age'][both], part['prediction'][both]
    other = np.array([ages[int(i)] for i in part['id'][both]])
    row = metrics.summary(age, other, part['male'][both])
    pair = metrics.paired_difference(age, prediction, other)
    keep = ('n', 'mae', 'mae_ci95', 'rmse', 'bias', 'within_12')
    out[name] = {k: row[k] for k in keep if k in row}
    keep = ('difference', 'difference_ci95')
    out[name] |= {k: pair[k] for k in keep if k in pair}
  return out


def count_regions(
  rows: Mapping[str, np.ndarray], regions: Mapping, coverage: Mapping
) -> dict[str, Any]:
  """Count the films each region was found on, among those reported."""
  if not regions:
    return {}
  ids = [int(i) for i in rows['id'] if int(i) in regions]
  names = list(dict.fromkeys(name for i in ids for name in regions[i]))
  found = {
    name: {
      'films': sum(name in regions[i] for i in ids),
      'found': sum(name in regions[i] and regions[i][name].found for i in ids),
    }
    for name in names
  }
  return {'found': found, 'coverage': dict(coverage)}


def alarms(report: Mapping[str, Any]) -> list[str]:
  """Say what makes the figures doubtful, the worst first."""
  out = []
  for name, row in report['splits'].items():
    if row['collapse']['alarm']:
      spread = ' and '.join(
        f'{plots.NAMES[s]} {row["collapse"][f"{s}_sd"]:.1f} (truth '
        f'{row["collapse"][f"{s}_true_sd"]:.1f})'
        for s in plots.NAMES
        if f'{s}_sd' in row['collapse']
      )
      out.append(
        f'Collapsed predictions on {name}: standard deviation of {spread} '
        'months. The net tells little more than the sex.'
      )
  head = report['headline']
  median = report['references'].get('sex_median', {})
  if median.get(head, {}).get('difference', -1) >= 0:
    out.append(
      f'On {head} the net is no better than always answering the median age '
      'of the sex.'
    )
  for name, row in report['regions'].get('found', {}).items():
    missing = row['films'] - row['found']
    if missing:
      out.append(
        f'Region {name} not found on {missing} of {row["films"]} films '
        f'({100 * missing / row["films"]:.1f} %); the whole film stood in.'
      )
  return out
