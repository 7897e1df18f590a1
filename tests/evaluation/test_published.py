"""Figures of runs beside those of their papers."""

import json
import sys

from absl import flags
import fake_run
from ml_collections import config_flags
import numpy as np
import pages
import pytest

from boneage_jax import evaluate
from boneage_jax.core import config as config_lib
from boneage_jax.core import stages
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
  first['net'] = {
    'name': 'two_stream',
    'a': {'name': 'xception', 'width': 0.25},
    'b': {'name': 'resnet', 'depth': 18, 'width': 1.0, 'endpoint': 'stage2'},
    'output': 'bins',
  }
  last = net | {'pretrained': {'backbone': {'path': ''}}}
  mean = {'job': 'ensemble', 'members': ['other+assessor', 'assessor']}
  content |= {'assessor': first, 'other': last, 'mean': mean}
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


def test_the_nets_of_a_run_stand_beside_the_words_of_its_paper(tmp_path):
  path = written(tmp_path / 'run', stages=('assessor', 'other'))
  result = gathered(path)
  nets = [
    'xception, width 0.25',
    'resnet, depth 18, width 1.0, endpoint stage2',
  ]
  assert [row['nets'] for row in result['rows']] == [nets, [], nets]
  text = published.published_table([result])
  assert f'\n  with sex: {nets[0]}; {nets[1]}\n' in text
  assert '\n  without: ' not in text
  mean = stages.Stage(run_lib.read_config(path), 'mean', path)
  assert published.age_nets(mean) == nets  # each once


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


def silent(folder):
  return str(fake_run.write(folder, fake_run.films(200)))


def test_a_run_that_quotes_no_paper_is_told_how_to(tmp_path):
  with pytest.raises(SystemExit) as stop:
    evaluate.main(['published', silent(tmp_path / 'a'), silent(tmp_path / 'b')])
  text = str(stop.value.code)
  assert text.startswith('Error: Expected a run that quotes a paper, got a, b,')
  for part in (
    *('--config.report.paper=', '--config.report.published='),
    *('finished stages stay', 'docs/how-to/papers.md', 'lists the configs'),
  ):
    assert part in text
  with pytest.raises(SystemExit, match='No run in'):
    evaluate.main(['published', str(tmp_path)])


def test_runs_that_quote_nothing_are_named_below_the_others(tmp_path, capsys):
  quotes = written(tmp_path / 'quotes')
  out = tmp_path / 'out.json'
  others = [silent(tmp_path / name) for name in ('a', 'b')]
  evaluate.main(['published', others[0], quotes, others[1], f'--out={out}'])
  *above, last = capsys.readouterr().out.strip().splitlines()
  assert '\n'.join(above).strip() == published.published_table(
    [gathered(quotes)]
  )
  assert last.startswith('These quote no paper: a, b. To quote one, give ')
  assert json.loads(out.read_text()) == [gathered(quotes)]


@pytest.mark.parametrize(
  ('config', 'paper', 'there'),
  [
    ('larson', 'Larson 2017', True),
    ('whole_image', 'Larson 2017', False),  # quoted on the command line
    ('my_own', 'Larson 2017', False),
  ],
)
def test_a_file_is_named_that_says_what_differs(tmp_path, config, paper, there):
  path = written(tmp_path / 'run', config, paper)
  result = gathered(path)
  assert 'says what differs' not in published.published_table([result])
  text = published.published_table([result | {'differs': []}])
  assert (f'configs/{config}.py says what differs from it.' in text) == there
  assert '\n\n\n' not in text


def test_a_source_may_end_in_a_full_stop(tmp_path):
  result = gathered(written(tmp_path / 'run'))
  result['rows'][0]['figures'][0]['source'] = 'X et al.'
  assert f'(a) {BOYS}; X et al.\n' in published.published_table([result])


def test_the_command_line_of_the_page_quotes_a_paper(monkeypatch):
  page = pages.ROOT / 'docs/how-to/papers.md'
  (words,) = (
    command
    for command in pages.commands(page.read_text('utf-8'))
    if command[0] == 'boneage_jax.main'
  )
  values = flags.FlagValues()
  monkeypatch.setattr(config_lib, 'FLAGS', values)
  config_flags.DEFINE_config_file(
    'config', None, lock_config=True, flag_values=values
  )
  monkeypatch.setattr(sys, 'argv', words)
  config_lib.parse(words)
  section = values.config.report
  assert section.paper == 'Larson 2017'
  figure = (6.0, '200 test films', 'Larson 2017')
  assert section.published == (('whole_image', 'ResNet-50', (figure,)),)
  published.check(stages.Stage(values.config, 'report', ''))
