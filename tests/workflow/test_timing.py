"""The estimate of what a run takes, against sums made by hand."""

import os
import types

import numpy as np
import pytest
import tiny_cascade

from boneage_jax.core import stages
from boneage_jax.workflow import timing

FILMS = {
  'id': np.arange(100).astype(str),
  'split': np.array(['train'] * 70 + ['validation'] * 20 + ['test'] * 10),
}


def test_two_numbers_of_films_tell_once_and_each():
  assert timing.line((16, 64), [5.2, 10.0]) == timing.Times(
    pytest.approx(3.6), 0.0, pytest.approx(0.1)
  )
  # A machine that is busy at first is no reason for times below 0.
  assert timing.line((16, 64), [6.0, 5.0]) == timing.Times(6.0, 0.0, 0.0)


def test_a_training_is_the_sum_of_its_parts():
  config = tiny_cascade.get_config()
  config.localizer.update(epochs=4, batch_size=8, tta=dict(flip=True))
  stage = stages.Stage(config, 'localizer', '/run')
  times = timing.Times(once=30.0, step=0.5, film=0.01, batch=8)
  # 4 epochs of 8 steps and 4 validations; at the end two views of 30 films.
  expected = 30 + 32 * 0.5 + 0.01 * (4 * 20 + 2 * 30)
  assert timing.whole(stage, FILMS, times) == pytest.approx(expected)
  regions = stages.Stage(config, 'regions', '/run')
  times = timing.Times(once=3.0, step=0.0, film=0.2)
  assert timing.whole(regions, FILMS, times) == pytest.approx(3 + 20)


def test_the_table_has_folds_and_what_was_not_timed(monkeypatch, capsys):
  config = tiny_cascade.get_config()
  config.data.folds = 3
  found = {'prepare': timing.Times(60.0, 0.0, 0.0)}
  found['regions'] = timing.Times(60.0, 0.0, 0.0)
  monkeypatch.setattr(timing, 'measure', lambda *_: found)
  monkeypatch.setattr(
    timing,
    'plan',
    types.SimpleNamespace(known_films=lambda *_: (dict(FILMS), [])),
  )
  timing.show(config, '/run', 5)
  rows = [line.split() for line in capsys.readouterr().out.splitlines()]
  assert rows[1:4] == [
    ['prepare', '1.0', '60'],
    ['regions', '3.0', '60'],
    ['in', 'all', '4.0'],
  ]
  assert rows[4][:3] == ['Not', 'timed:', 'localizer,']
  with pytest.raises(ValueError, match='--dry_run_steps of 1 or more, got 0'):
    timing.show(config, '/run', 0)


@pytest.mark.ci
def test_every_stage_of_a_cascade_is_timed(archive, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = tiny_cascade.get_config()
  config.manual_dir = archive
  found = timing.measure(config, 2)
  assert list(found) == ['prepare', 'localizer', 'regions', 'assessor']
  for name in ('localizer', 'assessor'):
    assert found[name].step > 0 and found[name].film > 0
    assert found[name].once > 0 and found[name].batch == 8
  assert not os.listdir(tmp_path)
