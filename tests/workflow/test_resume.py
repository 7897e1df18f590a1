"""What may change when a run goes on in its folder."""

import json

import fake_jobs
import pytest
import tiny_cascade
import transfer_run

from boneage_jax.core import config as config_lib
from boneage_jax.workflow import resume
from boneage_jax.workflow import run as workflow_run


@pytest.fixture
def go_on(monkeypatch, prepared, tmp_path):
  """Function that runs the tiny cascade with changes; gives what ran."""

  def go(change=lambda config: None, **fake):
    ran = fake_jobs.replace(monkeypatch, prepared, **fake)
    config = tiny_cascade.get_config()
    change(config)
    try:
      workflow_run.run(config.lock(), str(tmp_path))
    except ValueError as error:
      if str(error) != 'stopped':
        raise
    return ran

  return go


def kept(tmp_path):
  return json.loads((tmp_path / 'config.json').read_text())


def test_a_stage_that_has_not_begun_may_change(go_on, tmp_path):
  go_on(fail='assessor')

  def change(config):
    config.assessor.epochs = 7
    config.assessor.net.exchange = 'none'

  assert go_on(change) == ['assessor', 'report']
  assert kept(tmp_path)['assessor']['epochs'] == 7


@pytest.mark.parametrize('fake', [{'half': 'assessor'}, {}])
def test_a_stage_that_has_begun_may_not(go_on, tmp_path, fake):
  go_on(**fake)  # half trained, or done
  before = kept(tmp_path)

  def change(config):
    config.assessor.epochs = 7

  message = (
    r'settings that assessor began with in .* others of assessor\.epochs\. Set '
    r'.* another --workdir, or remove the folders of assessor there'
  )
  with pytest.raises(ValueError, match=message):
    go_on(change)
  assert kept(tmp_path) == before


def test_what_a_begun_stage_reads_is_frozen_too(go_on):
  go_on(half='assessor')

  def change(config):
    config.regions.margin = 0.1
    config.localizer.net.pool = 'gap'

  message = (
    r'that assessor, localizer, regions began with .* others of '
    r'localizer\.net\.pool, regions\.margin\. Set'
  )
  with pytest.raises(ValueError, match=message):
    go_on(change)


def test_seed_and_data_are_frozen_with_the_first_net(go_on):
  go_on(half='localizer')

  def change(config):
    config.seed = 1
    config.data.test_fraction = 0.2

  message = r'others of data\.test_fraction, seed\. .* remove that folder to'
  with pytest.raises(ValueError, match=message):
    go_on(change)


def test_prepared_data_freeze_what_they_are_made_of(go_on, tmp_path):
  go_on(fail='localizer')

  def other_split(config):
    config.seed = 1
    config.data.test_fraction = 0.2

  def other_films(config):
    config.phantom.films = 100

  assert go_on(other_split, fail='localizer') == ['localizer']
  old = kept(tmp_path)
  new = {**old, 'data': {**old['data'], 'age_unit': 'years'}}
  with pytest.raises(ValueError, match=r'prepare began .* data\.age_unit\. '):
    resume.check_begun(old, new, str(tmp_path))
  with pytest.raises(ValueError, match=r'prepare began .* phantom\.films\. '):
    go_on(other_films)


def test_fields_without_effect_always_may_change(go_on, tmp_path):
  go_on()

  def change(config):
    config.data_dir = '/elsewhere'
    config.data.name = 'RHPE'
    for stage in (config.localizer, config.assessor):
      stage.input.threads = 7
      stage.update(log_steps=3, eval_batch_size=16, checkpoint_steps=9)

  assert go_on(change) == ['report']
  assert kept(tmp_path)['assessor']['input']['threads'] == 7


def test_batches_of_a_random_net_have_an_effect(tmp_path):
  old = config_lib.to_json(transfer_run.get_config())
  new = json.loads(json.dumps(old))
  new['offtheshelf']['eval_batch_size'] = 4
  for stage in ('features', 'offtheshelf'):
    (tmp_path / stage).mkdir()
    (tmp_path / stage / 'done.json').write_text('{}')
  resume.check_begun(old, new, str(tmp_path))
  new['features']['eval_batch_size'] = 4
  with pytest.raises(
    ValueError, match=r'others of features\.eval_batch_size\.'
  ):
    resume.check_begun(old, new, str(tmp_path))
  for one in (old, new):
    one['features']['pretrained']['backbone']['path'] = 'resnet.h5'
  resume.check_begun(old, new, str(tmp_path))


def test_reports_may_change_and_stages_may_come(go_on, tmp_path):
  go_on()

  def change(config):
    config.unlock()
    config.second = config.localizer.copy_and_resolve_references()
    config.second.seed = 5
    config.stages = (*config.stages[:-1], 'second', 'report')
    config.report.update(stage='second', baselines=('assessor',))

  assert go_on(change) == ['second', 'report']
  assert kept(tmp_path)['report']['stage'] == 'second'


def test_a_run_of_another_version_is_refused(go_on, tmp_path):
  go_on()
  content = kept(tmp_path)
  del content['format']
  (tmp_path / 'config.json').write_text(json.dumps(content))
  message = r'Expected "format": 1 in .*config\.json, got none: another version'
  with pytest.raises(ValueError, match=message):
    go_on()
  with pytest.raises(ValueError, match=message):
    config_lib.read_config(str(tmp_path / 'config.json'))


def test_differences():
  old = {'a': 1, 'b': {'c': [1, 2], 'd': 3}, 'e': 0}
  assert config_lib.differences(old, old) == []
  new = {'a': 1, 'b': {'c': [1, 3], 'd': 3, 'f': 1}}
  assert config_lib.differences(old, new) == ['b.c', 'b.f', 'e']


def test_a_run_goes_on_where_a_field_is_newer(go_on, tmp_path):
  go_on(half='assessor')
  old = kept(tmp_path)
  del old['data']['crop_borders']
  del old['assessor']['freeze_statistics']
  del old['assessor']['input']['drawn_share']
  del old['regions']['fill']
  (tmp_path / 'config.json').write_text(json.dumps(old))
  assert go_on() == ['assessor', 'report']
  read = config_lib.read_config(str(tmp_path / 'config.json'))
  assert read.assessor.freeze_statistics is False

  def change(config):
    config.assessor.freeze_statistics = True

  with pytest.raises(ValueError, match=r'of assessor\.freeze_statistics\.'):
    go_on(change)
