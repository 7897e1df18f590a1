"""Rows of Chen 2020's table, as the config describes them."""

import pytest

from configs import attention_ldl


@pytest.mark.parametrize(
  ('row', 'found', 'cut'),
  [
    ('o', '', ()),
    ('h', 'hand', ('hand',)),
    ('r1', 'r1', ('r1',)),
    ('r1+r2', 'r1 r2', ('r1', 'r2')),
    ('h+r1+e', 'hand r1', ('hand', 'r1', 'erased')),
    ('h+r1+r2', 'hand r1 r2', ('hand', 'r1', 'r2')),
  ],
)
def test_a_row_finds_no_more_than_it_needs(row, found, cut):
  for size in ('', 'half,', 'thumbnails,', 'phantom,'):
    config = attention_ldl.get_config(size + row)
    expected = ['prepare']
    before = ''
    for name in found.split():
      # At half size the net that finds the hand finds R1, too.
      owner = 'hand' if (size, name) == ('half,', 'r1') else name
      assert config[name].localizer == f'{owner}_localizer'
      if config[name].localizer not in expected:
        expected.append(config[name].localizer)
      expected.append(name)
      assert config[name].previous == before
      before = name
    assert list(config.stages) == [*expected, 'assessor', 'report']
    assert (
      config.assessor.input.crops_from == config.report.regions_from == before
    )
    assert config.assessor.input.regions == cut
    if before:
      assert config[before].crops == cut


def test_one_row_at_a_time():
  with pytest.raises(ValueError, match='Expected one row in'):
    attention_ldl.get_config('h,r1,phantom')
  assert attention_ldl.get_config('h+r1+r2').stages == (
    attention_ldl.get_config().stages
  )


def test_sizes_that_are_trained_on_real_films_load_and_freeze():
  config = attention_ldl.get_config('half,table')
  config.weights.assessors = 'xception.h5'  # as from the command line
  rows = [s for name, s in config.items() if name.startswith('row_')]
  for section in rows:
    assert section.pretrained.backbone.path == 'xception.h5'
  assert not config.r2_localizer.pretrained.backbone.path
  for section in (config.hand_localizer, config.r2_localizer, *rows):
    assert section.net.backbone.endpoint == 'mixed7'
    assert 'mixed[012]' in section.optimizer.freeze
  assert len(rows) == 9
