"""Settings in which runs differ, named where their errors are."""

import json

import fake_run
import pytest

from boneage_jax.evaluation import compare
from boneage_jax.evaluation import errors
from boneage_jax.evaluation import settings
from boneage_jax.runs import run as run_lib


@pytest.fixture
def folders(tmp_path):
  """Two runs: of other seeds and rates; threads and names change nothing."""
  table, made = fake_run.films(60), []
  for name, seed, rate in (('a', 0, 0.1), ('b', 3, 0.2)):
    folder = fake_run.write(tmp_path / name, table)
    path = folder / 'config.json'
    content = json.loads(path.read_text())
    content['seed'] = seed
    content['assessor'] |= {'optimizer': {'learning_rate': rate}}
    content['assessor']['input'] |= {'threads': seed}
    # Nobody reads this one.
    other = {'job': 'train', 'epochs': seed, 'input': {'builder_config': 'px'}}
    content['other'] = other
    path.write_text(json.dumps(content))
    made.append(str(folder))
  return made


def test_what_differs_is_what_the_predictions_depend_on(folders):
  runs = [run_lib.read_run(folder) for folder in folders]
  lines = settings.settings_table(runs).splitlines()
  assert [line.split() for line in lines] == [
    ['settings', 'that', 'differ', 'a:assessor', 'b:assessor'],
    ['assessor.optimizer.learning_rate', '0.1', '0.2'],
    ['seed', '0', '3'],
  ]
  assert not settings.settings_table(runs[:1])
  assert not settings.settings_table([runs[0], runs[0]])
  assert not settings.settings_table([runs[0], runs[1]._replace(config=None)])


def test_commands_name_them(folders, capsys):
  for command in (errors, compare):
    command.main(folders)
    text = capsys.readouterr().out
    assert 'assessor.optimizer.learning_rate  ' in text
  errors.main(folders[:1])
  assert 'settings that differ' not in capsys.readouterr().out


def test_long_values_and_many_fields_are_cut():
  one = {'a': {f'f{k:02d}': k for k in range(40)}, 'b': 'x' * 99}
  other = {'a': {f'f{k:02d}': -1 for k in range(40)}}
  assert len(settings.differing([one, other])) == 41
  assert len(settings.shown(one, 'b')) == settings.WIDEST
  assert settings.shown(other, 'b') == settings.ABSENT
