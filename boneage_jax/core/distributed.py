"""Many processes of one run, as on a TPU slice or on several GPU hosts.

All run the same program on a file system that they share. Process 0
writes the files and speaks; in a run of one process that is the only one, and
every function here returns at once.
"""

import collections
from collections.abc import Callable
from collections.abc import Sequence
import pickle
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np

from boneage_jax.core import storage

LAG = 2  # steps until a vote is counted: by then no step waits for it
SHUTDOWN = 60  # seconds from the error of one process to the end of all


def join(coordinator: str | None, count: int | None, index: int | None) -> None:
  """Join the other processes; must come before any other use of JAX.

  Args:
    coordinator: HOST:PORT of process 0; None asks the launcher (a TPU slice,
      SLURM, Open MPI or Kubernetes) for this and the rest.
    count: how many processes there are.
    index: which of them this one is, from 0.

  Raises:
    ValueError: some arguments are missing, or no launcher was found.
  """
  given = (coordinator, count, index)
  detect = given == (None, None, None)
  if not detect and (None in given or ':' not in coordinator):
    raise ValueError(
      'Expected --coordinator=HOST:PORT, --processes=N and --process=I '
      f'together, got {coordinator}, {count} and {index}.'
    )
  # Its handler would swallow SIGTERM outside of training, where nobody asks.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    jax.distributed.initialize(
      coordinator,
      count,
      index,
      cluster_detection_method=None if detect else 'deactivate',
      shutdown_timeout_seconds=SHUTDOWN,
    )
  except ValueError as error:
    if not detect:
      raise
    raise ValueError(
      '--distributed found no TPU slice and no SLURM, Open MPI or Kubernetes '
      'job to join; give every process --coordinator=HOST:PORT --processes=N '
      f'--process=I instead, or nothing to run alone ({error})'
    ) from error


def is_main_process() -> bool:
  """Whether this process writes the files and speaks."""
  return jax.process_index() == 0


def print_once(text: str) -> None:
  """Print a line, once for all processes."""
  if is_main_process():
    print(text, flush=True)


def any_process(flag: bool) -> bool:
  """Whether `flag` is true in any process; waits for all of them."""
  return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def exists(path: str) -> bool:
  """Whether a file is there, as process 0 sees it; waits for all of them.

  Each for itself may see it late, on a network file system, or when it is gone
  again; those that do not decide alike wait for each other for ever.
  """
  return any_process(is_main_process() and storage.exists(path))


def run_everywhere(job: Callable[[], Any]) -> Any:
  """Run `job` in every process; where it fails in one, all of them end.

  Raises:
    ValueError: it failed in another process, which says why.
  """
  result = error = None
  try:
    result = job()
  except Exception as e:  # of any kind: the others wait in the next line
    error = e
  failed = any_process(error is not None)
  if error is not None:
    raise error
  if failed:
    raise ValueError('Another process failed; see its message.')
  return result


def on_main_process(job: Callable[[], Any]) -> Any:
  """Run `job` in process 0 while the others wait; gives them None.

  Between CPUs they wait for 30 minutes at most, as Gloo does; a stage that
  takes longer is run by one process beforehand.
  """
  return run_everywhere(job if is_main_process() else lambda: None)


def shard(items: Any) -> Any:
  """The part of a sequence that is this process's to work on."""
  index, count = jax.process_index(), jax.process_count()
  start, stop = (len(items) * i // count for i in (index, index + 1))
  return items[start:stop]


def all_gather_objects(items: list) -> list:
  """The items of all processes, in their order, in every process."""
  if jax.process_count() == 1:
    return items
  data = np.frombuffer(pickle.dumps(items), np.uint8)
  sizes = multihost_utils.process_allgather(np.array(len(data)))
  padded = np.pad(data, (0, max(sizes) - len(data)))
  parts = multihost_utils.process_allgather(padded)
  return [
    item
    for part, size in zip(parts, sizes, strict=True)
    for item in pickle.loads(part[:size].tobytes())
  ]


class StopConsensus:
  """Asks at every step whether any process wants to stop.

  All get the same answer at the same step, LAG steps late, so that the device
  never waits for it. Alone, a process has its way at once.
  """

  def __init__(self, mesh: jax.sharding.Mesh):
    spec = jax.sharding.PartitionSpec
    self._rows = jax.sharding.NamedSharding(mesh, spec('data'))
    self._here = len(mesh.local_devices)
    everywhere = jax.sharding.NamedSharding(mesh, spec())
    self._count = jax.jit(jnp.max, out_shardings=everywhere)
    self._pending = collections.deque()

  def __call__(self, yes: bool) -> bool:
    """Vote; return what was decided LAG steps ago."""
    if jax.process_count() == 1:
      return yes
    votes = np.full(self._here, yes, np.int32)
    votes = jax.make_array_from_process_local_data(self._rows, votes)
    self._pending.append(self._count(votes))
    return len(self._pending) > LAG and bool(self._pending.popleft())


def make_mesh(
  devices: Sequence[jax.Device] | None = None,
) -> jax.sharding.Mesh:
  """Devices, by default all, on one axis, 'data'.

  Those of a process lie side by side, in the order of the processes: so do the
  rows of a batch, see input_pipeline.
  """
  devices = jax.devices() if devices is None else devices
  return jax.sharding.Mesh(
    sorted(devices, key=lambda d: (d.process_index, d.id)),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
  )


def replicated(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Return the sharding of arrays that every device holds whole."""
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
