"""A made-up run calibrated: what is written, and whether it holds."""

import csv
import hashlib
import json
import shutil

import fake_run
import numpy as np
import pytest

from boneage_jax.data import groups
from boneage_jax.evaluation import calibrate
from boneage_jax.evaluation import calibration_views
from boneage_jax.evaluation import plot_style
from boneage_jax.inference import intervals
from boneage_jax.runs import run as run_lib

NOISE, SAID = 8.0, 14.0


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('calibration') / 'run'
  table = fake_run.films(1500)
  table['age'] = np.clip(table['age'], 30, 200)  # bins hold the noise
  return fake_run.write(folder, table, noise=NOISE, sd=SAID)


@pytest.fixture(scope='module')
def written(run, tmp_path_factory):
  out = tmp_path_factory.mktemp('out')
  calibrate.main([str(run), f'--out={out}', '--quality_films=0'])
  return json.loads((out / 'calibration.json').read_text()), out


def _rows(out, name='intervals.csv'):
  with open(out / name, newline='') as file:
    return list(csv.DictReader(file))


def test_intervals_are_written_and_hold(run, written):
  result, out = written
  rows = _rows(out)
  head = (
    'id,split,sex,age_true,age_predicted,lo80,hi80,lo90,hi90,lo95,hi95,role'
  )
  assert ','.join(rows[0]) == head
  roles = {'validation': 'fitted', 'test': 'judged'}
  assert all(row['role'] == roles[row['split']] for row in rows)
  test = [row for row in rows if row['split'] == 'test']
  for k, level in enumerate((80, 90, 95)):
    inside = [
      float(r[f'lo{level}']) <= float(r['age_true']) <= float(r[f'hi{level}'])
      for r in test
    ]
    share = np.mean(inside)
    assert result['coverage']['covered'][k] == pytest.approx(share, abs=0.01)
    # Two binomials: the films judged, and the quantile from n of a group.
    low, high = result['coverage']['ci95'][k]
    assert low - 0.03 < level / 100 < high + 0.03
  assert result['coverage']['n'] == len(test)
  assert result['films'] == len(rows) - len(test)
  assert result['data']['label_files']['test']['sha256'] == 'cd' * 32


def test_temperature_of_the_known_noise(written):
  result, _ = written
  assert result['temperature'] == pytest.approx((NOISE / SAID) ** 2, rel=0.12)
  before, after = result['nll']
  # Entropy of the normal law of the noise, which no distribution can beat.
  entropy = np.log(NOISE * np.sqrt(2 * np.pi * np.e))
  assert after == pytest.approx(entropy, abs=0.06) and before > after + 0.1
  ways = result['ways']
  assert set(ways) == {'net', 'tempered', *intervals.SCORES}
  assert ways['net']['covered'][0] > 0.9  # said 14 months, meant 8
  assert ways['tempered']['covered'][0] == pytest.approx(0.8, abs=0.05)
  # 80 % of a normal law lie within 1.28 standard deviations.
  assert ways['tempered']['width'][0] == pytest.approx(2.56 * NOISE, rel=0.08)


@pytest.mark.parametrize('score', intervals.SCORES)
def test_the_file_serves_new_films(run, tmp_path, score):
  # As `predict` does: only calibration.json and what the net says are at hand.
  options = [f'--score={score}', f'--out={tmp_path}', '--quality_films=0']
  calibrate.main([str(run), *options])
  result = json.loads((tmp_path / 'calibration.json').read_text())
  row = _rows(tmp_path)[7]
  film = np.array([row['id']])
  new = {
    'prediction': np.array([float(row['age_predicted'])]),
    'sex': groups.sex_number([row['sex']]),
    'probability': run_lib.distributions(run_lib.read_run(str(run)), film),
  }
  ends = intervals.of_new_films(result, new)
  stored = [float(row[f'{e}{v}']) for v in (80, 90, 95) for e in ('lo', 'hi')]
  np.testing.assert_allclose(ends.reshape(-1), stored, atol=0.006)


def test_halves_of_the_test_films(run):
  read = run_lib.read_run(str(run))
  result, films = calibrate.calibrate(read, 'normalised', 'half_of_test')
  test = films['split'] == 'test'
  for k in np.flatnonzero(test)[:200]:
    text = f'calibration {films["id"][k]}'.encode()
    fitted = hashlib.sha256(text).digest()[0] % 2 == 0
    assert films['role'][k] == ('fitted' if fitted else 'judged')
  assert np.all(films['role'][~test] == '')
  n = np.sum(films['role'] == 'judged')
  assert 0.4 < n / test.sum() < 0.6
  assert result['films'] + n == test.sum()
  # Both calibrations are judged on the same films.
  assert result['ways']['from_validation']['n'] == n
  only, _ = calibrate.calibrate(read, 'normalised')
  assert 'from_validation' not in only['ways']
  assert result['ways']['from_validation'] != result['ways']['normalised']


def test_a_calibrated_run_says_so_in_its_predictions(run, tmp_path, capsys):
  shutil.copytree(run, tmp_path / 'run')
  folder = tmp_path / 'run/assessor'
  before = _rows(folder, 'predictions.csv')
  assert {row['lo90'] for row in before} == {''}
  calibrate.main([str(tmp_path / 'run'), '--quality_films=0'])
  capsys.readouterr()
  interval = {row['id']: (row['lo90'], row['hi90']) for row in _rows(folder)}
  after = _rows(folder, 'predictions.csv')
  for row, then in zip(after, before, strict=True):
    assert (row['lo90'], row['hi90']) == interval[row['id']]
    assert row == then | {name: row[name] for name in ('lo90', 'hi90')}


def test_a_net_without_bins(run, tmp_path):
  shutil.copytree(run, tmp_path / 'run')
  (tmp_path / 'run/assessor/distributions.npz').unlink()
  read = run_lib.read_run(str(tmp_path / 'run'))
  result, _ = calibrate.calibrate(read)
  assert result['temperature'] is None and result['nll'] is None
  assert list(result['ways']) == ['absolute']
  assert 'Temperature' not in calibration_views.table(result)
  with pytest.raises(ValueError, match='no bins'):
    calibrate.calibrate(read, 'quantile', 'half_of_test')


def test_too_few_films(run):
  read = run_lib.read_run(str(run))
  test = {k: v[read.rows['split'] == 'test'] for k, v in read.rows.items()}
  with pytest.raises(ValueError, match='got 0 and'):
    calibrate.calibrate(read._replace(rows=test))
  few = {k: v[:30] for k, v in test.items()}
  with pytest.raises(ValueError, match='needs 19 films'):
    calibrate.calibrate(read._replace(rows=few), calibrate_on='half_of_test')


def test_table_and_plot(written, run, tmp_path, capsys):
  result, out = written
  text = calibration_views.table(result)
  assert text.startswith('run:assessor: made up, subset: 1500 of 9999 films')
  assert 'labels (test) sha256 cdcdcdcdcdcd' in text
  lines = text.splitlines()
  line = next(x for x in lines if x.startswith('conformal, absolute  '))
  covered = result['coverage']['covered'][0]
  assert line.split()[3] == f'{100 * covered:.1f}'
  assert 'Groups by predicted age (calibration films): girls <' in text
  curve = result['reliability']
  assert set(curve) == {'nominal', 'net', 'tempered', *intervals.SCORES}
  gap = np.array(curve['absolute']) - np.array(curve['nominal']) / 100
  assert np.max(np.abs(gap)) < 0.08
  assert (out / 'reliability.png').read_bytes() == plot_style.png(
    calibration_views.reliability(result)
  )
