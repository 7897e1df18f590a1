"""Figures of runs beside those of their papers."""

import json

import fake_run
import numpy as np
import pytest

from boneage_jax import evaluate
from boneage_jax.evaluation import published
from boneage_jax.runs import predictions
from boneage_jax.runs import run as run_lib

BOYS, ALL = 'RSNA, boys', 'RSNA, 200 films'


def written(folder, config='pan', paper='Pan 2020', stages=('assessor',)):
  """Write a run that quotes a paper, with predictions of its first stages."""
  for k, stage in enumerate(stages):
    fake_run.write(folder, fake_run.films(200), noise=6 + 6 * k, stage=stage)
  content = json.loads((folder / 'config.json').read_text())
  content['name'] = config
  net = {'job': 'train', 'input': {'builder_config': 'px'}, 'pretrained': {}}
  first = net | {'pretrained': {'a': {'path': 'A'}, 'b': {'path': ''}}}
  last = net | {'pretrained': {'backbone': {'path': ''}}}
  content |= {'assessor': first, 'other': last}
  content['report'] |= {
    'paper': paper,
    'published': [
      ['assessor', 'with sex', [[6.3, BOYS, 'X 2020'], [5, ALL, 'Y 2021']]],
      ['other', 'without', []],
      ['assessor', 'the same', [[6.1, BOYS, 'X 2020']]],
    ],
    'differs': [['films', 'full size', 'half size']],
  }
  (folder / 'config.json').write_text(json.dumps(content))
  return str(folder)


def gathered(path):
  return published.beside_paper(run_lib.read_config(path), path)


def line(text, start):
  """The words of the one line that starts so."""
  (found,) = [x for x in text.splitlines() if x.startswith(start)]
  return found[len(start) :].split()


def test_rows_have_our_errors_and_the_papers(tmp_path):
  path = written(tmp_path / 'run', stages=('assessor', 'other'))
  result = gathered(path)
  assert [row['stage'] for row in result['rows']] == [
    *('assessor', 'other', 'assessor')
  ]
  for row in result['rows']:
    own = predictions.read_predictions(f'{path}/{row["stage"]}/predictions.csv')
    for split in ('test', 'validation'):
      of = own['split'] == split
      error = np.abs(own['prediction'] - own['age'])[of]
      assert row[split]['mae'] == pytest.approx(error.mean())
      assert row[split]['n'] == of.sum() and len(row[split]['mae_ci95']) == 2
  assert result['rows'][0]['test'] == result['rows'][2]['test']
  assert result['rows'][0]['figures'][1] == {
    'mae': 5,
    'films': ALL,
    'source': 'Y 2021',
  }
  assert result['random'] == ['assessor.b', 'other']


def test_each_paper_has_a_heading_and_its_own_films(tmp_path):
  paths = [
    written(tmp_path / 'one'),
    written(tmp_path / 'two', 'larson', 'Larson 2017'),
    written(tmp_path / 'three'),
  ]
  text = published.published_table([gathered(path) for path in paths])
  assert text.count('Pan 2020\n========\n') == 1
  pan, _, larson = text.partition('Larson 2017\n===========\n')
  assert 'one: made up' in pan and 'three: made up' in pan
  assert 'two: made up' in larson and 'made up' not in larson[40:80]
  for part in (pan, larson):
    assert f'(a) {BOYS}; X 2020.\n(b) {ALL}; Y 2021.' in part
  words = line(larson, 'with sex')
  assert words[-4:] == ['6.30', '(a),', '5.00', '(b)']
  assert line(larson, 'the same')[-2:] == ['6.10', '(a)']
  result = gathered(paths[1])
  assert words[:2] == [
    str(result['rows'][0]['test']['n']),
    f'{result["rows"][0]["test"]["mae"]:.2f}',
  ]
  assert line(larson, 'films   ') == ['full', 'size', 'half', 'size']
  assert 'From random weights: assessor.b, other.' in larson


def test_rows_that_have_not_run_stay_empty(tmp_path):
  result = gathered(written(tmp_path / 'run'))
  assert 'test' not in result['rows'][1] and 'test' in result['rows'][0]
  text = published.published_table([result])
  assert line(text, 'without') == []
  assert 'No predictions yet: other.' in text


def test_command(tmp_path, capsys):
  path = written(tmp_path / 'run')
  evaluate.main(['published', path, f'--out={tmp_path}/out.json'])
  assert 'Pan 2020\n========' in capsys.readouterr().out
  assert json.loads((tmp_path / 'out.json').read_text()) == [gathered(path)]


def test_a_run_that_quotes_no_paper_is_named(tmp_path):
  path = fake_run.write(tmp_path / 'run', fake_run.films(200))
  with pytest.raises(SystemExit, match='that of run, does not'):
    evaluate.main(['published', str(path)])
  with pytest.raises(SystemExit, match='No run in'):
    evaluate.main(['published', str(tmp_path)])
