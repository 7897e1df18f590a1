"""What the user of the command sees, above all when something is wrong."""

import json
import os
import pathlib
import subprocess
import sys

import fake_jobs
import jax
import pytest
import tiny_cascade

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


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([CASCADE], 'There is no data to train on: give the folder of the RSNA'),
    (
      [CASCADE, '--config.asessor.epochs=3'],
      'has no field \'asessor\'\nDid you mean "assessor"',
    ),
    (
      [CASCADE, '--config.assessor.epoch=3'],
      'has no field \'epoch\'\nDid you mean "epochs"',
    ),
    (['--config=configs/none.py'], "No such file or directory: 'configs/none"),
  ],
)
def test_mistakes_are_one_line(command, arguments, message, tmp_path):
  done = command(*arguments)
  assert done.returncode == 1
  assert message in done.stderr and 'Traceback' not in done.stderr
  assert done.stderr.lstrip().startswith('Error: ')


def test_unknown_variant(command):
  done = command(CASCADE + ':small')
  assert done.returncode == 1
  assert "got 'small'. Variants: strict. Presets, at most" in done.stderr
  assert 'Traceback' not in done.stderr


# The rest in this process.


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


def test_stages_are_a_comma_list_or_a_tuple(command):
  for stages in ('prepare,localizer', "('prepare', 'localizer')"):
    done = command(CASCADE, f'--config.stages={stages}')
    assert 'stages prepare, localizer on' in done.stdout, done.stderr


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
  assert 'hash split 0.70/0.15/0.15 of 10 films by id' in text
  folder = sources.prepared_folder(str(tmp_path), 'original')
  assert sources.build_info(folder)['films'] == 10
