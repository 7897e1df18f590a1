"""The phantom table of docs/results.md, counted again from what the run left.

docs/phantom_predictions.csv is predictions.csv of the run's assessor.
"""

import csv
import pathlib
import re

import numpy as np
import pytest

DOCS = pathlib.Path(__file__).parent.parent / 'docs'


def errors(split):
  with open(DOCS / 'phantom_predictions.csv', encoding='utf-8') as file:
    rows = [row for row in csv.DictReader(file) if row['split'] == split]
  return np.array(
    [float(r['age_predicted']) - float(r['age_true']) for r in rows]
  )


def numbers(line):
  return [float(n) for n in re.findall(r'\d+(?:\.\d+)?', line)]


def table():
  """Head and cells of the row of the cascade, first table of the page."""
  text = (DOCS / 'results.md').read_text(encoding='utf-8')
  lines = text[text.index('## Phantoms') :].splitlines()
  head = next(line for line in lines if line.startswith('| system'))
  row = next(line for line in lines if line.startswith('| cascade |'))
  return numbers(head), numbers(row)


def interval(error):
  rng = np.random.default_rng(1)
  draws = rng.integers(len(error), size=(4000, len(error)))
  return np.percentile(np.abs(error)[draws].mean(1), (2.5, 97.5))


def test_the_row_of_the_cascade():
  (films, _, films_validation), row = table()
  test, validation = errors('test'), errors('validation')
  assert (len(test), len(validation)) == (films, films_validation)
  mae, low, high, rmse, within, mae_validation, *bounds = row
  assert mae == pytest.approx(np.abs(test).mean(), abs=0.006)
  assert rmse == pytest.approx(np.sqrt((test**2).mean()), abs=0.006)
  assert within == pytest.approx(100 * np.mean(np.abs(test) <= 12), abs=0.6)
  assert mae_validation == pytest.approx(np.abs(validation).mean(), abs=0.006)
  np.testing.assert_allclose((low, high), interval(test), atol=0.15)
  np.testing.assert_allclose(bounds, interval(validation), atol=0.2)
