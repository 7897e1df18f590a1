"""Rows of folds, joined: each film once, by the fold that did not see it."""

import csv

import numpy as np
import pytest

from boneage_jax.core import statistics
from boneage_jax.evaluation import joined_rows
from configs import hand_geometry


def write(path, rows):
  path.parent.mkdir(parents=True)
  with path.open('w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)


@pytest.mark.parametrize(
  ('stage', 'name'), [('segmenter', 'dice'), ('keypoints', 'error_percent')]
)
def test_each_film_is_of_the_fold_that_validates_it(tmp_path, stage, name):
  config = hand_geometry.get_config('phantom').unlock()
  config.data.folds = 2
  values = np.linspace(0.5, 0.9, 12)
  row = lambda film, split, value: {'id': film, 'split': split, name: value}
  for fold in range(2):
    rows = [row(str(100), 'test', 0.1)]
    for k in reversed(range(fold, 12, 2)):
      rows.append(row(str(k), 'validation', values[k]))
    rows.append(row(str(12 + fold), 'validation', ''))  # not marked
    write(tmp_path / f'fold_{fold}' / stage / 'predictions.csv', rows)
  found = joined_rows.join(config, stage, str(tmp_path))
  assert found['films'] == 12
  assert found['median'] == pytest.approx(0.7)
  assert statistics.mean(values, name).items() <= found.items()
  with open(tmp_path / stage / 'predictions.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [int(r['id']) for r in rows] == list(range(14))
  assert [int(r['fold']) for r in rows] == [k % 2 for k in range(14)]
  text = joined_rows.line(stage, name, found)
  assert text.startswith(f'{stage}: {name} of 12 films, each by the fold')
  assert 'mean 0.7000 (' in text and text.endswith('median 0.7000.')
