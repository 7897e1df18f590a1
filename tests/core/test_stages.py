"""The graph of stages, and where they write."""

import ast
import pathlib

from ml_collections import ConfigDict
import pytest

from boneage_jax.core import stages
from configs import best
from configs import cascade
from configs import forest

ROOT = pathlib.Path(__file__).parents[2]


def names(found):
  return [stage.name for stage in found]


def test_inputs_follow_every_edge():
  config = best.get_config('phantom')
  of = lambda name: stages.Stage(config, name, '/run')
  assert names(of('assessor').inputs()) == ['regions']
  assert names(of('finetune_corrupted').inputs()) == [
    'orientation',
    'inception',
  ]
  assert names(of('ensemble').inputs()) == list(config.ensemble.members)
  assert names(of('report').inputs())[:2] == ['regions', 'ensemble']
  assert set(names(of('ensemble').all_inputs())) == {
    *('orientation', 'inception', 'finetune_corrupted', 'resnet18'),
    *('localizer', 'regions', 'assessor'),
  }


def test_an_ensemble_reads_both_stages_of_a_pair():
  config = ConfigDict({'e': dict(job='ensemble', members=('a', 'b+c'))})
  stage = stages.Stage(config, 'e', '/run')
  assert names(stage.inputs()) == list(stage.named('members')) == list('abc')


def test_a_net_of_another_run_is_no_stage_of_this_one():
  config = cascade.get_config('phantom')
  config.localizer.init_from.run = 'runs/other:localizer'
  assert not stages.Stage(config, 'localizer', '/run').inputs()


def test_whose_net_sees_the_whole_film():
  config = best.get_config('phantom')
  of = lambda name: stages.Stage(config, name, '/run')
  for name in ('localizer', 'regions', 'assessor'):
    assert of(name).whole_film_stage().name == 'localizer'
    assert of(name).orientation() == 'orientation'
  assert of('ensemble').whole_film_stage().name == 'finetune_corrupted'
  assert not stages.Stage(cascade.get_config(), 'assessor', '').orientation()


def test_locate_stages_come_in_order():
  sections = dict(
    a=dict(job='locate', previous=''),
    b=dict(job='locate', previous='a'),
    c=dict(job='locate', previous='b'),
  )
  last = stages.Stage(ConfigDict(sections), 'c', '/run')
  assert names(last.locate_chain()) == ['a', 'b', 'c']
  assert last.path(stages.DONE) == '/run/c/done.json'


def test_begun_and_done(tmp_path):
  config = cascade.get_config('phantom')
  stage = stages.Stage(config, 'localizer', str(tmp_path))
  assert not stage.begun and not stage.done
  (tmp_path / 'localizer/checkpoints/latest').mkdir(parents=True)
  assert not stage.begun  # it was set up, no more
  (tmp_path / 'localizer/checkpoints/latest/8').mkdir()
  assert stage.begun and not stage.done
  (tmp_path / 'localizer/done.json').touch()
  assert stage.done
  kept = stages.Stage(config, 'assessor', str(tmp_path))
  (tmp_path / 'assessor/checkpoints/best/0').mkdir(parents=True)
  assert kept.begun  # such as features, before they are written


def test_brackets_in_the_name_of_a_folder_are_none_of_a_pattern(tmp_path):
  config = cascade.get_config('phantom')
  folder = tmp_path / 'run[1]*'
  (folder / 'localizer/checkpoints/latest/8').mkdir(parents=True)
  (tmp_path / 'run1/assessor/checkpoints/latest/8').mkdir(parents=True)
  of = lambda name: stages.Stage(config, name, str(folder))
  assert of('localizer').begun and not of('assessor').begun


def test_the_stage_that_is_meant():
  config = cascade.get_config('phantom')
  assert stages.chosen(config) == 'assessor'
  assert stages.chosen(config, 'localizer') == 'localizer'
  assert stages.of_ages(config) == ['assessor', 'localizer']
  config = forest.get_config('age,phantom').unlock()
  del config.report
  with pytest.raises(ValueError, match=r'^forest has no rep.* one, assessor'):
    stages.chosen(config)
  config = forest.get_config('phantom')
  with pytest.raises(ValueError, match='shows a stage: it tells no ages'):
    stages.chosen(config)


@pytest.mark.parametrize('folds', [2, 3])
def test_stages_of_folds(tmp_path, folds):
  config = cascade.get_config('phantom')
  config.data.folds = folds
  stage = stages.Stage(config, 'localizer', str(tmp_path))
  for fold in range(2):
    folder = tmp_path / f'fold_{fold}' / 'localizer'
    folder.mkdir(parents=True)
    (folder / 'done.json').touch()
    assert stage.begun
  assert stage.done == (folds == 2)


def test_files_are_named_in_one_module():
  known = {
    value
    for name, value in vars(stages).items()
    if name.isupper() and isinstance(value, str)
  } - {stages.PREPARE, stages.CHECKPOINTS}
  found = []
  for path in (ROOT / 'boneage_jax').rglob('*.py'):
    tree = ast.parse(path.read_text())
    found += [
      f'{path.relative_to(ROOT)}:{node.lineno} {node.value}'
      for node in ast.walk(tree)
      if isinstance(node, ast.Constant) and node.value in known
    ]
  assert all(line.startswith('boneage_jax/core/stages.py') for line in found), (
    found
  )
