"""What a net tells beside the age, in predictions.csv and in the report."""

import csv
import json

import numpy as np
import pytest
import report_run

from boneage_jax.evaluation import external_views
from boneage_jax.evaluation import extra as extra_lib
from boneage_jax.report import write
from boneage_jax.runs import predictions


def wilson(hits, n, z=1.959964):
  """Wilson 1927, as textbooks have it."""
  p, d = hits / n, 1 + z * z / n
  half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
  return [(p + z * z / (2 * n)) / d - half, (p + z * z / (2 * n)) / d + half]


def test_the_accuracy_of_the_sex_has_an_interval():
  p_male = np.array([0.9, 0.2, 0.6, 0.4, 0.7])
  sex = np.array([1, -1, -1, 1, 0])  # two of four are right
  split = np.array(['test'] * 5)
  (row,) = extra_lib.figures({'p_male': p_male}, sex, split)['p_male'].values()
  assert row['n'] == 5 and row['mean'] == 0.56
  every = row['accuracy']['all']
  assert (every['n'], every['share']) == (4, 0.5)
  np.testing.assert_allclose(every['ci95'], wilson(2, 4), rtol=1e-5)
  assert row['accuracy']['F']['n'] == row['accuracy']['M']['n'] == 2


def test_rows_keep_what_nets_tell_by_film(tmp_path):
  rows = {
    'id': np.array(['7', '3']),
    'split': np.array(['test', 'test']),
    'sex': np.array([1.0, -1.0]),
    'age': np.array([90.0, 80.0]),
    'prediction': np.array([91.0, 82.0]),
    'extra': {
      'p_male': np.array([0.25, 0.75]),
      'height': np.array([140.0, 150]),
    },
  }
  predictions.write_predictions(str(tmp_path), rows)
  told = predictions.read_extra(str(tmp_path), np.array(['3', '7']))
  assert list(told) == ['p_male', 'height']
  np.testing.assert_array_equal(told['p_male'], [0.75, 0.25])
  np.testing.assert_array_equal(told['height'], [150, 140])


@pytest.mark.ci  # draws all plots
def test_a_report_shows_them(tmp_path):
  workdir = report_run.workdir(tmp_path)
  path = tmp_path / 'assessor/predictions.csv'
  with open(path, newline='') as file:
    rows = list(csv.DictReader(file))
  for k, row in enumerate(rows):  # every fourth is wrong
    row['p_male'] = 0.9 if (row['sex'] == 'M') == (k % 4 > 0) else 0.2
  with open(path, 'w', newline='') as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  result = report_run.write(workdir)
  test = result['extra']['p_male']['test']['accuracy']['all']
  assert (test['n'], test['share']) == (report_run.TEST, 0.75)
  low, high = (100 * end for end in wilson(9, 12))
  line = f'sex told right, test: 75.0 % of 12 films (95 % interval {low:.1f} to'
  assert line in write.report_table(result)
  page = (tmp_path / 'report/report.html').read_text()
  assert f'<td>75.0 %</td><td>{low:.1f} to {high:.1f} %</td>' in page
  shown = json.loads((tmp_path / 'report/report.json').read_text())
  assert shown['extra'] == result['extra']
  with open(tmp_path / 'report/predictions.csv', newline='') as file:
    (first, *_) = csv.DictReader(file)
  assert float(first['p_male']) == float(rows[0]['p_male'])


def test_an_external_test_says_how_often_the_sex_is_right(tmp_path):
  cells = {'file': '', 'group': '', 'age_true': '90', 'age_predicted': '100'}
  rows = [
    cells | {'file': f'{k}.png', 'sex': 'MF'[k % 2], 'p_male': f'{p:.4f}'}
    for k, p in enumerate((0.9, 0.8, 0.7, 0.1))
  ]
  found = external_views.summarise(rows)
  every = found['extra']['p_male']['test']['accuracy']['all']
  assert (every['n'], every['share']) == (4, 0.75)
  external_views.write(str(tmp_path), found, rows)
  told = predictions.read_extra(str(tmp_path), np.array(['1.png']))
  assert told['p_male'].tolist() == [0.8]
  del rows[0]['p_male'], rows[1]['p_male']
  assert 'extra' not in external_views.summarise(rows)
