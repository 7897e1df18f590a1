"""The report of a tiny made-up run: complete, self-contained, repeatable."""

import csv
import json
import os
import pathlib

import numpy as np
import pytest
import report_run

from boneage_jax.evaluation import plot_style
from boneage_jax.report import write as report_write


def test_json_has_the_promised_keys(run):
  figures, folder = run
  stored = json.loads(report_run.read(folder, 'report.json'))
  assert stored == figures
  assert list(stored['splits']) == ['test', 'validation']
  keys = 'n mae mae_ci95 rmse bias within_6 within_12 within_24 by_sex by_age'
  for row in stored['splits'].values():
    assert {*keys.split(), 'by_stage', 'collapse'} <= set(row)
  data = stored['data']
  assert (data['films'], data['of'], data['subset']) == (
    report_run.FILMS,
    12611,
    True,
  )
  assert data['label_file_sha256'] == 'ab' * 32
  assert data['label_files']['test'] == {
    'file': 'test.xlsx',
    'sha256': 'cd' * 32,
  }
  assert data['split'] == 'by film id'
  assert stored['regions']['found']['carpal'] == {
    'films': report_run.FILMS,
    'found': report_run.FILMS - 1,
  }
  assert stored['regions']['coverage']['train']['carpal']['n'] == 5


def test_references_are_compared_on_the_same_films(run):
  figures, folder = run
  rows = list(
    csv.DictReader(report_run.read(folder, 'predictions.csv').splitlines())
  )
  test = [r for r in rows if r['split'] == 'test']
  median = {'F': 90.0, 'M': 130.0}
  mae = np.mean([abs(median[r['sex']] - float(r['age_true'])) for r in test])
  row = figures['references']['sex_median']['test']
  assert row['mae'] == pytest.approx(mae, abs=0.01)
  own = figures['splits']['test']['mae']
  assert row['difference'] == pytest.approx(own - row['mae'])
  assert set(figures['references']) == {'localizer', 'sex_median'}


def test_predictions_have_one_row_per_film(run):
  _, folder = run
  rows = list(
    csv.DictReader(report_run.read(folder, 'predictions.csv').splitlines())
  )
  assert len({r['id'] for r in rows}) == report_run.FILMS
  found = {r['id']: r['regions_found'] for r in rows}
  assert found['1003'] == '0' and found['1000'] == '1'


def test_intervals_hold_the_validation_films_and_are_judged_on_test(run):
  figures, folder = run
  rows = list(
    csv.DictReader(report_run.read(folder, 'predictions.csv').splitlines())
  )
  column = lambda name: np.array([float(r[name]) for r in rows])
  fitted = np.array([r['split'] == 'validation' for r in rows])
  error = np.abs(column('age_predicted') - column('age_true'))
  assert fitted.sum() == 36  # 18 of a sex are too few for groups
  reach = np.sort(error[fitted])[34 - 1]  # ceil(0.9 * 37)-th smallest
  np.testing.assert_allclose(
    column('hi90') - column('age_predicted'), reach, atol=0.03
  )
  low = np.maximum(column('age_predicted') - reach, 0)
  np.testing.assert_allclose(column('lo90'), low, atol=0.03)
  covered = figures['splits']['test']['covered_90']
  assert covered == np.mean(error[~fitted] <= reach)
  assert 'covered_90' not in figures['splits']['validation']
  page = report_run.read(folder, 'report.html')
  assert f'hold the true age of {100 * covered:.1f} % of the test' in page


def test_few_validation_films_give_no_intervals(tmp_path):
  workdir = report_run.workdir(tmp_path)
  path = tmp_path / 'assessor/predictions.csv'
  path.write_text(
    ''.join(path.read_text().splitlines(True)[: 1 + report_run.TEST + 18])
  )
  figures = report_run.write(workdir, load_film=None)
  assert figures['splits']['validation']['n'] == 18
  assert 'covered_90' not in figures['splits']['test']
  rows = csv.DictReader(
    report_run.read(tmp_path / 'report', 'predictions.csv').split()
  )
  assert {row['lo90'] for row in rows} == {''}


def test_a_run_without_test_films_says_so(tmp_path, run):
  workdir = report_run.workdir(tmp_path)
  path = tmp_path / 'assessor/predictions.csv'
  lines = path.read_text().splitlines(True)
  path.write_text(''.join([lines[0], *lines[1 + report_run.TEST :]]))
  figures = report_run.write(workdir, load_film=None)
  assert figures['headline'] == 'validation'
  assert list(figures['splits']) == ['validation']
  said = 'The run has no test films: its figures are of validation films.'
  assert figures['alarms'][0] == said
  assert said in report_run.read(tmp_path / 'report', 'report.html')
  assert said in report_write.report_table(figures)
  assert said not in report_write.report_table(run[0])


def test_the_same_run_gives_the_same_files(run):
  _, folder = run
  path = pathlib.Path(folder)
  before = {file.name: file.read_bytes() for file in path.iterdir()}
  report_run.write(str(path.parent))
  after = {file.name: file.read_bytes() for file in path.iterdir()}
  assert before == after  # and no temporary file stays


def test_table(run):
  figures, _ = run
  table = report_write.report_table(figures)
  assert 'validation' in table and 'sex median, test' in table
  assert 'ALARM: Region carpal' in table
  girls = figures['splits']['test']['by_sex']['F']
  assert figures['splits']['test']['n'] >= 10 > girls['n']
  test = table.partition('\nvalidation ')[0]
  rows = {line[:18].strip(): line for line in test.splitlines()}
  assert ' to ' in rows['test'] and ' to ' not in rows['girls']


def test_a_run_with_nothing_but_predictions(tmp_path):
  workdir = report_run.workdir(tmp_path)
  for name in ('distributions.npz', 'metrics.jsonl'):
    os.remove(tmp_path / 'assessor' / name)
  os.remove(tmp_path / 'localizer/metrics.jsonl')
  figures = report_run.bare(workdir)
  assert figures['regions'] == {} and figures['data'] == {}
  assert figures['references'] == {} and figures['alarms'] == []
  page = report_run.read(tmp_path / 'report', 'report.html')
  assert 'True age' in page and 'Training of' not in page


def test_collapse_is_an_alarm(tmp_path, monkeypatch):
  monkeypatch.setattr(plot_style, 'png', lambda draw, dark=False: b'')
  predict = np.where(np.arange(report_run.FILMS) % 2, 130.0, 110.0)
  figures = report_run.write(
    report_run.workdir(tmp_path, predict), load_film=None
  )
  assert figures['alarms'][0].startswith('Collapsed predictions on test')
  assert 'role="alert">Collapsed' in report_run.read(
    tmp_path / 'report', 'report.html'
  )


def test_a_film_in_two_splits_is_refused(tmp_path):
  workdir = report_run.workdir(tmp_path)
  with open(tmp_path / 'assessor/predictions.csv', 'a') as file:
    file.write('1000,validation,F,90,91\n')
  with pytest.raises(ValueError, match=r'film 1000 \(in test, validation\)'):
    report_run.write(workdir)


def test_missing_predictions(tmp_path):
  with pytest.raises(ValueError, match='run the stage'):
    report_run.bare(str(tmp_path))


def test_a_distribution_that_is_none_is_refused(tmp_path):
  workdir = report_run.workdir(tmp_path)
  path = tmp_path / 'assessor/distributions.npz'
  with np.load(path) as file:
    stored = {name: file[name] for name in file}
  stored['probability'][:] = 0
  np.savez(path, **stored)
  with pytest.raises(
    ValueError,
    match=f'{report_run.FILMS} of {report_run.FILMS} rows that are none',
  ):
    report_run.bare(workdir)
