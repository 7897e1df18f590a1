"""Checkpoints: the only file that knows Orbax."""

import os
import tarfile
import tempfile
from typing import Any

import jax
import orbax.checkpoint as ocp

from boneage_jax.core import distributed
from boneage_jax.core import storage


class Checkpoints:
  """Two kinds of checkpoint of one stage.

  `latest`: the whole train state, written without stopping the loop, newest
  kept. The step is also the position in the data, so nothing else is needed to
  go on. `best`: the evaluated variables at the lowest validation error
  (`best_error`, months or share of films; infinity without one).
  """

  def __init__(self, folder: str):
    folder = storage.absolute(folder)
    self._folder = folder
    self._beside = None
    if folder.startswith('s3://'):  # Orbax knows gs:// but not this
      self._beside = tempfile.TemporaryDirectory()
      folder = self._beside.name
      self._fetch()

    def manager(name: str, **options: Any) -> ocp.CheckpointManager:
      # Both save at the same time: their processes must not meet at one place.
      meet = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=name)
      options = ocp.CheckpointManagerOptions(
        max_to_keep=1, multiprocessing_options=meet, **options
      )
      return ocp.CheckpointManager(os.path.join(folder, name), options=options)

    self._latest = manager('latest')
    self._best = manager(
      'best', best_fn=lambda m: min(m.values()), best_mode='min'
    )
    step = self._best.best_step()
    self.best_error = float('inf')
    if step is not None:
      self.best_error = min(self._best.metrics(step).values())

  def latest_step(self) -> int | None:
    """Step of the newest whole checkpoint, or None."""
    return self._latest.latest_step()

  def save(self, step: int, state: Any) -> None:
    """Save the train state; returns once the arrays are copied to the host."""
    if step != self.latest_step():
      # A run that goes on from here will not evaluate this step again.
      self._best.wait_until_finished()
      self._latest.save(step, args=ocp.args.StandardSave(state))
      self._send(self._latest)

  def restore(self, state: Any) -> Any:
    """The newest train state, shaped and sharded like `state`."""
    return self._latest.restore(
      self.latest_step(), args=ocp.args.StandardRestore(abstract(state))
    )

  def best_step(self) -> int | None:
    """Step of the net that predicts, or None."""
    return self._best.best_step()

  def save_best(self, step: int, variables: Any, error: float) -> None:
    """Save the variables that reached the validation error `error`."""
    self._best.save(
      step,
      args=ocp.args.StandardSave(variables),
      metrics={'validation_error': error},
    )
    self._send(self._best)
    self.best_error = error

  def restore_best(self, variables: Any) -> Any:
    """The best variables, shaped and sharded like `variables`."""
    if self.best_step() is None:
      raise ValueError(
        f'No checkpoint in {self._best.directory}; run the stage that trains '
        'it first.'
      )
    return self._best.restore(
      self.best_step(),
      args=ocp.args.StandardRestore(abstract(variables)),
    )

  def wait(self) -> None:
    """Block until everything saved is on disk."""
    self._latest.wait_until_finished()
    self._best.wait_until_finished()

  def forget(self) -> None:
    """Close, and remove `latest`, which only a training that goes on needs."""
    self.close()
    name = 'latest.tar' if self._beside else 'latest'
    path = os.path.join(self._folder, name)
    if storage.exists(path):  # in s3:// there is none without a step
      distributed.on_main_process(lambda: storage.remove(path))

  def close(self) -> None:
    """Finish what is being written."""
    self._latest.close()
    self._best.close()

  def _fetch(self) -> None:
    """Unpack what `_send` left in s3://."""
    if jax.process_count() > 1:
      raise ValueError(
        f'{self._folder}: checkpoints of several processes need gs:// or a '
        'file system that they share, not s3://.'
      )
    for path in storage.glob(os.path.join(self._folder, '*.tar')):
      with tarfile.open(fileobj=storage.reading(path, 'rb')) as tar:
        tar.extractall(self._beside.name, filter='data')

  def _send(self, manager: ocp.CheckpointManager) -> None:
    """Write what a manager keeps as one file: it is there whole or not."""
    if not self._beside:
      return
    manager.wait_until_finished()
    name = manager.directory.name
    path = os.path.join(self._folder, f'{name}.tar')
    with storage.staged(path) as place, tarfile.open(place, 'w') as tar:
      tar.add(manager.directory, name)


def abstract(tree: Any) -> Any:
  """Shapes, dtypes and shardings of a tree of arrays."""

  def leaf(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)

  return jax.tree.map(leaf, tree)
