"""A stage that goes on from a finished one, in the same run."""

import fake_jobs
import pytest
import tiny_cascade

from boneage_jax.core import config as config_lib
from boneage_jax.workflow import longer
from boneage_jax.workflow import run as workflow_run
from configs import best
from configs import cascade


def ask(config, stage, **changes):
  config.longer.update(stage=stage, **changes)
  return config


def test_without_a_stage_the_config_stays_as_it_is():
  config = cascade.get_config('phantom')
  assert longer.expand(config) is config


def test_the_new_stage_differs_in_little_and_is_reported():
  config = ask(cascade.get_config('phantom'), 'assessor', epochs=3, rate=0.1)
  before = config.to_dict()
  new = longer.expand(config)
  assert config.to_dict() == before
  old_fields, fields = (
    config_lib.to_json(new)[name] for name in ('assessor', 'assessor_longer')
  )
  assert config_lib.differences(old_fields, fields) == [
    'epochs',
    'init_from.run',
    'optimizer.learning_rate',
    'seed',
  ]
  assert new.assessor_longer.init_from.run == ':assessor'
  assert new.assessor_longer.optimizer.learning_rate == pytest.approx(
    0.1 * config.assessor.optimizer.learning_rate
  )
  at = config.stages.index('assessor')
  assert new.stages[at : at + 2] == ('assessor', 'assessor_longer')
  assert tuple(s for s in new.stages if s[-7:] != '_longer') == config.stages
  assert new.report.stage == 'assessor_longer'
  assert new.report.baselines[-1] == 'assessor'
  assert longer.expand(new) is new


def test_an_ensemble_keeps_its_members():
  config = ask(best.get_config('phantom'), 'resnet18')
  new = longer.expand(config)
  assert new.ensemble == config.ensemble
  assert new.report.stage == 'ensemble'
  assert new.report.baselines == (*config.report.baselines, 'resnet18_longer')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(stage='regions'), r"one of localizer, assessor; got 'regions'"),
    (dict(stage='nothing'), r"one of localizer, assessor; got 'nothing'"),
    (dict(stage='assessor', epochs=0), r'epochs of 1 .* got 0 and 0\.5'),
    (dict(stage='assessor', rate=0.0), r'above 0, got 10 and 0\.0'),
  ],
)
def test_what_cannot_go_on_is_refused(changes, message):
  config = ask(cascade.get_config('phantom'), **changes)
  with pytest.raises(ValueError, match=message):
    longer.expand(config)


def test_a_finished_run_goes_on_in_its_folder(monkeypatch, prepared, tmp_path):
  def go(stage):
    ran = fake_jobs.replace(monkeypatch, prepared)
    config = ask(tiny_cascade.get_config(), stage).lock()
    workflow_run.run(config, str(tmp_path))
    return ran

  assert 'assessor' in go('')
  ran = go('assessor')
  assert 'assessor_longer' in ran
  assert not {'prepare', 'localizer', 'regions', 'assessor'} & set(ran)
  assert 'assessor_longer' not in go('assessor')
  # Without the flag its settings would be lost, and nobody could predict.
  with pytest.raises(ValueError, match='settings that assessor_longer began'):
    go('')
