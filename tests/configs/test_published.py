"""What configs quote of papers, and say that they do otherwise."""

import importlib
import pathlib
import re

import pages
import pytest

from boneage_jax.core import stages
from boneage_jax.evaluation import published

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
QUOTING = [
  path.stem
  for path in sorted(CONFIGS.glob('*.py'))
  if '\nPUBLISHED = ' in path.read_text(encoding='utf-8')
]


def report(name, variant=''):
  config = importlib.import_module(f'configs.{name}').get_config(variant)
  return config, config.report


@pytest.mark.parametrize('name', [*QUOTING, 'ablation'])
def test_all_that_is_quoted_stands_beside_a_stage(name):
  module = importlib.import_module(f'configs.{name}')
  for preset in ('', *module.PRESETS):
    config, section = report(name, preset)
    assert section.paper[-4:].isdigit()
    published.check(stages.Stage(config, 'report', ''))
    assert section.published
    for stage, row, figures in section.published:
      assert stage in config and row
      for mae, films, source in figures:
        assert 2 < mae < 12  # months, not years
        assert films and source[-1] not in '.;'
    assert len({row for _, row, _ in section.published}) == len(
      section.published
    )


def test_quoting_configs_are_found():
  assert {'attention_ldl', 'bonet', 'cascade', 'larson'} <= set(QUOTING)


def test_the_page_lists_the_configs_that_quote_a_paper():
  page = pages.ROOT / 'docs/how-to/papers.md'
  listed = {}
  for row in re.findall(r'^\| (`.*) \|$', page.read_text('utf-8'), re.M):
    files, paper = row.split(' | ')
    listed |= dict.fromkeys(re.findall(r'`(\w+)\.py`', files), paper)
  assert listed == {
    config.name: config.report.paper
    for config in pages.all_configs()
    if config.get('report', {}).get('published')
  }


def test_the_table_of_chen_has_both_versions():
  _, section = report('attention_ldl', 'table')
  quoted = {row: [f[0] for f in of] for _, row, of in section.published}
  assert len(quoted) == 9
  assert quoted['h+r1+r2'] == [4.8, 4.3] and quoted['o'] == [7.3]


def table(name, variant=''):
  _, section = report(name, variant)
  return {what: (paper, here) for what, paper, here in section.differs}


def test_the_letter_of_li_differs_in_nothing():
  assert table('cascade', 'strict') == {}
  assert set(table('cascade')) == {'exchange', 'output', 'loss'}


def test_what_half_size_films_change():
  rows = table('ablation', 'half')
  inception = 'Inception-V3, to mixed7'
  assert rows['carpal stream'] == ('Xception', inception)
  assert rows['metacarpal stream'] == ('ResNet-50', inception)
  assert rows['exchange'] == ('whole', 'none')
  assert 'its attention' not in rows  # CBAM, as the paper
  assert rows['nets of whole films'][1] == 'ResNet-50 and Inception-V3'
  assert rows['their weights'][1] == 'random'
  phantoms = table('ablation', 'phantom')
  assert phantoms['its attention'] == ('cbam', 'none')
  assert phantoms['epochs'] == ('30, 30', '16, 10')


@pytest.mark.parametrize(
  ('preset', 'count', 'cbam', 'same'),
  [('phantom', 10, 'with CBAM', 'exchange_none'), ('half', 8, '', 'assessor')],
)
def test_rows_of_the_ablation(preset, count, cbam, same):
  config, section = report('ablation', preset)
  rows = {row: stage for stage, row, _ in section.published}
  (whole,) = [row for row in rows if row.startswith('exchange whole')]
  assert rows[whole] == same  # one run, two rows
  trained = {s for s in config.stages if config[s].job == 'train'}
  compared = set(rows.values())
  assert compared == trained - {'other_localizer'}
  assert len(section.published) == count
  assert [row for row in rows if 'CBAM' in row] == [cbam] * bool(cbam)


def test_nets_of_the_whole_film_learn_all_their_layers():
  """They have no weights, of which the first blocks could stay."""
  config, _ = report('ablation', 'half')
  assert config.assessor.optimizer.freeze
  for stage in ('whole_film', 'whole_film_inception'):
    assert not config[stage].optimizer.freeze
