"""The named parts of the training loop, alone: losses, tasks, stop, clock."""

import os
import signal
import time
import types

from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.core import distributed
from boneage_jax.training import losses
from boneage_jax.training import preemption
from boneage_jax.training import progress
from boneage_jax.training import tasks
from configs import common


def section(**loss):
  stage = ConfigDict(common.train_stage())
  stage.loss = ConfigDict(loss)
  return stage


def test_a_parameter_that_no_loss_has_is_an_error():
  message = r'No loss has the parameter kl_weigth; .* takes delta, kl_weight\.'
  with pytest.raises(ValueError, match=message):
    losses.create(section(name='label_distribution', kl_weigth=0.5))
  with pytest.raises(ValueError, match=r"among \[.*'mse'.*got loss.name='l2'"):
    losses.create(section(name='l2'))


def test_a_parameter_of_another_loss_is_dropped_and_said(capsys):
  loss = losses.create(section(name='mse', delta=15.0, kl_weight=0.5))
  said = capsys.readouterr().out
  assert said.count('\n') == 1 and 'does not take delta, kl_weight' in said
  batch = {'age': np.array([3.0], np.float32)}
  value, _ = loss({'age': np.array([5.0], np.float32)}, batch)
  assert value.tolist() == [4.0]
  losses.create(section(name='mse'))
  assert not capsys.readouterr().out


def test_guidance_is_part_of_the_loss():
  stage = section(name='mse')
  stage.guidance.update(weight=2.0, normalise='per_film')
  losses.create(stage)  # not asked for
  with pytest.raises(ValueError, match="'per_film'"):
    losses.create(stage, guided=True)


def test_every_task_keeps_the_protocol():
  names = ('format_metric', 'check', 'reduce', 'error', 'write_predictions')
  for name, task in tasks.TASKS.items():
    assert tasks.create(ConfigDict({'task': name})) is task
    assert all(callable(getattr(task, part)) for part in names)
    # It is the name of a column of the log.
    assert task.metric_name.replace('_', '').isalpha()
  assert tasks.TASKS['age'].format_metric(7.126) == 'MAE 7.13 months'
  with pytest.raises(ValueError, match=r"among age, .*, got 'sex'"):
    tasks.create(ConfigDict({'task': 'sex'}))


def test_a_signal_is_heard_only_while_the_listener_listens():
  heard = []
  before = signal.signal(signal.SIGTERM, lambda *_: heard.append('outside'))
  try:
    with preemption.Listener(distributed.make_mesh()) as stop:
      assert not stop.requested() and not stop.anywhere()
      os.kill(os.getpid(), signal.SIGTERM)
      assert stop.requested() and stop.anywhere() and stop.signal == 'SIGTERM'
      assert not heard
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == ['outside']
  finally:
    signal.signal(signal.SIGTERM, before)


def test_the_clock_counts_what_an_idle_device_waits():
  def slow():
    for wait in (0.0, 0.2, 0.0):
      time.sleep(wait)
      yield wait

  clock, batches = progress.DispatchClock(), slow()
  for expected in (0.0, 0.2, 0.0):
    before = clock.waited
    assert clock.next(batches) == expected
    clock.dispatched(np.zeros(1))  # a device that is done at once
    time.sleep(0.02)
    assert clock.waited - before >= 0.9 * expected
  clock.close()
  assert 0.15 < clock.waited < 5


def test_the_first_bad_step_is_named(tmp_path):
  stage = section(name='mse')
  run = types.SimpleNamespace(
    stage='net', section=stage, folder=str(tmp_path), start=4,
    films={'position': np.arange(80), 'id': np.arange(100, 180).astype(str)},
    total_steps=9, epoch_steps=3,
  )  # fmt: skip
  with progress.Progress(run) as log:
    for step, value in ((5, 1.0), (6, np.nan), (7, np.nan)):
      scalars = {'loss': np.float32(value), 'gradient_norm': np.float32(1)}
      log.add(step, scalars, np.array([10 * step, 10 * step + 1]))
    message = (
      r'net: the loss is nan at step 6, on films 160, 161\. .*: step 4\.'
    )
    with pytest.raises(ValueError, match=message):
      log.check_finite()
