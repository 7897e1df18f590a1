"""What the user of the command sees, above all when something is wrong."""

import json
import os
import pathlib
import subprocess
import sys

from absl import flags
import jax
from ml_collections import config_flags
import pytest
import tiny_cascade

from boneage_jax.core import config as config_lib
from boneage_jax.data import sources
from boneage_jax.workflow import jobs as jobs_lib
from boneage_jax.workflow import resume
from boneage_jax.workflow import run as workflow_run

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def command(tmp_path):
  """Function that runs the command in an empty folder."""

  def go(*arguments):
    return subprocess.run(
      [sys.executable, '-m', 'boneage_jax.main', *arguments],
      cwd=tmp_path,
      env=os.environ | {'PYTHONPATH': str(ROOT)},
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
    )

  return go


CASCADE = f'--config={ROOT / "configs" / "cascade.py"}'


def test_a_mistake_is_one_line(command):
  done = command(CASCADE)
  assert done.returncode == 1
  message = 'Error: There is no data to train on: give the folder of the RSNA'
  assert done.stderr.lstrip().startswith(message)
  assert 'Traceback' not in done.stderr


# The rest in this process.


@pytest.fixture
def parsed(monkeypatch):
  """Function that reads the flags of a command line in this process."""

  def parse(*arguments):
    values = flags.FlagValues()
    monkeypatch.setattr(config_lib, 'FLAGS', values)
    config_flags.DEFINE_config_file(
      'config', None, lock_config=True, flag_values=values
    )
    monkeypatch.setattr(config_lib.app, 'parse_flags_with_usage', values)
    words = ['main', CASCADE, *arguments]
    monkeypatch.setattr(sys, 'argv', words)  # where overrides are looked for
    config_lib.parse(words)
    return values.config

  return parse


@pytest.mark.parametrize(
  ('argument', 'message'),
  [
    (
      '--config.asessor.epochs=3',
      'has no field \'asessor\'\nDid you mean "assessor"',
    ),
    (
      '--config.assessor.epoch=3',
      'has no field \'epoch\'\nDid you mean "epochs"',
    ),
    ('--config=configs/none.py', "No such file or directory: 'configs/none"),
  ],
)
def test_mistakes_in_flags_are_said(parsed, argument, message):
  with pytest.raises(SystemExit) as stop:
    parsed(argument)
  text = str(stop.value.code)
  assert text.startswith('Error: ') and message in text


def test_unknown_variant(parsed):
  with pytest.raises(flags.Error, match=r'got .small.\. Variants: strict\.'):
    parsed(f'{CASCADE}:small')


def jobs(monkeypatch, fail=''):
  """Replace the jobs; gives the list of those that ran."""
  ran = []

  def job(config, stage, workdir):
    ran.append(stage)
    if stage == fail:
      raise ValueError('no')
    folder = pathlib.Path(workdir, stage)
    folder.mkdir(parents=True, exist_ok=True)
    if config[stage].job != 'report':
      (folder / 'done.json').write_text('{}')

  monkeypatch.setattr(jobs_lib, 'JOBS', dict.fromkeys(jobs_lib.JOBS, job))
  return ran


def config(**changes):
  value = tiny_cascade.get_config()
  value.update(changes)
  return value.lock()


def test_stages_run_once_and_in_order(monkeypatch, tmp_path, capsys):
  ran = jobs(monkeypatch, fail='regions')
  with pytest.raises(ValueError, match='no'):
    workflow_run.run(config(), str(tmp_path))
  assert ran == ['prepare', 'localizer', 'regions']
  ran = jobs(monkeypatch)
  workflow_run.run(config(), str(tmp_path))
  assert ran == ['regions', 'assessor', 'report']
  text = capsys.readouterr().out
  assert 'localizer: already done.' in text
  assert f'on {jax.device_count()} cpu device(s); output in {tmp_path}' in text


def test_stages_are_checked_before_any_runs(monkeypatch, tmp_path):
  ran = jobs(monkeypatch)
  with pytest.raises(ValueError, match=r"'regoins'.*from assessor, .*reg"):
    workflow_run.run(
      config(stages=('prepare', 'regoins')), str(tmp_path / 'run')
    )
  assert not ran and not (tmp_path / 'run').exists()
  with pytest.raises(ValueError, match="'phantom', which the config does not"):
    workflow_run.run(config(stages=('phantom',)), str(tmp_path / 'run'))


def test_what_a_report_reads_is_checked_before_any_stage(monkeypatch, tmp_path):
  ran = jobs(monkeypatch)
  some = tiny_cascade.get_config()
  some.stages = ('prepare', 'localizer', 'report')
  message = r"stage names 'assessor', .* --config.report.stage"
  with pytest.raises(ValueError, match=message):
    workflow_run.run(some.lock(), str(tmp_path))
  some.unlock()
  some.report.update(stage='localizer', baselines=('plain',), regions_from='')
  with pytest.raises(ValueError, match=r"baselines names 'plain'"):
    workflow_run.run(some.lock(), str(tmp_path))
  assert not ran
  (tmp_path / 'plain').mkdir()  # it ran before
  workflow_run.run(some, str(tmp_path))
  assert ran == ['prepare', 'localizer', 'report']


def test_other_settings_need_another_folder(monkeypatch, tmp_path):
  jobs(monkeypatch)
  workflow_run.run(config(), str(tmp_path))
  before = (tmp_path / 'config.json').read_text()
  other = tiny_cascade.get_config()
  other.seed = 1
  other.assessor.net.carpal.width = 0.5
  with pytest.raises(ValueError, match=r'\(assessor.net.carpal.width, seed\)'):
    workflow_run.run(other, str(tmp_path))
  assert (tmp_path / 'config.json').read_text() == before
  again = tiny_cascade.get_config()
  again.stages, again.report.stage = ('report',), 'localizer'
  workflow_run.run(again, str(tmp_path))  # reports are made anew by every run
  assert '"stage": "localizer"' in (tmp_path / 'config.json').read_text()


def test_differences():
  old = {'a': 1, 'b': {'c': [1, 2], 'd': 3}, 'e': 0}
  assert resume.differences(old, old) == []
  new = {'a': 1, 'b': {'c': [1, 3], 'd': 3, 'f': 1}}
  assert resume.differences(old, new) == ['b.c', 'b.f', 'e']


def test_the_config_that_is_kept_is_the_one_that_ran(monkeypatch, tmp_path):
  jobs(monkeypatch)
  workflow_run.run(config(), str(tmp_path))
  kept = json.loads((tmp_path / 'config.json').read_text())
  assert kept['assessor']['net']['carpal'] == tiny_cascade.BACKBONE


def real(tmp_path, stages, change=lambda c: None):
  value = tiny_cascade.get_config()
  value.stages = stages
  change(value)
  workflow_run.run(value, str(tmp_path))


def test_a_stage_that_needs_another_says_so(tmp_path):
  with pytest.raises(ValueError, match="run the 'prepare' stage first"):
    real(tmp_path, ('localizer',))


def test_what_comes_before_must_have_run(archive, prepared, tmp_path):
  (tmp_path / 'prepare').mkdir()
  (tmp_path / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  with pytest.raises(ValueError, match='localizer'):
    real(tmp_path, ('regions',))
  with pytest.raises(ValueError, match="run the 'regions' stage first"):
    real(tmp_path, ('assessor',))
  with pytest.raises(ValueError, match=r'change --config\.report\.'):
    real(tmp_path, ('report',))


def test_stages_that_do_not_fit_say_so(prepared, tmp_path):
  for name in ('prepare', 'regions'):
    (tmp_path / name).mkdir()
  done = tmp_path / 'prepare' / 'done.json'
  done.write_text(json.dumps({'folders': {'original': prepared + '/gone'}}))
  with pytest.raises(ValueError, match=r'gone is gone; remove .*done\.json'):
    real(tmp_path, ('localizer',))
  (tmp_path / 'regions' / 'done.json').write_text('{"crop_margin": 0.1}')
  with pytest.raises(ValueError, match=r'margin of 0\.1, but assessor\.input'):
    real(tmp_path, ('assessor',))


def test_an_argmax_has_no_maps_of_its_age(tmp_path):
  def change(value):
    value.localizer.net.readout = 'argmax'

  with pytest.raises(ValueError, match="Choose target='window'"):
    real(tmp_path, ('regions',), change)


def weights(value):
  value.localizer.net.backbone.depth = 50  # Keras has no smaller one
  value.localizer.pretrained = {'backbone': {'path': '/nowhere/resnet.h5'}}


def other_size(value):
  value.localizer.input.builder_config = 'px512'


def batch(value):
  value.localizer.batch_size = 64


def uneven(value):
  value.localizer.batch_size = 12


def no_validation(value):
  value.data.validation_fraction = 0.0


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (weights, "There is no weight file '/nowhere/resnet.h5'"),
    (other_size, r"prepared as \['original'\], not as 'px512'"),
    (batch, 'expected at least one batch of 64 films to train on'),
    (uneven, 'divisible by 8 devices, got 12 films'),
    (no_validation, 'raise --config.data.validation_fraction'),
  ],
)
def test_unusable_settings(change, message, prepared, tmp_path):
  (tmp_path / 'prepare').mkdir()
  (tmp_path / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  with pytest.raises(ValueError, match=message):
    real(tmp_path, ('localizer',), change)


def test_a_folder_without_an_archive(tmp_path):
  def change(value):
    value.manual_dir = str(tmp_path)

  with pytest.raises(ValueError, match='Expected in the folder'):
    real(tmp_path / 'run', ('prepare',), change)


def test_a_table_of_labels_that_cannot_be_read(tmp_path):
  folder = tmp_path / 'manual'
  (folder / 'boneage-training-dataset').mkdir(parents=True)
  (folder / 'boneage-training-dataset.csv').write_text('id,months\n1,x\n')

  def change(value):
    value.manual_dir = str(folder)

  with pytest.raises(ValueError, match=r'boneage-training-dataset\.csv'):
    real(tmp_path / 'run', ('prepare',), change)


def test_prepare_makes_phantoms_and_says_what_it_has(tmp_path, capsys):
  def change(value):
    value.phantom.update(films=10, long_side=64)

  real(tmp_path, ('prepare',), change)
  text = capsys.readouterr().out
  assert 'hash split 0.70/0.15/0.15 of 10 films by id' in text
  folder = sources.prepared_folder(str(tmp_path), 'original')
  assert sources.build_info(folder)['films'] == 10
