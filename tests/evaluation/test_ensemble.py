"""Combinations of made-up runs, and weights against a search of all of them."""

import csv
import itertools
import json
import shutil

import fake_run
import numpy as np
import pytest
from scipy import optimize

from boneage_jax.data import splits
from boneage_jax.evaluation import ensemble
from boneage_jax.runs import run as run_lib

FILMS = fake_run.films()


def _loss(error, weights, loss):
  combined = np.tensordot(weights, error, 1)
  return np.mean(np.abs(combined) if loss == 'mae' else combined**2)


def _grid(members, steps=100):
  """All weights that are multiples of 1 / steps and sum to 1."""
  for cut in itertools.product(range(steps + 1), repeat=members - 1):
    if sum(cut) <= steps:
      yield np.array([*cut, steps - sum(cut)]) / steps


def _errors(case):
  rng = np.random.default_rng(case)
  shared = rng.laplace(0, 6, 300)
  own = rng.normal(0, [[3], [5], [20]], (3, 300))
  bias = {0: 0.0, 1: 0.0, 2: 4.0}[case]
  return shared + own + [[bias], [-bias], [0]]


@pytest.mark.parametrize('loss', ['mae', 'mse'])
@pytest.mark.parametrize('members', [2, 3])
@pytest.mark.parametrize('case', [0, 1, 2])
def test_weights_beat_every_weight_of_a_grid(case, members, loss):
  error = _errors(case)[:members]
  weights = ensemble.fit_weights(error, loss)
  assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
  best = min(_grid(members), key=lambda w: _loss(error, w, loss))
  least = _loss(error, best, loss)
  assert _loss(error, weights, loss) <= least + 1e-12
  np.testing.assert_allclose(weights, best, atol=0.03)


def test_weights_of_known_members():
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(2, 20_000)) * [[1], [2]]
  # Independent errors of variance 1 and 4: 4/5 and 1/5.
  np.testing.assert_allclose(
    ensemble.fit_weights(noise, 'mse'), [0.8, 0.2], atol=0.02
  )
  good = noise[:1]
  # A member that adds noise to another's errors is left out.
  np.testing.assert_allclose(
    ensemble.fit_weights(np.vstack([good, good + noise[1]]), 'mae'),
    [1, 0],
    atol=0.01,
  )
  # Opposite biases cancel.
  shifted = np.vstack([good + 3, good - 1])[:, :5000]
  np.testing.assert_allclose(
    ensemble.fit_weights(shifted, 'mae'), [0.25, 0.75], atol=0.02
  )
  with pytest.raises(ValueError, match="got 'rmse'"):
    ensemble.fit_weights(good, 'rmse')


@pytest.mark.parametrize('loss', ['mae', 'mse'])
def test_many_members_take_no_grid(loss):
  # A convex loss is least where no exchange of weight improves it.
  rng = np.random.default_rng(3)
  error = rng.normal(0, 4, 400) + rng.normal(0, 8, (18, 400))
  weights = ensemble.fit_weights(error, loss)
  base = _loss(error, weights, loss)
  for one, other in itertools.permutations(range(18), 2):
    for most in (1e-4, 0.02):
      moved = weights.copy()
      amount = min(most, moved[one])
      moved[one] -= amount
      moved[other] += amount
      assert _loss(error, moved, loss) >= base - 1e-10


def test_least_absolute_weights_meet_the_optimum_of_the_program_itself():
  rng = np.random.default_rng(7)
  error = rng.laplace(0, 6, 200) + rng.normal(0, 5, (6, 200))
  # min sum(over + under) with w @ error = over - under, films by rows.
  eye, films = np.eye(200), np.zeros(200)
  solved = optimize.linprog(
    np.append(np.zeros(6), np.ones(400)),
    A_eq=np.vstack(
      [
        np.hstack([error.T, -eye, eye]),
        np.append(np.ones(6), np.zeros(400)),
      ]
    ),
    b_eq=np.append(films, 1),
  )
  weights = ensemble.fit_weights(error, 'mae')
  np.testing.assert_allclose(weights, solved.x[:6], atol=1e-9)
  assert _loss(error, weights, 'mae') == pytest.approx(solved.fun / 200)


def test_least_square_weights_of_two_members_in_closed_form():
  rng = np.random.default_rng(5)
  for _ in range(50):
    error = rng.normal(
      rng.normal(0, 3, (2, 1)), rng.uniform(1, 9, (2, 1)), (2, 30)
    )
    difference = error[0] - error[1]
    first = np.clip(-error[1] @ difference / (difference @ difference), 0, 1)
    weights = ensemble.fit_weights(error, 'mse')
    np.testing.assert_allclose(weights, [first, 1 - first], atol=1e-9)


@pytest.mark.parametrize('loss', ['mae', 'mse'])
@pytest.mark.parametrize('case', ['equal', 'none', 'alone', 'constant'])
def test_ties_end_in_a_corner_that_is_always_the_same(loss, case):
  noise = np.random.default_rng(0).normal(size=(1, 99))
  error = {
    'equal': np.vstack([noise, noise]),
    'none': np.zeros((3, 9)),
    'alone': noise,
    'constant': np.full((3, 4), -2.0),
  }[case]
  weights = ensemble.fit_weights(error, loss)
  assert sorted(weights.tolist()) == [0] * (len(error) - 1) + [1]
  np.testing.assert_array_equal(weights, ensemble.fit_weights(error, loss))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('ensemble')
  for name, noise, seed in (('a', 8, 1), ('b', 10, 2), ('c', 14, 3)):
    fake_run.write(folder / name, FILMS, noise=noise, seed=seed, sd=12)
  return folder


def _members(folder, names='abc'):
  return [run_lib.read_run(str(folder / name)) for name in names]


def _stored(folder):
  with open(folder / 'predictions.csv', newline='') as file:
    return {row['id']: row for row in csv.DictReader(file)}


@pytest.mark.parametrize('weights', ensemble.WEIGHTS)
def test_written_files(folder, tmp_path, capsys, weights):
  names = [str(folder / name) for name in 'abc']
  ensemble.main([*names, f'--out={tmp_path}', f'--weights={weights}'])
  printed = capsys.readouterr().out
  result = json.loads((tmp_path / 'ensemble.json').read_text())
  used = [member[weights] for member in result['members']]
  if weights == 'mean':
    assert used == [pytest.approx(1 / 3)] * 3
  stored = _stored(tmp_path)
  members = [_stored(folder / name / 'assessor') for name in 'abc']
  assert set(stored) == set(members[0])
  for film, row in stored.items():
    own = [float(member[film]['age_predicted']) for member in members]
    near = 1e-4
    if row['split'] == 'validation' and weights != 'mean':
      near = 0.05 * np.ptp(own)  # weighted by other validation films alone
    assert float(row['age_predicted']) == pytest.approx(
      np.dot(used, own), abs=near
    )
    for column in ('split', 'sex', 'age_true'):
      assert row[column] == members[0][film][column]
  # The table's figures, from the stored file alone.
  for split in ('test', 'validation'):
    rows = [row for row in stored.values() if row['split'] == split]
    errors = [float(r['age_predicted']) - float(r['age_true']) for r in rows]
    figures = result['splits'][split]['ways'][weights]
    assert figures['n'] == len(rows) == result['films'][split]
    assert figures['mae'] == pytest.approx(np.mean(np.abs(errors)), abs=1e-4)
    assert figures['bias'] == pytest.approx(np.mean(errors), abs=1e-4)
    line = next(
      x
      for x in printed.split(f'\n{split} ')[1].splitlines()
      if x.startswith(f'weights: {weights} (written)')
    )
    assert f' {figures["mae"]:.2f} ' in line
  assert 'labels (test) sha256 cdcdcdcdcdcd' in printed
  with np.load(tmp_path / 'distributions.npz') as file:
    mixture, ids = file['probability'], file['id'].tolist()
  assert mixture.dtype == np.float16 and mixture.shape == (len(stored), 240)
  film = next(i for i in ids if stored[i]['split'] == 'test')
  k = ids.index(film)
  parts = []
  for name in 'abc':
    with np.load(folder / name / 'assessor/distributions.npz') as file:
      row = file['id'].tolist().index(film)
      parts.append(file['probability'][row].astype(float))
  np.testing.assert_allclose(mixture[k], np.dot(used, parts), atol=1e-4)


def test_weights_never_see_the_test_films(folder):
  members = _members(folder)
  result, _ = ensemble.combine(members, 'mae')
  changed = []
  for member in members:
    rows = dict(member.rows)
    test = rows['split'] == 'test'
    rows['prediction'] = np.where(test, 100.0, rows['prediction'])
    changed.append(member._replace(rows=rows))
  other, _ = ensemble.combine(changed, 'mae')
  assert other['members'] == result['members']
  assert other['best'] == result['best'] == 0
  assert other['splits']['test'] != result['splits']['test']


@pytest.mark.parametrize('way', ['mae', 'mse'])
def test_no_film_has_a_part_in_its_own_weights(way):
  rng = np.random.default_rng(0)
  error = rng.normal(0, [[5], [6], [8]], (3, 80))
  ids, split = (
    np.arange(80).astype(str),
    np.where(np.arange(80) < 20, 'test', 'validation'),
  )
  weights, by_film = ensemble.film_weights(error, ids, split, way)
  assert (by_film[:, :20] == weights[:, None]).all()
  np.testing.assert_allclose(by_film.sum(axis=0), 1)
  groups = np.full(80, -1)
  for part in range(ensemble.PARTS):
    names = splits.fold({'id': ids}, split, ensemble.PARTS, part)
    groups[(names == 'validation') & (split == 'validation')] = part
    own = by_film[:, groups == part]
    assert own.size and (own == own[:, :1]).all()
  assert (groups >= 0).sum() == 60
  moved = error.copy()
  moved[:, 50] = [1000, -2000, 30]
  other, others = ensemble.film_weights(moved, ids, split, way)
  same = np.all(others == by_film, axis=0)
  np.testing.assert_array_equal(same, groups == groups[50])
  assert np.abs(other - weights).max() > 0.01


def test_a_film_or_a_member_that_does_not_vary(folder):
  a, b = _members(folder, 'ab')
  rows = {**b.rows, 'prediction': b.rows['age'] + 3}
  result, _ = ensemble.combine([a, b._replace(rows=rows)])
  assert result['splits']['test']['correlation'] is None
  assert 'nan' not in ensemble.ensemble_table(result)
  one = np.flatnonzero(a.rows['split'] == 'test')[1:]
  few = [
    run._replace(rows={n: np.delete(c, one) for n, c in run.rows.items()})
    for run in (a, b)
  ]
  with np.errstate(all='raise'):
    result, _ = ensemble.combine(few)
  assert result['splits']['test']['correlation'] is None
  json.dumps(result, allow_nan=False)


def test_gain_and_correlation(folder):
  result, _ = ensemble.combine(_members(folder))
  films = run_lib.align_predictions(_members(folder))
  of = films['split'][0] == 'test'
  error = (films['prediction'] - films['age'])[:, of]
  row = result['splits']['test']
  np.testing.assert_allclose(row['correlation'], np.corrcoef(error))
  gain = row['gain']['mean']
  sizes = np.abs(error.mean(axis=0)), np.abs(error[0])
  assert gain['difference'] == pytest.approx(np.mean(sizes[0] - sizes[1]))
  low, high = gain['difference_ci95']
  reach = 1.96 * np.std(sizes[0] - sizes[1]) / np.sqrt(of.sum())
  assert (high - low) / 2 == pytest.approx(reach, rel=0.1)
  # Weights that were fitted on all validation films are best there.
  error = (films['prediction'] - films['age'])[:, films['split'][0] != 'test']
  maes = {
    way: _loss(error, [m[way] for m in result['members']], 'mae')
    for way in ensemble.WEIGHTS
  }
  assert maes['mae'] <= min(maes['mean'], maes['mse']) + 1e-3


def test_an_ensemble_is_read_like_a_run(folder, tmp_path):
  members = _members(folder, 'ab')
  result, rows = ensemble.combine(members, 'mae')
  ensemble.write_ensemble(str(tmp_path / 'both'), result, rows)
  read = run_lib.read_run(str(tmp_path / 'both'))
  assert read.name == 'both' and read.train == members[0].train
  assert read.data == members[0].data
  assert run_lib.distributions(read, read.rows['id']).shape[1] == 240
  nested, _ = ensemble.combine([read, *_members(folder, 'c')])
  assert [m['run'] for m in nested['members']] == ['both', 'c:assessor']


def test_films_are_intersected_and_counted(folder, tmp_path):
  some = {name: column[50:] for name, column in FILMS.items()}
  fake_run.write(tmp_path / 'some', some, seed=9)  # without bins
  members = [*_members(folder, 'a'), run_lib.read_run(str(tmp_path / 'some'))]
  result, rows = ensemble.combine(members)
  gone = len(members[0].rows['id']) - len(members[1].rows['id'])
  assert [m['left_out'] for m in result['members']] == [gone, 0]
  assert set(rows['id']) == set(members[1].rows['id'])
  assert 'probability' not in rows
  text = ensemble.ensemble_table(result)
  assert '600 of 9999' in text and '550 of 9999' in text  # both data sets


def test_members_that_do_not_agree(folder, tmp_path):
  with pytest.raises(ValueError, match='two or more members, got 1'):
    ensemble.combine(_members(folder, 'a'))
  fractions = {'validation_fraction': 0.2, 'test_fraction': 0.5}
  fake_run.write(tmp_path / 'moved', FILMS, fractions=fractions)
  with pytest.raises(ValueError, match='members with one split'):
    ensemble.combine(
      [*_members(folder, 'a'), run_lib.read_run(str(tmp_path / 'moved'))]
    )
  fake_run.write(tmp_path / 'aged', {**FILMS, 'age': FILMS['age'] + 2})
  arguments = [str(folder / 'a'), str(tmp_path / 'aged'), f'--out={tmp_path}/x']
  with pytest.raises(SystemExit, match='Error: Expected the same labels'):
    ensemble.main(arguments)
  assert not (tmp_path / 'x').exists()
  shutil.copytree(folder / 'a', tmp_path / 'test_only')
  path = tmp_path / 'test_only/assessor/predictions.csv'
  lines = path.read_text().splitlines()
  path.write_text('\n'.join(x for x in lines if ',validation,' not in x))
  with pytest.raises(ValueError, match='Expected validation films'):
    ensemble.combine(
      [*_members(folder, 'b'), run_lib.read_run(str(tmp_path / 'test_only'))]
    )
