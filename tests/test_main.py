"""What the user of the command sees, above all when something is wrong."""

import json
import os
import pathlib
import subprocess
import sys

from absl import flags
import dummy_archive
import fake_jobs
import jax
from ml_collections import config_flags
import pytest
import tiny_cascade

from boneage_jax.core import config as config_lib
from boneage_jax.data import sources
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
  message = 'Error: There is no data to train on: give a table of films with'
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
      "--config.asessor.epochs: the config has no field 'asessor'\n"
      'Did you mean "assessor"',
    ),
    (
      '--config.assessor.epoch=3',
      "--config.assessor.epoch: the config has no field 'epoch'\n"
      'Did you mean "epochs"',
    ),
    (
      '--config.whole.epochs=3',
      "--config.whole.epochs: the config has no field 'whole'; there are ",
    ),
    (
      '--config.prepare.fast=3',
      "--config.prepare.fast: the config has no field 'fast'; there are job",
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
  with pytest.raises(SystemExit) as stop:
    parsed(f'{CASCADE}:small')
  text = str(stop.value.code)
  assert text.startswith('Error: Expected --config=configs/cascade.py[:VARIANT')
  assert text.endswith('thumbnails, half.') and '\n' not in text


def test_stages_are_a_comma_list_or_a_tuple(parsed):
  both = ('prepare', 'localizer')
  assert parsed('--config.stages=prepare,localizer').stages == both
  assert parsed('--config.stages=prepare').stages == ('prepare',)
  assert parsed("--config.stages=('prepare', 'localizer')").stages == both


def test_sizes_are_numbers_or_pairs(parsed):
  read = lambda text: parsed(f'--config.localizer.input.size={text}')
  assert read('64').localizer.input.size == 64
  assert read('(64, 48)').localizer.input.size == (64, 48)
  regions = parsed('--config.regions.crop_size=(64,48)').regions
  assert regions.crop_size == (64, 48)


def config(**changes):
  value = tiny_cascade.get_config()
  value.update(changes)
  return value.lock()


def test_stages_run_once_and_in_order(monkeypatch, prepared, tmp_path, capsys):
  ran = fake_jobs.replace(monkeypatch, prepared, fail='regions')
  with pytest.raises(ValueError, match='stopped'):
    workflow_run.run(config(), str(tmp_path))
  assert ran == ['prepare', 'localizer', 'regions']
  ran = fake_jobs.replace(monkeypatch, prepared)
  workflow_run.run(config(), str(tmp_path))
  assert ran == ['regions', 'assessor', 'report']
  text = capsys.readouterr().out
  assert 'localizer: already done.' in text
  assert f'on {jax.device_count()} cpu device(s); output in {tmp_path}' in text


def test_the_config_that_is_kept_is_the_one_that_ran(
  monkeypatch, prepared, tmp_path
):
  fake_jobs.replace(monkeypatch, prepared)
  workflow_run.run(config(), str(tmp_path))
  kept = json.loads((tmp_path / 'config.json').read_text())
  assert kept['assessor']['net']['carpal'] == tiny_cascade.BACKBONE


def real(tmp_path, stages, change=lambda c: None):
  value = tiny_cascade.get_config()
  value.stages = stages
  change(value)
  workflow_run.run(value, str(tmp_path))


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
  assert 'Drawing 10 phantoms.' in text
  assert 'hash split of 10 films by id: ' in text
  folder = sources.prepared_folder(str(tmp_path), 'original')
  assert sources.build_info(folder)['films'] == 10


def test_prepare_warns_of_years_and_takes_the_name(tmp_path, capsys):
  folder = dummy_archive.create(tmp_path)
  rows = [(i, 4.5 * i - 0.5, 'True') for i in range(1, 5)]
  table = folder / f'{dummy_archive.TRAIN}.csv'
  dummy_archive.write_table(table, [('id', 'boneage', 'male'), *rows])

  def change(value):
    value.manual_dir = str(folder)

  def years(value):
    change(value)
    value.data.update(age_unit='years', name='RHPE')

  real(tmp_path / 'run', ('prepare',), change)
  text = capsys.readouterr().out
  assert 'manual training, 4 films, labels' in text
  assert text.count('ages from 4 to 17.5 are read as months, but none') == 1
  real(tmp_path / 'other', ('prepare',), years)
  text = capsys.readouterr().out
  assert 'RHPE training, 4 films, labels' in text and 'read as' not in text
  folder = sources.prepared_folder(str(tmp_path / 'other'), 'original')
  ages = sources.load_films(folder)['age']
  assert sorted(ages.tolist()) == [48, 102, 156, 210]


@pytest.mark.ci
def test_a_dry_run_has_all_stages_and_writes_nothing(command, tmp_path):
  done = command(
    f'{CASCADE}:phantom',
    '--config.stages=prepare,localizer',
    '--config.longer.stage=localizer',
    '--dry_run',
  )
  assert done.returncode == 0, done.stderr
  rows = [line.split()[0] for line in done.stdout.splitlines() if line]
  at = rows.index('prepare')
  assert rows[at : at + 3] == ['prepare', 'localizer', 'localizer_longer']
  assert not list(tmp_path.iterdir())
