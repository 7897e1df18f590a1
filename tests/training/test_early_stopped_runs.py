"""Trainings end early with the best net, whatever the task, and once killed."""

import json

from ml_collections import ConfigDict
import pytest
import tiny_cascade

from boneage_jax.runs import checkpoints
from boneage_jax.training import loop
from boneage_jax.training import setup
from boneage_jax.training import tasks
from configs import hand_geometry
from configs import orientation_net

ERRORS = {1: 9.0, 2: 7.0, 3: 8.0, 4: 7.5, 5: 1.0}  # of validations, by step
pytestmark = pytest.mark.ci


class Killed(Exception):
  """In the place of SIGKILL."""


def make(task):
  """Return a config and the stage of a tiny net of a task."""
  geometry = ConfigDict(hand_geometry.get_config('phantom').to_dict())
  tiny = {
    'age': ('localizer', tiny_cascade.get_config()),
    'orientation': ('net', ConfigDict(tiny_cascade.get_config())),
    'segmentation': ('segmenter', geometry),
  }
  stage, config = tiny[task]
  config = ConfigDict(config.to_dict())
  config.data.update(validation_fraction=0.2, test_fraction=0.2)
  if task == 'orientation':
    config.net = ConfigDict(orientation_net.stage())
    config.net.net.backbone = ConfigDict(tiny_cascade.BACKBONE)
  section = config[stage]
  section.update(batch_size=4, eval_batch_size=8, steps=6, eval_steps=1)
  section.update(early_stopping=dict(patience=2))
  section.optimizer.update(schedule='constant', learning_rate=1e-3)
  section.input.size = 32
  if task == 'segmentation':
    section.net.update(width=0.03125, levels=3)
  assert section.task == task
  return config, stage


@pytest.fixture
def train(prepared, tmp_path, monkeypatch):
  """Function that trains a tiny net of a task; gives its folder."""
  now = {}
  due = setup.Setup.eval_due

  def eval_due(run, step):
    now['step'] = step
    return due(run, step)

  monkeypatch.setattr(setup.Setup, 'eval_due', eval_due)

  def go(task='age', name='run', errors=ERRORS):
    judge = tasks.TASKS[task]
    monkeypatch.setattr(judge, 'error', lambda *_: errors[now['step']])
    folder = tmp_path / name
    (folder / 'prepare').mkdir(parents=True, exist_ok=True)
    (folder / 'prepare/done.json').write_text(
      json.dumps({'folders': {'original': prepared}})
    )
    config, stage = make(task)
    loop.train_and_evaluate(config, stage, str(folder))
    return folder / stage

  return go


@pytest.mark.parametrize('task', ['orientation', 'segmentation'])
def test_other_tasks_end_early(task, train):
  folder = train(task)
  done = json.loads((folder / 'done.json').read_text())
  assert (done['step'], done['best_step']) == (4, 2)
  assert (folder / 'predictions.csv').exists()


def test_a_killed_training_ends_as_one_that_was_not(train, monkeypatch):
  whole = train(name='whole')
  save = checkpoints.Checkpoints.save
  for killed, saved in ((3, False), (4, True)):

    def save_until(store, step, state, killed=killed, saved=saved):
      if step < killed or saved:
        save(store, step, state)
        store.wait()
      if step == killed:
        raise Killed

    name = f'killed_{killed}'
    with monkeypatch.context() as patch:
      patch.setattr(checkpoints.Checkpoints, 'save', save_until)
      with pytest.raises(Killed):
        train(name=name)
    folder = train(name=name)
    for file in ('done.json', 'predictions.csv'):
      assert (folder / file).read_text() == (whole / file).read_text(), killed


def test_an_error_that_stays_is_no_lower(train, monkeypatch):
  errors = {1: 9.0, 2: 0.0, 3: 0.0, 4: 0.0, 5: 0.0, 6: 0.0}
  save = checkpoints.Checkpoints.save

  def save_until(store, step, state):
    save(store, step, state)
    store.wait()
    if step == 3:
      raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(checkpoints.Checkpoints, 'save', save_until)
    with pytest.raises(Killed):
      train('orientation', errors=errors)
  folder = train('orientation', errors=errors)
  done = json.loads((folder / 'done.json').read_text())
  assert (done['step'], done['best_step']) == (4, 4)  # the last of equals
