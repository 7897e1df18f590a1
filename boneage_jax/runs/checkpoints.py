"""Checkpoints: the only file that knows Orbax."""

from collections.abc import Iterator
import contextlib
import os
import tarfile
import tempfile
from typing import Any
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from boneage_jax.core import distributed
from boneage_jax.core import door
from boneage_jax.core import storage

METADATA = '_CHECKPOINT_METADATA'  # Orbax' file of a step
CHECKSUM, SINCE = 'checksum', 'since'  # in it
ASIDE = 'damaged'  # folder of steps that could not be read


class Checkpoints:
  """Two kinds of checkpoint of one stage.

  `latest`: the whole train state, written without stopping the loop, the newest
  two kept, as the newest may be damaged. The step is also the position in the
  data, so nothing else is needed to go on. `best`: the evaluated variables at
  the lowest validation error (`best_error`, months or share of films; infinity
  without one). Both with a checksum of their arrays.
  """

  def __init__(self, folder: str, mend: bool = False, read_only: bool = False):
    """Open the folder; with `mend`, to go on: what is damaged is set aside.

    With `read_only`, to take the net that predicts, `best` alone: nothing is
    made or changed, as the folder may be one that nobody can write to.
    """
    folder = storage.absolute(folder)
    self._folder = folder
    self._beside = None
    self._lost = float('inf')  # from this step on, validations are gone
    if folder.startswith('s3://'):  # Orbax knows gs:// but not this
      self._beside = tempfile.TemporaryDirectory()
      folder = self._beside.name
      self._fetch()

    self._place = folder
    if mend:
      distributed.on_main_process(self._drop_without_error)
    self._read_only = read_only
    self._latest = None
    if not read_only:
      self._latest = self._open('latest', max_to_keep=2)
    with _naming(os.path.join(folder, 'best')):
      self._open_best()

  def _open(self, name: str, **options: Any) -> ocp.CheckpointManager:
    # Both save at the same time: their processes must not meet at one place.
    meet = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=name)
    # Not Orbax' read_only, which warns of every net: without a folder to make,
    # to open and to restore write nothing.
    options = ocp.CheckpointManagerOptions(
      multiprocessing_options=meet, create=not self._read_only, **options
    )
    return ocp.CheckpointManager(
      os.path.join(self._place, name), options=options
    )

  def _open_best(self) -> None:
    self._since = None
    self._best = self._open(
      'best',
      max_to_keep=1,
      best_fn=lambda metrics: min(metrics.values()),
      best_mode='min',
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
      with _writing(self._folder):
        self._best.wait_until_finished()
        _save(self._latest, step, state, {})
        self._send(self._latest)

  def go_on(self, state: Any, variables: Any) -> Any | None:
    """Return the newest train state that is whole; None where there is none.

    What is damaged, or of another net, is set aside and said. The step of what
    is returned is then `latest_step()`. Of the net alone that was kept nobody
    could go on and end as if nothing had been damaged.

    Args:
      state: shapes and shardings of the train state.
      variables: those of the net that is kept.
    """
    step = self._best.best_step()
    if step is not None:
      try:
        _restore(self._best, step, variables)
      except Exception as error:  # Orbax has many kinds
        self._lost = min(self._lost, step)
        self._best.close()
        self._drop('best', step, _damaged(error))
        self._open_best()
    while (step := self._latest.latest_step()) is not None:
      fault = 'comes after a net that was kept and is lost'
      if step < self._lost:
        try:
          return _restore(self._latest, step, state)
        except Exception as error:
          fault = _damaged(error)
      self._latest.close()
      self._drop('latest', step, fault)
      # Orbax takes all steps to be of one form, that of the newest.
      self._latest = self._open('latest', max_to_keep=2)
    return None

  def best_step(self) -> int | None:
    """Step of the net that predicts, or None."""
    return self._best.best_step()

  def best_since(self) -> int | None:
    """First step with the error of the net that predicts, or None."""
    step = self.best_step()
    if self._since is None and step is not None:
      self._since = _metadata(self._best, step).get(SINCE, step)
    return self._since

  def save_best(self, step: int, variables: Any, error: float) -> None:
    """Save the variables that reached the validation error `error`."""
    same = error == self.best_error and self.best_since()
    self._since = same or step
    with _writing(self._folder):
      _save(
        *(self._best, step, variables, {SINCE: self._since}),
        metrics={'validation_error': float(error)},
      )
      self._send(self._best)
    self.best_error = error

  def restore_best(self, variables: Any) -> Any:
    """The best variables, shaped and sharded like `variables`."""
    step = self.best_step()
    if step is None:
      raise ValueError(
        f'No checkpoint in {self._best.directory}; run the stage that trains '
        'it first.'
      )
    with _naming(os.path.join(str(self._best.directory), str(step))):
      return _restore(self._best, step, variables)

  def wait(self) -> None:
    """Block until everything saved is on disk."""
    with _writing(self._folder):
      self._latest.wait_until_finished()
      self._best.wait_until_finished()

  def forget(self) -> None:
    """Close, and remove `latest`, which only a training that goes on needs."""
    self.close()
    name = 'latest.tar' if self._beside else 'latest'
    paths = [os.path.join(self._folder, one) for one in (name, ASIDE)]

    def remove() -> None:
      for path in paths:
        if storage.exists(path):  # in s3:// there is none without a step
          storage.remove(path)

    distributed.on_main_process(remove)

  def close(self) -> None:
    """Finish what is being written."""
    for manager in (self._latest, self._best):
      if manager:
        manager.close()

  def _fetch(self) -> None:
    """Unpack what `_send` left in s3://."""
    if jax.process_count() > 1:
      raise ValueError(
        f'{self._folder}: checkpoints of several processes need gs:// or a '
        'file system that they share, not s3://.'
      )
    for path in storage.glob(self._folder, '*.tar'):
      try:
        with tarfile.open(fileobj=storage.reading(path, 'rb')) as tar:
          # Python 3.11.3 and older do not know it, and take no `filter`.
          tar.extraction_filter = getattr(tarfile, 'data_filter', None)
          tar.extractall(self._beside.name)
      except tarfile.TarError as error:  # what it lacks is told apart later
        distributed.print_once(f'{path} is damaged ({door.reason(error)}).')

  def _drop_without_error(self) -> None:
    """Set kept nets aside whose error is damaged: Orbax cannot open them."""
    for path in storage.glob(self._place, 'best', '*'):
      step = os.path.basename(path)
      if not step.isdigit():
        continue
      try:
        found = storage.read_json(os.path.join(path, 'metrics', 'metrics'))
        float(found['validation_error'])
      except (ValueError, LookupError, TypeError, OSError) as error:
        self._lost = min(self._lost, int(step))
        self._set_aside('best', int(step), _damaged(error))

  def _drop(self, name: str, step: int, fault: str) -> None:
    distributed.on_main_process(lambda: self._set_aside(name, step, fault))

  def _set_aside(self, name: str, step: int, fault: str) -> None:
    """Move a checkpoint out of the way; a disk that fails now may not later."""
    path = os.path.join(self._place, name, str(step))
    aside = os.path.join(self._place, ASIDE, f'{name}_{step}')
    storage.move(path, aside)
    print(
      f'{path} {fault}: moved to {aside}. Training goes on from the newest '
      'checkpoint that is whole, or from the start.',
      flush=True,
    )

  def _send(self, manager: ocp.CheckpointManager) -> None:
    """Write what a manager keeps as one file: it is there whole or not."""
    if not self._beside:
      return
    manager.wait_until_finished()
    name = manager.directory.name
    path = os.path.join(self._folder, f'{name}.tar')
    with storage.staged(path) as place, tarfile.open(place, 'w') as tar:
      tar.add(manager.directory, name)


def _damaged(error: Exception) -> str:
  return f'is damaged or of another net ({door.reason(error)})'


def _save(
  manager: ocp.CheckpointManager,
  step: int,
  tree: Any,
  metadata: dict[str, int],
  **options: Any,
) -> None:
  """Save arrays with their checksum and other metadata."""
  manager.save(
    step,
    args=ocp.args.StandardSave(tree),
    custom_metadata={CHECKSUM: checksum(tree)} | metadata,
    **options,
  )


def _restore(manager: ocp.CheckpointManager, step: int, like: Any) -> Any:
  """Read arrays, shaped and sharded like those of a tree.

  Raises:
    Exception: of any kind where they are damaged or of another shape.
  """
  found = manager.restore(step, args=ocp.args.StandardRestore(abstract(like)))
  known = _metadata(manager, step).get(CHECKSUM)
  if known is not None and checksum(found) != known:
    raise ValueError('the numbers are not those that were saved')
  return found


def _metadata(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
  """Return what was said of a step beside its arrays."""
  # As a file: manager.metadata opens every array once more, in a second.
  path = os.path.join(str(manager.directory), str(step), METADATA)
  if storage.exists(path):
    return storage.read_json(path).get('custom_metadata') or {}
  # Of another version of Orbax.
  return manager.metadata(step).custom_metadata or {}


def checksum(tree: Any) -> int:
  """Return the CRC-32 of all arrays of a tree, which every device holds."""
  sum_ = 0
  for _, leaf in jax.tree_util.tree_leaves_with_path(tree):
    data = np.ascontiguousarray(leaf.addressable_data(0))
    sum_ = zlib.crc32(data.reshape(-1).view(np.uint8), sum_)
  return sum_


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
  """Name a checkpoint that cannot be read: Orbax' errors have a page each."""
  try:
    yield
  except Exception as error:
    stage = os.path.dirname(path.partition(f'{os.sep}best')[0])
    raise ValueError(
      f'The checkpoint {path} is damaged or of another net '
      f'({door.reason(error)}): remove the folder {stage} and run the stage '
      'again.'
    ) from error


@contextlib.contextmanager
def _writing(folder: str) -> Iterator[None]:
  """Say in one line that a checkpoint could not be written."""
  try:
    yield
  except Exception as error:
    raise ValueError(
      f'Cannot write a checkpoint to {folder} ({door.reason(error)}): free '
      'some space or mend the disk, and give the same command again. It goes '
      'on from the newest checkpoint that is whole.'
    ) from error


def abstract(tree: Any) -> Any:
  """Shapes, dtypes and shardings of a tree of arrays."""

  def leaf(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)

  return jax.tree.map(leaf, tree)
