"""What a finished training keeps."""

import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.runs import checkpoints

STATE = {'net': jnp.arange(3.0), 'moments': jnp.ones(5)}
NET = {'net': jnp.arange(3.0)}


def test_a_finished_training_keeps_the_net_alone(tmp_path):
  store = checkpoints.Checkpoints(str(tmp_path))
  store.save_best(2, NET, error=7.5)
  store.save(3, STATE)
  store.wait()
  assert (tmp_path / 'latest/3').is_dir()
  store.forget()
  assert not list(tmp_path.glob('latest/*'))
  store = checkpoints.Checkpoints(str(tmp_path))
  assert store.latest_step() is None
  assert (store.best_step(), store.best_error) == (2, pytest.approx(7.5))
  kept = store.restore_best(NET)
  store.close()
  np.testing.assert_array_equal(kept['net'], [0, 1, 2])
