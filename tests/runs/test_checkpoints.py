"""What a finished training keeps."""

import shutil

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


def state_of(step):
  numbers = np.random.default_rng(step).normal(size=(2, 60, 60))
  net, moments = jnp.asarray(numbers, jnp.float32)
  return {'net': net, 'moments': moments}


@pytest.fixture(scope='module')
def three(tmp_path_factory):
  """Folder of a training of three steps, of which the second is the best."""
  folder = tmp_path_factory.mktemp('checkpoints')
  store = checkpoints.Checkpoints(str(folder))
  for step, error in enumerate((9.0, 5.0, 7.0), 1):
    if error < store.best_error:
      store.save_best(step, {'net': state_of(step)['net']}, error)
    store.save(step, state_of(step))
  store.close()
  assert sorted(p.name for p in folder.glob('latest/*')) == ['2', '3']
  return folder


def largest(folder):
  return max(
    (path for path in folder.rglob('*') if path.is_file()),
    key=lambda path: path.stat().st_size,
  )


def cut(folder):
  path = largest(folder)
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(folder):
  path = largest(folder)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(bytes(data))


def other_net(folder):
  shutil.rmtree(folder)
  store = checkpoints.Checkpoints(str(folder.parents[2] / 'other'))
  store.save(3, {'net': jnp.ones(7)})
  store.close()
  shutil.copytree(folder.parents[2] / 'other/latest/3', folder)


@pytest.mark.parametrize(
  ('damage', 'where', 'goes_on'),
  [
    (cut, ('latest/3',), 2),
    (flip, ('latest/3',), 2),
    (lambda folder: largest(folder).unlink(), ('latest/3',), 2),
    (lambda folder: shutil.rmtree(folder / 'default'), ('latest/3',), 2),
    (other_net, ('latest/3',), 2),
    (cut, ('latest/2', 'latest/3'), None),
    # The net that was kept came at step 2: its validation comes again.
    (cut, ('best/2',), None),
    (lambda folder: shutil.rmtree(folder / 'metrics'), ('best/2',), None),
  ],
)
def test_damage_is_named_and_what_is_whole_goes_on(
  three, tmp_path, capsys, damage, where, goes_on
):
  folder = tmp_path / 'run'
  shutil.copytree(three, folder)
  for name in where:
    damage(folder / name)
  store = checkpoints.Checkpoints(str(folder), mend=True)
  like = state_of(0)
  found = store.go_on(like, {'net': like['net']})
  said = capsys.readouterr().out
  for name in where:
    assert f'{folder / name} is damaged or of another net' in said
  assert store.latest_step() == goes_on
  if goes_on:
    np.testing.assert_array_equal(found['net'], state_of(goes_on)['net'])
    assert store.best_step() == 2
  else:
    assert found is None
    assert (store.best_step() == 2) == ('best/2' not in where)
  store.save(5, state_of(5))  # nothing is in the way
  store.wait()
  assert store.latest_step() == 5
  store.forget()
  assert {path.name for path in folder.iterdir()} == {'best'}


def test_a_damaged_net_that_is_to_predict_is_named(three, tmp_path):
  shutil.copytree(three, tmp_path / 'run')
  flip(tmp_path / 'run/best/2')
  store = checkpoints.Checkpoints(str(tmp_path / 'run'))
  with pytest.raises(ValueError, match=r'best/2 is damaged .* run the stage'):
    store.restore_best({'net': state_of(0)['net']})
  store.close()


def test_the_first_step_of_an_error_that_stays(tmp_path):
  for step, error in enumerate((9.0, 5.0, 5.0, 5.0, 4.0, 4.0), 1):
    store = checkpoints.Checkpoints(str(tmp_path))  # each time anew
    store.save_best(step, NET, error)
    first = {3: 2, 4: 2, 6: 5}.get(step, step)
    assert (store.best_step(), store.best_since()) == (step, first)
    store.close()
  store = checkpoints.Checkpoints(str(tmp_path), read_only=True)
  assert (store.best_step(), store.best_since()) == (6, 5)
  store.close()


def everything(folder):
  """Return what is in a folder, with the time of its last change."""
  return {
    path: path.stat().st_mtime_ns for path in (folder, *folder.rglob('*'))
  }


@pytest.mark.parametrize('finished', [True, False])
def test_a_reader_changes_nothing(three, tmp_path, finished):
  folder = tmp_path / 'run'
  shutil.copytree(three, folder)
  if finished:
    shutil.rmtree(folder / 'latest')
  before = everything(folder)
  store = checkpoints.Checkpoints(str(folder), read_only=True)
  assert (store.best_step(), store.best_error) == (2, pytest.approx(5.0))
  found = store.restore_best({'net': state_of(0)['net']})
  store.close()
  np.testing.assert_array_equal(found['net'], state_of(2)['net'])
  assert everything(folder) == before


def test_a_reader_of_a_training_that_was_killed_early(three, tmp_path):
  shutil.copytree(three / 'latest', tmp_path / 'run/latest')
  store = checkpoints.Checkpoints(str(tmp_path / 'run'), read_only=True)
  with pytest.raises(ValueError, match=r'No checkpoint in .*run the stage'):
    store.restore_best({'net': state_of(0)['net']})
  store.close()
  assert [path.name for path in (tmp_path / 'run').iterdir()] == ['latest']
