"""Stages of puberty of the films in the folder BONEAGE_FILMS."""

import collections
import csv
import os
import pathlib

import numpy as np
import pytest

from boneage_jax.data import groups

FILMS = os.environ.get('BONEAGE_FILMS', '')
TABLE = 'boneage-training-dataset.csv'
# Girls and boys of the RSNA training films (Halabi 2019) in each stage.
COUNTS = {
  'infancy': (5, 13),
  'toddler': (33, 122),
  'pre-puberty': (1131, 1345),
  'early and mid puberty': (3473, 3758),
  'late puberty': (810, 1186),
  'post-puberty': (326, 409),
}


def tables():
  """Rows of each table that has all 12,611 training films."""
  found = []
  for path in pathlib.Path(FILMS).rglob(TABLE) if FILMS else ():
    rows = list(csv.DictReader(path.open(newline='')))
    found += [rows] if len(rows) == 12_611 else []
  return found


def test_the_counts_are_those_of_all_training_films():
  assert sum(map(sum, COUNTS.values())) == 12_611
  assert list(COUNTS) == [name for name, _, _ in groups.STAGES]


@pytest.mark.skipif(not tables(), reason='BONEAGE_FILMS lacks all 12,611 films')
def test_stages_hold_as_many_films_as_published():
  for rows in tables():
    age = np.array([float(row['boneage']) for row in rows])
    male = np.array([row['male'].strip().lower() == 'true' for row in rows])
    stages = groups.stage(age, np.where(male, 1.0, -1.0))
    girls = collections.Counter(stages[~male].tolist())
    boys = collections.Counter(stages[male].tolist())
    assert {name: (girls[name], boys[name]) for name in COUNTS} == COUNTS
