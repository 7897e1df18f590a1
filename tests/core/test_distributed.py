"""Processes decide alike whether a file is there."""

import jax.numpy as jnp
import pytest

from boneage_jax.core import distributed
from boneage_jax.regions import active
from boneage_jax.runs import checkpoints


@pytest.fixture
def asked(monkeypatch):
  """What this process, number 1 of two, tells the other one."""
  flags = []

  def any_process(flag):
    flags.append(flag)
    return flag

  monkeypatch.setattr(distributed, 'is_main_process', lambda: False)
  monkeypatch.setattr(distributed, 'any_process', any_process)
  return flags


def test_process_0_alone_looks(asked, tmp_path):
  (tmp_path / 'seen_early').touch()
  assert not distributed.exists(str(tmp_path / 'seen_early'))
  assert asked == [False]


def test_films_are_chosen_by_all_processes_or_by_none(asked, tmp_path):
  """Process 0 may have written the table before this one looks."""
  (tmp_path / 'active/round_1').mkdir(parents=True)
  (tmp_path / 'active/round_1/chosen.csv').write_text('id,drawn\n')
  with pytest.raises(TypeError, match='NoneType'):  # in `choose`, of no config
    active._label(None, 'active', 1, str(tmp_path))
  assert asked == [False]


@pytest.mark.parametrize('removed', [False, True])
def test_a_finished_training_waits_as_often_in_each_process(
  asked, tmp_path, removed
):
  store = checkpoints.Checkpoints(str(tmp_path))
  store.save(1, {'net': jnp.ones(3)})
  store.wait()
  if removed:  # by process 0, which is ahead
    (tmp_path / 'latest').rename(tmp_path / 'gone')
  del asked[:]
  store.forget()
  assert asked == [False]
