"""The report of a tiny made-up run: complete, self-contained, repeatable."""

import csv
import dataclasses
import html.parser
import json
import os
import pathlib
import re

import numpy as np
import pytest

from boneage_jax.evaluation import plot_style
from boneage_jax.imaging import boxes
from boneage_jax.report import write as report_write
from boneage_jax.runs import lineage
from boneage_jax.runs import located

CONFIG = {'name': 'tiny', 'stages': ('localizer', 'assessor')}
FILMS, TEST = 48, 12  # the others validate
_MISSED = boxes.Region(boxes.WHOLE_FILM, 0.0, False)


def _film(film_id):
  rng = np.random.default_rng(int(film_id))
  return rng.integers(0, 255, (80, 60), dtype=np.uint8)


def _workdir(tmp_path, predict=None):
  """Write the files that the stages of a run leave behind."""
  rng = np.random.default_rng(0)
  ids, sex = (np.arange(FILMS) + 1000).astype(str), np.arange(FILMS) % 2 * 2 - 1
  age = rng.uniform(20, 200, FILMS)
  prediction = age + rng.normal(0, 6, FILMS) if predict is None else predict
  for name in ('assessor', 'localizer', 'locate', 'data'):
    os.makedirs(tmp_path / name)
  with open(tmp_path / 'assessor/predictions.csv', 'w') as file:
    file.write('id,split,sex,age_true,age_predicted\n')
    for k in range(FILMS):
      split = 'test' if k < TEST else 'validation'
      row = (ids[k], split, 'M' if sex[k] > 0 else 'F', age[k], prediction[k])
      file.write(','.join(map(str, row)) + '\n')
  months = np.arange(240)
  mass = np.exp(-0.5 * ((months - prediction[:, None]) / 9) ** 2)
  mass /= mass.sum(axis=1, keepdims=True)
  np.savez(
    tmp_path / 'assessor/distributions.npz',
    id=ids,
    probability=mass.astype(np.float16),
  )
  for name in ('assessor', 'localizer'):
    with open(tmp_path / name / 'metrics.jsonl', 'w') as file:
      for step in range(1, 9):
        row = {'step': step, 'epoch': step / 4, 'train_loss': 9 / step}
        row |= {'validation_mae': 30 / step} if step % 4 == 0 else {}
        file.write(json.dumps(row) + '\n')
  carpal = boxes.Region((0.3, 0.6, 0.7, 0.9), 0.5, True)
  rows = [(i, 'carpal', _MISSED if i == '1003' else carpal) for i in ids]
  boxes.write_regions(str(tmp_path / 'locate/regions.csv'), rows)
  maps = rng.random((FILMS, 1, 5, 5)).astype(np.float16)
  np.savez(tmp_path / 'locate/maps.npz', id=ids, maps=maps)
  annotated = {'carpal': {'n': 5, 'found': 1.0, 'centre_in_wrist': 0.8}}
  coverage = {'all': annotated, 'train': annotated, 'test': {}}
  (tmp_path / 'locate/coverage.json').write_text(json.dumps(coverage))
  build = {
    'films': FILMS,
    'of': 12611,
    'bad': [],
    'label_file': 'labels.csv',
    'label_file_sha256': 'ab' * 32,
    'label_files': {
      'train': {'file': 'labels.csv', 'sha256': 'ab' * 32},
      'test': {'file': 'a/folder/test.xlsx', 'sha256': 'cd' * 32},
    },
    'name': f'RSNA training, subset: {FILMS} of 12611 films',
  }
  (tmp_path / 'data/build.json').write_text(json.dumps(build))
  return str(tmp_path)


def _write(workdir, **changes):
  regions, coverage, heat = located.read_located(workdir, 'locate')
  inputs = report_write.ReportInputs(
    workdir,
    'assessor',
    CONFIG,
    regions=regions,
    coverage=coverage,
    heat=heat,
    data=lineage.data_set(os.path.join(workdir, 'data'), 'by film id'),
    references={
      'localizer': {str(1000 + k): 100.0 for k in range(FILMS)},
      'sex_median': {
        str(1000 + k): 130.0 if k % 2 else 90.0 for k in range(FILMS)
      },
    },
    load_film=_film,
  )
  return report_write.write_report(dataclasses.replace(inputs, **changes))


def bare(workdir):
  """Write the report of a run that left nothing but predictions."""
  return report_write.write_report(
    report_write.ReportInputs(workdir, 'assessor', {})
  )


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  workdir = _workdir(tmp_path_factory.mktemp('run'))
  figures = _write(workdir)
  return figures, os.path.join(workdir, 'report')


def _read(folder, name):
  with open(os.path.join(folder, name), encoding='utf-8') as file:
    return file.read()


def test_json_has_the_promised_keys(run):
  figures, folder = run
  stored = json.loads(_read(folder, 'report.json'))
  assert stored == figures
  assert list(stored['splits']) == ['test', 'validation']
  keys = 'n mae mae_ci95 rmse bias within_6 within_12 within_24 by_sex by_age'
  for row in stored['splits'].values():
    assert {*keys.split(), 'by_stage', 'collapse'} <= set(row)
  data = stored['data']
  assert (data['films'], data['of'], data['subset']) == (FILMS, 12611, True)
  assert data['label_file_sha256'] == 'ab' * 32
  assert data['label_files']['test'] == {
    'file': 'test.xlsx',
    'sha256': 'cd' * 32,
  }
  assert data['split'] == 'by film id'
  assert stored['regions']['found']['carpal'] == {
    'films': FILMS,
    'found': FILMS - 1,
  }
  assert stored['regions']['coverage']['train']['carpal']['n'] == 5


def test_references_are_compared_on_the_same_films(run):
  figures, folder = run
  rows = list(csv.DictReader(_read(folder, 'predictions.csv').splitlines()))
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
  rows = list(csv.DictReader(_read(folder, 'predictions.csv').splitlines()))
  assert len({r['id'] for r in rows}) == FILMS
  found = {r['id']: r['regions_found'] for r in rows}
  assert found['1003'] == '0' and found['1000'] == '1'


def test_intervals_hold_the_validation_films_and_are_judged_on_test(run):
  figures, folder = run
  rows = list(csv.DictReader(_read(folder, 'predictions.csv').splitlines()))
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
  page = _read(folder, 'report.html')
  assert f'hold the true age of {100 * covered:.1f} % of the test' in page


def test_few_validation_films_give_no_intervals(tmp_path):
  workdir = _workdir(tmp_path)
  path = tmp_path / 'assessor/predictions.csv'
  path.write_text(''.join(path.read_text().splitlines(True)[: 1 + TEST + 18]))
  figures = _write(workdir, load_film=None)
  assert figures['splits']['validation']['n'] == 18
  assert 'covered_90' not in figures['splits']['test']
  rows = csv.DictReader(_read(tmp_path / 'report', 'predictions.csv').split())
  assert {row['lo90'] for row in rows} == {''}


def test_a_run_without_test_films_says_so(tmp_path, run):
  workdir = _workdir(tmp_path)
  path = tmp_path / 'assessor/predictions.csv'
  lines = path.read_text().splitlines(True)
  path.write_text(''.join([lines[0], *lines[1 + TEST :]]))
  figures = _write(workdir, load_film=None)
  assert figures['headline'] == 'validation'
  assert list(figures['splits']) == ['validation']
  said = 'The run has no test films: its figures are of validation films.'
  assert figures['alarms'][0] == said
  assert said in _read(tmp_path / 'report', 'report.html')
  assert said in report_write.report_table(figures)
  assert said not in report_write.report_table(run[0])


class _Links(html.parser.HTMLParser):
  """Collect what a page would load, and pictures without a description."""

  def __init__(self):
    super().__init__()
    self.links, self.bare, self.open, self.text = [], 0, [], ''

  def handle_starttag(self, tag, attrs):
    values = dict(attrs)
    self.links += [values[k] for k in ('src', 'srcset', 'href') if k in values]
    self.bare += tag == 'img' and not values.get('alt')
    if tag not in ('meta', 'img', 'source', 'br', 'line', 'rect', 'polygon'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    if tag not in ('line', 'rect', 'polygon'):
      assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


def test_page_is_self_contained(run):
  _, folder = run
  page = _read(folder, 'report.html')
  parser = _Links()
  parser.feed(page)
  assert parser.links and not parser.open and not parser.bare
  assert all(link.startswith('data:image/') for link in parser.links)
  assert 'http' not in re.sub(r'base64,[\w+/=]+', '', page)
  assert 'url(' not in page and '@import' not in page and '$' not in page


def test_page_says_what_it_must(run):
  figures, folder = run
  page = _read(folder, 'report.html')
  assert f'{figures["splits"]["test"]["mae"]:.2f}' in page
  assert f'subset: {FILMS} of 12611 films' in page
  for text in ('(train) sha256 abababababab', '(test) sha256 cdcdcdcdcdcd'):
    assert text in page
  assert 'annotated boxes, train' in page and 'boxes, test' not in page
  assert 'Region carpal not found on 1 of 48 films' in page
  assert page.count('aria-label="Predicted distribution') == 9
  for name in ('scatter', 'bland_altman', 'training_localizer'):
    with open(os.path.join(folder, f'{name}.png'), 'rb') as file:
      assert file.read(4) == b'\x89PNG'


def test_the_same_run_gives_the_same_files(run):
  _, folder = run
  path = pathlib.Path(folder)
  before = {file.name: file.read_bytes() for file in path.iterdir()}
  _write(str(path.parent))
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
  workdir = _workdir(tmp_path)
  for name in ('distributions.npz', 'metrics.jsonl'):
    os.remove(tmp_path / 'assessor' / name)
  os.remove(tmp_path / 'localizer/metrics.jsonl')
  figures = bare(workdir)
  assert figures['regions'] == {} and figures['data'] == {}
  assert figures['references'] == {} and figures['alarms'] == []
  page = _read(tmp_path / 'report', 'report.html')
  assert 'True age' in page and 'Training of' not in page


def test_collapse_is_an_alarm(tmp_path, monkeypatch):
  monkeypatch.setattr(plot_style, 'png', lambda draw, dark=False: b'')
  predict = np.where(np.arange(FILMS) % 2, 130.0, 110.0)
  figures = _write(_workdir(tmp_path, predict), load_film=None)
  assert figures['alarms'][0].startswith('Collapsed predictions on test')
  assert 'role="alert">Collapsed' in _read(tmp_path / 'report', 'report.html')


def test_a_film_in_two_splits_is_refused(tmp_path):
  workdir = _workdir(tmp_path)
  with open(tmp_path / 'assessor/predictions.csv', 'a') as file:
    file.write('1000,validation,F,90,91\n')
  with pytest.raises(ValueError, match=r'film 1000 \(in test, validation\)'):
    _write(workdir)


def test_missing_predictions(tmp_path):
  with pytest.raises(ValueError, match='run the stage'):
    bare(str(tmp_path))


def test_whatever_a_run_says_is_escaped(tmp_path):
  workdir = _workdir(tmp_path)
  nasty = '<script>alert("1")</script> & \'more\''
  regions = {str(1000 + k): {nasty: _MISSED} for k in range(FILMS)}
  data = {
    'name': nasty,
    'split': nasty,
    'label_files': {nasty: {'file': nasty, 'sha256': nasty}},
  }
  figures = _write(
    workdir,
    config={nasty: nasty},
    data=data,
    regions=regions,
    coverage={nasty: {nasty: {nasty: 1.0}}},
    references={nasty: {str(1000 + k): 100.0 for k in range(FILMS)}},
    produced={nasty: nasty},
  )
  assert nasty in figures['alarms'][0]
  page = _read(tmp_path / 'report', 'report.html')
  assert '<script' not in page and 'alert(&#34;1&#34;)' in page
  parser = _Links()
  parser.feed(page)
  assert not parser.open
  assert parser.text.count(nasty) > 15  # each place shows it as it is


def test_a_distribution_that_is_none_is_refused(tmp_path):
  workdir = _workdir(tmp_path)
  path = tmp_path / 'assessor/distributions.npz'
  with np.load(path) as file:
    stored = {name: file[name] for name in file}
  stored['probability'][:] = 0
  np.savez(path, **stored)
  with pytest.raises(
    ValueError, match=f'{FILMS} of {FILMS} rows that are none'
  ):
    bare(workdir)
