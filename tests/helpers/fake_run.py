"""Folders as runs leave them, with made-up predictions of known noise."""

import csv
import json
import os

import numpy as np

from boneage_jax.core import config as config_lib
from boneage_jax.data import groups
from boneage_jax.data import splits
from boneage_jax.runs import predictions
from configs import system

FRACTIONS = {'validation_fraction': 0.3, 'test_fraction': 0.4}


def films(count=600, seed=0):
  """Returns id, sex, age and the archive's split of made-up films."""
  rng = np.random.default_rng(seed)
  return {
    'id': (rng.permutation(count) + 1000).astype(str),
    'sex': rng.choice([-1.0, 1.0], count),
    'age': np.round(rng.uniform(1, 228, count)),
    'split': np.full(count, 'train'),
  }


def write(
  folder, table, noise=8.0, seed=1, stage='assessor', sd=None, fractions=None
):
  """Writes a run in `folder`, its data in `folder`/data; returns the folder.

  Args:
    folder: pathlib.Path.
    table: of `films`; all become films of the data set.
    noise: standard deviation of the errors, months.
    seed: of the errors.
    stage: the stage that the report shows.
    sd: of the distributions, months; None for a net without bins.
    fractions: of the hash split.
  """
  fractions = fractions or FRACTIONS
  os.makedirs(folder / stage, exist_ok=True)
  os.makedirs(folder / 'prepare', exist_ok=True)
  data = folder / 'data'
  os.makedirs(data, exist_ok=True)
  config = {
    'format': config_lib.FORMAT,
    'data': {**system.base('', '').data.to_dict(), **fractions},
    'prepare': {'job': 'prepare'},
    stage: {'job': 'train', 'input': {'builder_config': 'px'}},
    'report': {'job': 'report', 'stage': stage},
  }
  (folder / 'config.json').write_text(json.dumps(config))
  done = {'folders': {'px': str(data)}}
  (folder / 'prepare/done.json').write_text(json.dumps(done))
  build = {
    'name': f'made up, subset: {len(table["id"])} of 9999 films',
    'films': len(table['id']),
    'of': 9999,
    'label_file': 'train.csv',
    'label_file_sha256': 'ab' * 32,
    'label_files': {
      'train': {'file': 'train.csv', 'sha256': 'ab' * 32},
      'test': {'file': 'test.csv', 'sha256': 'cd' * 32},
    },
  }
  (data / 'build.json').write_text(json.dumps(build))
  columns = ('id', 'split', 'sex', 'age')
  with open(data / 'films.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow([*columns, 'position'])
    films = table | {'sex': groups.sex_text(table['sex'])}
    rows = zip(*(films[name].tolist() for name in columns), strict=True)
    writer.writerows([*row, k] for k, row in enumerate(rows))

  names, _ = splits.assign(table, 'auto', **fractions)
  rng = np.random.default_rng(seed)
  prediction = np.round(table['age'] + rng.normal(0, noise, len(names)), 4)
  held_out = names != 'train'
  rows = {name: table[name][held_out] for name in ('id', 'sex', 'age')}
  rows |= {'split': names[held_out], 'prediction': prediction[held_out]}
  if sd:
    away = np.arange(240) - rows['prediction'][:, None]
    probability = np.exp(-0.5 * (away / sd) ** 2)
    rows['probability'] = probability / probability.sum(axis=1, keepdims=True)
  predictions.write_predictions(str(folder / stage), rows)
  return folder
