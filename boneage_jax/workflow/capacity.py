"""Room for a run: memory of the devices, and the disk for checkpoints."""

import os
import shutil
from typing import Any

import jax

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.training import footprint

NETS = ('train', 'mine', 'active')  # jobs that train
LATEST = 3  # train states on disk: the newest two, and one being written
GIB = 2**30


def check(config: Any, workdir: str) -> None:
  """Check that checkpoints have room; say where memory may be too small.

  Raises:
    ValueError: the disk is too full for the checkpoints of the stages to come.
  """
  needed, free = checkpoint_bytes(config, workdir), free_bytes(workdir)
  if free is not None and free < needed:
    raise ValueError(
      f'Expected room for checkpoints of {needed / GIB:.2f} GiB in {workdir}, '
      f'got {free / GIB:.2f} GiB: free some space, or give another --workdir.'
    )
  for line in warnings(config, workdir):
    distributed.print_once(f'warning: {line}')


def warnings(config: Any, workdir: str) -> list[str]:
  """Say of each stage to train what may be too large, or needlessly slow."""
  lines = [
    of(config, stage)
    for stage in to_train(config, workdir)
    for of in (memory_warning, dtype_warning)
  ]
  return [line for line in lines if line]


def to_train(config: Any, workdir: str) -> list[str]:
  """Name the stages that train a net and are not finished."""
  of = [stages.Stage(config, name, workdir) for name in config.stages]
  return [s.name for s in of if s.section.job in NETS and not s.done]


def memory_warning(config: Any, stage: str) -> str:
  """Say that a step needs more memory than a device has; '' where it fits."""
  needed, there = step_memory(config, stage), device_memory()
  if not there or needed <= there:
    return ''
  net = config[stage].net
  return (
    f'{stage}: a step of {config[stage].batch_size} films needs about '
    f'{needed / GIB:.1f} GiB on each device, which has {there / GIB:.1f} GiB: '
    f'lower --config.{stage}.batch_size, raise --config.{stage}.accumulate'
    + (f' or set --config.{stage}.net.remat=True' if 'remat' in net else '')
    + ' if memory runs out.'
  )


def dtype_warning(config: Any, stage: str) -> str:
  """Say that a net's dtype makes a CPU slower; '' where it does not."""
  given = config[stage].net.get('dtype')
  if given != 'bfloat16' or jax.default_backend() != 'cpu':
    return ''
  return (
    f'{stage}: bfloat16 is slower than float32 on a CPU, by up to two fifths: '
    f'set --config.{stage}.net.dtype=float32.'
  )


def step_memory(config: Any, stage: str) -> int:
  """Estimate the bytes that a training step needs on each device."""
  section = config[stage]
  films = section.batch_size // (jax.device_count() * section.accumulate)
  return footprint.measure(config, stage).memory(films)


def device_memory() -> int:
  """Bytes that one device may use; a CPU's share of the host; 0: not known."""
  device = jax.local_devices()[0]
  if limit := (device.memory_stats() or {}).get('bytes_limit'):
    return limit
  if device.platform != 'cpu' or not hasattr(os, 'sysconf'):
    return 0
  whole = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  return whole // jax.local_device_count()


def checkpoint_bytes(config: Any, workdir: str) -> int:
  """Bytes of all checkpoints while the stages to come train, at most.

  A finished stage keeps its net alone; stages that have begun have their room.
  """
  most = kept = 0
  for name in to_train(config, workdir):
    if stages.Stage(config, name, workdir).begun:
      continue
    found = footprint.measure(config, name)
    most = max(most, kept + 2 * found.variables + LATEST * found.state)
    kept += found.variables * max(config.data.folds, 1)
  return max(most, kept)


def free_bytes(folder: str) -> int | None:
  """Bytes that are free where a folder is, or will be; None of a bucket."""
  if storage.is_remote(folder):
    return None
  while not os.path.exists(folder):
    folder = os.path.dirname(folder) or os.curdir
  return shutil.disk_usage(folder).free
