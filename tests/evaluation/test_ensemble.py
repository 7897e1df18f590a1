"""Combinations of made-up runs."""

import csv
import json
import shutil

import fake_run
import numpy as np
import pytest

from boneage_jax.evaluation import ensemble
from boneage_jax.evaluation import weighing
from boneage_jax.runs import predictions
from boneage_jax.runs import run as run_lib

FILMS = fake_run.films()


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


@pytest.mark.parametrize('weights', weighing.WEIGHTS)
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
    way: np.abs([m[way] for m in result['members']] @ error).mean()
    for way in weighing.WEIGHTS
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


def _of_sexes(folder, count):
  """A run with nets of boys, of girls, and of both; girls' is the worst."""
  films = fake_run.films(count)
  for stage, sex, noise in (('boys', 1, 3), ('girls', -1, 20), ('both', 0, 6)):
    of = (films['sex'] == sex) | (sex == 0)
    own = {name: column[of] for name, column in films.items()}
    fake_run.write(folder, own, noise, seed=sex + 5, stage=stage, sd=10)
  return f'{folder}:both', f'{folder}:boys+girls'


def test_a_pair_of_nets_of_one_sex_is_one_member(tmp_path):
  names = _of_sexes(tmp_path / 'run', 300)
  both, pair = map(run_lib.read_member, names)
  assert pair.name == 'run:boys+girls' and pair.train == both.train
  assert sorted(pair.rows['id']) == sorted(both.rows['id'])
  ensemble.main([*names, f'--out={tmp_path / "out"}', '--weights=mae'])
  result = json.loads((tmp_path / 'out/ensemble.json').read_text())
  assert [member['left_out'] for member in result['members']] == [0, 0]
  assert 'by_sex' not in result['members'][0]  # some 45 films of a sex
  weights = [member['mae'] for member in result['members']]
  stored = _stored(tmp_path / 'out')
  parts = {
    stage: _stored(tmp_path / 'run' / stage)
    for stage in ('both', 'boys', 'girls')
  }
  probability = run_lib.distributions(pair, pair.rows['id'])
  expected = pair.rows['prediction'].round()
  assert (np.abs(probability.argmax(1) - expected) <= 1)[
    (expected >= 0) & (expected < 240)
  ].all()
  for film, row in stored.items():
    if row['split'] == 'test':
      own = parts['boys' if row['sex'] == 'M' else 'girls'][film]
      ages = [float(r['age_predicted']) for r in (parts['both'][film], own)]
      assert float(row['age_predicted']) == pytest.approx(
        np.dot(weights, ages), abs=2e-4
      )
  # The folder of the ensemble finds the films that both parts trained on.
  assert run_lib.read_run(str(tmp_path / 'out')).train == both.train


def test_each_sex_has_weights_where_both_have_films(tmp_path, capsys):
  names = _of_sexes(tmp_path / 'run', 1700)
  members = [run_lib.read_member(name) for name in names]
  result, rows = ensemble.combine(members, 'mae')
  films = run_lib.align_predictions(members)
  validation = films['split'][0] == 'validation'
  error = films['prediction'] - films['age']
  for sex, number in (('F', -1), ('M', 1)):
    of = films['sex'] == number
    assert np.sum(of & validation) > 200
    own = [member['by_sex'][sex]['mae'] for member in result['members']]
    grid = [np.array([w, 1 - w]) for w in np.linspace(0, 1, 201)]
    losses = [np.abs(w @ error[:, of & validation]).mean() for w in grid]
    assert own == pytest.approx(grid[int(np.argmin(losses))], abs=0.02)
    test = of & (films['split'][0] == 'test')
    np.testing.assert_allclose(
      rows['prediction'][test], own @ films['prediction'][:, test]
    )
  by_sex = [member['by_sex'] for member in result['members']]
  assert by_sex[0]['F']['mae'] > 0.8 and by_sex[1]['M']['mae'] > 0.7
  ensemble.main([*names, f'--out={tmp_path / "out"}', '--weights=mae'])
  assert 'weights, girls' in capsys.readouterr().out
  # Nets of both sexes keep one set of weights, as ever.
  result, _ = ensemble.combine([members[0], members[0]], 'mae')
  assert 'by_sex' not in result['members'][0]


def test_two_nets_of_one_film_are_no_pair(tmp_path):
  _of_sexes(tmp_path / 'run', 60)
  with pytest.raises(ValueError, match=r'Expected boys\+both to be stages of'):
    run_lib.read_member(str(tmp_path / 'run'), 'boys+both')


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


@pytest.fixture
def untested(tmp_path):
  """Function that reads a run without test films."""
  fractions = {'validation_fraction': 0.3, 'test_fraction': 0.0}

  def read(name, seed):
    folder = tmp_path / name
    table = fake_run.films(200)
    fake_run.write(folder, table, seed=seed, sd=10, fractions=fractions)
    return run_lib.read_run(str(folder))

  return read


def test_an_ensemble_without_test_films_says_so(untested):
  result, rows = ensemble.combine([untested('a', 1), untested('b', 2)], 'mae')
  assert list(result['splits']) == ['validation']
  assert set(rows['split']) == {'validation'}
  assert 'The run has no test films' in ensemble.ensemble_table(result)


def test_what_was_fitted_to_other_predictions_is_removed(
  folder, tmp_path, capsys
):
  """A calibration holds for the nets that it was fitted to, and no others."""
  out = tmp_path / 'both'
  members = [run_lib.read_run(str(folder / name)) for name in ('a', 'b')]
  ensemble.write_ensemble(str(out), *ensemble.combine(members, 'mean'))
  for name in ('calibration.json', 'quality.npz', 'sites/here.json'):
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text('{}')
  rows = predictions.read_predictions(str(out / 'predictions.csv'))
  ends = np.stack([rows['prediction'] - 9, rows['prediction'] + 9], 1)
  predictions.fill_intervals(str(out), rows['id'], ends)
  before = (out / 'predictions.csv').read_bytes()
  ensemble.write_ensemble(str(out), *ensemble.combine(members, 'mean'))
  assert (out / 'predictions.csv').read_bytes() == before
  assert (out / 'sites/here.json').exists() and not capsys.readouterr().out
  ensemble.write_ensemble(str(out), *ensemble.combine([members[0]] * 2, 'mean'))
  said = 'calibration.json, quality.npz, sites were fitted to other predictions'
  assert said in capsys.readouterr().out
  left = {path.name for path in out.iterdir()}
  assert not left & {'calibration.json', 'quality.npz', 'sites'}


def test_a_damaged_table_is_written_anew(folder, tmp_path, capsys):
  out = tmp_path / 'both'
  members = [run_lib.read_run(str(folder / name)) for name in ('a', 'b')]
  ensemble.write_ensemble(str(out), *ensemble.combine(members, 'mean'))
  before = (out / 'predictions.csv').read_bytes()
  (out / 'calibration.json').write_text('{}')
  (out / 'predictions.csv').write_bytes(before[:40])
  ensemble.write_ensemble(str(out), *ensemble.combine(members, 'mean'))
  assert (out / 'predictions.csv').read_bytes() == before
  assert 'calibration.json were fitted to other' in capsys.readouterr().out
