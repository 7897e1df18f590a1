"""Paired comparison of made-up runs against the files they left."""

import csv
import json

import fake_run
import numpy as np
import pytest

from boneage_jax.evaluation import compare
from boneage_jax.runs import run as run_lib

FILMS = fake_run.films()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('compare')
  fake_run.write(folder / 'a', FILMS, noise=8, seed=1)
  some = {name: column[60:] for name, column in FILMS.items()}
  fake_run.write(folder / 'b', some, noise=12, seed=2)
  fractions = {'validation_fraction': 0.2, 'test_fraction': 0.6}
  fake_run.write(folder / 'c', FILMS, seed=3, fractions=fractions)
  return folder


def _stored(folder):
  with open(folder / 'assessor/predictions.csv', newline='') as file:
    return {row['id']: row for row in csv.DictReader(file)}


def test_difference_is_that_of_the_stored_predictions(folder, tmp_path, capsys):
  path = tmp_path / 'compare.json'
  compare.main([str(folder / 'a'), str(folder / 'b'), f'--out={path}'])
  result = json.loads(path.read_text())
  printed = capsys.readouterr().out
  a, b = _stored(folder / 'a'), _stored(folder / 'b')
  for split in ('test', 'validation'):
    in_a = {i for i in a if a[i]['split'] == split}
    in_b = {i for i in b if b[i]['split'] == split}
    row = result['splits'][split]
    assert (row['only_a'], row['only_b']) == (len(in_a - in_b), 0)
    parts = [(row, None), (row['by_sex']['F'], 'F')]
    for part, sex in [*parts, (row['by_sex']['M'], 'M')]:
      ids = [i for i in in_a & in_b if sex in (None, a[i]['sex'])]
      errors = np.array(
        [
          [
            abs(float(r[i]['age_predicted']) - float(r[i]['age_true']))
            for r in (a, b)
          ]
          for i in ids
        ]
      )
      assert part['n'] == len(ids)
      difference = errors[:, 0].mean() - errors[:, 1].mean()
      assert part['difference'] == pytest.approx(difference)
      assert part['a_better'] == pytest.approx(
        np.mean(errors[:, 0] < errors[:, 1])
      )
      # The interval of a mean of paired differences, by the normal law.
      reach = 1.96 * np.std(errors[:, 0] - errors[:, 1]) / np.sqrt(len(ids))
      np.testing.assert_allclose(
        part['difference_ci95'],
        [difference - reach, difference + reach],
        atol=0.25 * reach,
      )
      assert f'{difference:+.2f}' in printed
  assert result['splits']['test']['difference_ci95'][1] < 0
  assert 'labels (test) sha256 cdcdcdcdcdcd' in printed
  assert 'WARNING' not in printed


def test_turning_the_runs_round(folder):
  a, b = (
    run_lib.read_run(str(folder / 'a')),
    run_lib.read_run(str(folder / 'b')),
  )
  swapped = compare.compare(b, a)['splits']['test']
  row = compare.compare(a, b)['splits']['test']
  assert row['difference'] == pytest.approx(-swapped['difference'])
  assert row['a_better'] == swapped['b_better']
  assert row['only_a'] == swapped['only_b']
  assert compare.compare(a, a)['splits']['test']['difference_ci95'] == [0, 0]


def test_training_on_the_others_test_films(folder, capsys):
  fractions = {'validation_fraction': 0.1, 'test_fraction': 0.1}
  fake_run.write(folder / 'd', FILMS, seed=3, fractions=fractions)
  arguments = [str(folder / 'a'), str(folder / 'd')]
  a, d = (_stored(folder / name) for name in 'ad')
  # Every film that d held out stands in its predictions.
  count = sum(row['split'] == 'test' and i not in d for i, row in a.items())
  assert count > 50
  message = f'd:assessor was trained on {count} test films of a:assessor'
  with pytest.raises(SystemExit, match=message):
    compare.main(arguments)
  compare.main([*arguments, '--force'])
  assert f'WARNING: {message}.' in capsys.readouterr().out


def test_films_in_another_split_do_not_count(folder):
  a, c = (
    run_lib.read_run(str(folder / 'a')),
    run_lib.read_run(str(folder / 'c')),
  )
  result = compare.compare(a, c)['splits']
  names = dict(zip(c.rows['id'].tolist(), c.rows['split'], strict=True))
  own = a.rows['id'][a.rows['split'] == 'validation'].tolist()
  moved = sum(names[i] == 'test' for i in own)
  assert moved > 0
  assert result['validation']['other_split'] == moved
  assert result['validation']['n'] == len(own) - moved
  assert f'{moved} in another split of B' in compare.comparison_table(
    compare.compare(a, c)
  )


def test_unknown_training_films_are_said(folder):
  a, b = (
    run_lib.read_run(str(folder / 'a')),
    run_lib.read_run(str(folder / 'b')),
  )
  result = compare.compare(a, b._replace(config=None, train=None))
  assert result['leaks'] == {'a': 0, 'b': None}
  assert 'WARNING: which films b:assessor was trained on is not known' in (
    compare.comparison_table(result)
  )


def test_other_labels_are_refused(folder, tmp_path):
  table = {**FILMS, 'age': FILMS['age'] + 1}
  other = fake_run.write(tmp_path / 'other', table)
  with pytest.raises(SystemExit, match='same labels in a:assessor and other'):
    compare.main([str(folder / 'a'), str(other)])
