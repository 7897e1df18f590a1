"""What a report reads: files that the stages of a run left behind."""

import csv
import glob
import json
import os
from typing import Any

import numpy as np

from boneage_jax import boxes
from boneage_jax import metric_writer


def predictions(path: str) -> dict[str, np.ndarray]:
  """Read predictions.csv into columns id, split, male, age, prediction.

  `low` and `high` too where the file has them.

  Raises:
    ValueError: the file is missing, empty or names a film twice.
  """
  if not os.path.exists(path):
    raise ValueError(f'{path} is missing: run the stage that writes it first.')
  with open(path, newline='') as file:
    rows = list(csv.DictReader(file))
  if not rows:
    raise ValueError(f'Expected predictions in {path}, got none.')
  out = {name: np.array([r[name] for r in rows]) for name in ('id', 'split')}
  out['id'] = out['id'].astype(np.int64)
  for name in ('male', 'age', 'prediction', 'low', 'high'):
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


def read_npz(path: str, key: str) -> dict[int, Any]:
  """Return {film id: row of `key`}; empty where the file is missing."""
  if not os.path.exists(path):
    return {}
  with np.load(path) as file:
    return dict(zip(file['id'].tolist(), file[key], strict=True))


def located(
  workdir: str, stage: str | None
) -> tuple[dict[int, dict[str, boxes.Region]], dict[str, Any], dict[str, Any]]:
  """Read what a locate stage left; empty where it is missing.

  Returns:
    regions of `boxes.read_regions`, coverage.json, and heat maps as
    {'maps': {film id: [R, h, w]}, 'resize': how films became net inputs}.
  """
  if not stage:
    return {}, {}, {}
  folder = os.path.join(workdir, stage)
  path = os.path.join(folder, 'regions.csv')
  regions = boxes.read_regions(path) if os.path.exists(path) else {}
  path = os.path.join(folder, 'maps.npz')
  heat: dict[str, Any] = {'maps': read_npz(path, 'maps'), 'resize': 'squash'}
  if heat['maps']:
    with np.load(path) as file:
      if 'geometry' in file:
        heat['resize'] = str(file['geometry'])
  return regions, _read_json(os.path.join(folder, 'coverage.json')), heat


def data_set(folder: str | None, split: str) -> dict[str, Any]:
  """Name the data set from its build.json; `subset` where films are missing."""
  build = _read_json(os.path.join(folder, 'build.json')) if folder else {}
  keys = ('name', 'films', 'of', 'label_file', 'label_file_sha256')
  out = {key: build[key] for key in keys if key in build}
  if 'label_file' in out:  # the name alone: the folder differs by machine
    out['label_file'] = os.path.basename(str(out['label_file']))
  if 'films' in out and 'of' in out:
    out['subset'] = out['films'] < out['of']
  if build.get('bad'):
    out['unreadable'] = [int(film) for film, *_ in build['bad']]
  if split:
    out['split'] = split
  return out


def curves(workdir: str) -> dict[str, list[dict[str, float]]]:
  """Read the training rows of every stage that has some, by stage name."""
  out = {}
  for path in sorted(glob.glob(os.path.join(workdir, '*', 'metrics.jsonl'))):
    rows = metric_writer.read(path)
    if any('train_loss' in row or 'validation_mae' in row for row in rows):
      out[os.path.basename(os.path.dirname(path))] = rows
  return out


def _read_json(path: str) -> dict[str, Any]:
  if not os.path.exists(path):
    return {}
  with open(path) as file:
    return json.load(file)
