"""The oracle of the README's first run: its row, counted again from what the
assessor of the run left."""

import csv

import numpy as np
import pytest

from results import rows as rows_lib

PREDICTIONS = rows_lib.FOLDER / 'predictions/cascade_phantom.csv'
TRUE_AGE, PREDICTED_AGE = 'age_true', 'age_predicted'  # columns of that file


def errors(split):
  with open(PREDICTIONS, encoding='utf-8') as file:
    rows = [row for row in csv.DictReader(file) if row['split'] == split]
  return np.array(
    [float(row[PREDICTED_AGE]) - float(row[TRUE_AGE]) for row in rows]
  )


def interval(error):
  rng = np.random.default_rng(1)
  draws = rng.integers(len(error), size=(4000, len(error)))
  return np.percentile(np.abs(error)[draws].mean(1), (2.5, 97.5))


def test_the_row_of_the_cascade():
  (row,) = (
    row
    for row in rows_lib.read('leaderboard.csv')
    if (row['config'], row['preset']) == ('cascade', 'phantom')
    and (row['stage'], row['data_set']) == ('assessor', 'phantoms')
    and not row['superseded_by']
  )
  of = lambda *names: [float(row[name]) for name in names]
  test, validation = errors('test'), errors('validation')
  assert (len(test), len(validation)) == (int(row['n']), 147)
  expected = np.abs(test).mean(), np.abs(validation).mean()
  expected += (np.sqrt((test**2).mean()),)
  got = of('mae', 'validation_mae', 'rmse')
  np.testing.assert_allclose(got, expected, rtol=0, atol=0.006)
  within = 100 * np.mean(np.abs(test) <= 12)
  assert of('within12') == pytest.approx([within], abs=0.6)
  np.testing.assert_allclose(of('lo', 'hi'), interval(test), atol=0.15)
  bounds = of('validation_lo', 'validation_hi')
  np.testing.assert_allclose(bounds, interval(validation), atol=0.2)
