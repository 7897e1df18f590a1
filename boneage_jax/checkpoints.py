"""Checkpoints: the only file that knows Orbax."""

import os
from typing import Any

import jax
import orbax.checkpoint as ocp


class Checkpoints:
  """Two kinds of checkpoint of one stage.

  `latest`: the whole train state, written without stopping the loop, newest
  kept. The step is also the position in the data, so nothing else is needed to
  go on. `best`: the evaluated variables at the lowest validation error
  (`best_error`, months or share of films; infinity without one).
  """

  def __init__(self, folder: str):
    folder = os.path.abspath(folder)

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

  def restore(self, state: Any) -> Any:
    """The newest train state, shaped and sharded like `state`."""
    return self._latest.restore(
      self.latest_step(), args=ocp.args.StandardRestore(abstract(state))
    )

  def best_step(self) -> int | None:
    return self._best.best_step()

  def save_best(self, step: int, variables: Any, error: float) -> None:
    """Save the variables that reached the validation error `error`."""
    self._best.save(
      step,
      args=ocp.args.StandardSave(variables),
      metrics={'validation_error': error},
    )
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

  def close(self) -> None:
    self._latest.close()
    self._best.close()


def abstract(tree: Any) -> Any:
  """Shapes, dtypes and shardings of a tree of arrays."""

  def leaf(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)

  return jax.tree.map(leaf, tree)
