"""From a prepared data set or stored crops to sharded batches.

A batch is a dict of arrays over B films:
  image   uint8 [B, H, W, 1]      or   regions uint8 [B, R, H, W, 1]
                                  or   features float16 [B, h, w, C]
  sex    float32 [B], +1 male, -1 female, 0 unknown
  age     float32 [B], months
  id      int32 [B], row of the prepared films.csv, -1 for padding
  valid   float32 [B], 0 for padding
where films have them
  chronological_age  float32 [B], months, and others of core/scalars.py; NaN
          where it is not known: a net that reads it is refused such films
and where a stage asks for them
  label   int32 [B], index of a class, -1 unknown
  region_mask  uint8 [B, H, W], 1 inside, 0 outside, 255 nobody said

The position in a data set is the global step and every film's random numbers
depend on (seed, position) only: a run resumes anywhere, and neither threads
nor processes change what step k sees.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import functools
from typing import Any

import cv2
import grain
import jax
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from boneage_jax.data import preprocess
from boneage_jax.data import sources

cv2.setNumThreads(0)  # films are the parallel unit
# glibc gives memory back to the system after every large film, and is given it
# anew page by page, until a block of this size was freed once.
np.empty(31 << 20, np.uint8)


# Data sets.


def train_dataset(
  source: sources.Source,
  config: Any,
  batch_size: int,
  seed: int,
  *,
  masks: Sequence[str] = (),
  process_index: int | None = None,
  process_count: int | None = None,
) -> grain.MapDataset:
  """Return the endless training data; item k is the batch of step k.

  Films are shuffled and augmented anew each epoch; a batch may hold the end
  of one and the start of the next. `batch_size` counts all processes; each
  gets its share, and the shares of one step are the same batch however many
  there are. `masks` are kinds of masks.KINDS to draw, if any.
  """
  if len(source) < batch_size:
    raise ValueError(
      f'Expected at least one batch of {batch_size} films to train on, got '
      f'{len(source)}; lower batch_size or add films'
    )
  batches, share = _share(batch_size, process_index, process_count)
  dataset = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
  dataset = dataset.random_map(
    lambda record, rng: preprocess.make_example(record, config, rng, masks)
  )
  return dataset.batch(share, drop_remainder=True)[batches]


def eval_batches(
  source: sources.Source,
  config: Any,
  batch_size: int,
  *,
  masks: Sequence[str] = (),
  view: np.ndarray | None = None,
  process_index: int | None = None,
  process_count: int | None = None,
) -> grain.MapDataset:
  """Return every film once, in order; padding has valid 0 and id -1.

  All processes get the same number of batches. `view` is a matrix over the
  net's input.
  """
  batches, share = _share(batch_size, process_index, process_count)
  count = len(source)
  padded = -(-count // batch_size) * batch_size

  def example(index: int) -> dict[str, Any]:
    record = source[index if index < count else 0]
    made = preprocess.make_example(record, config, masks=masks, view=view)
    if index < count:
      return made
    return jax.tree.map(np.zeros_like, made) | {'id': np.int32(-1)}

  return grain.MapDataset.range(padded).map(example).batch(share)[batches]


def _share(
  batch_size: int, process_index: int | None, process_count: int | None
) -> tuple[slice, int]:
  """Return which batches are this process's, and their size.

  A global batch is `process_count` consecutive ones, in process order.
  """
  if process_count is None:
    process_index, process_count = jax.process_index(), jax.process_count()
  if batch_size % process_count:
    raise ValueError(
      f'Expected a batch_size divisible by {process_count} processes, got '
      f'{batch_size}'
    )
  return slice(process_index, None, process_count), batch_size // process_count


def iterate(
  dataset: grain.MapDataset, start: int = 0, threads: int = 2, buffer: int = 2
) -> Iterator[dict[str, np.ndarray]]:
  """Yield batches from `start` on, `buffer` of them read ahead by threads.

  Close it (or exhaust it) to stop the threads.
  """
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=max(buffer, threads)
  )
  iterator = iter(dataset.to_iter_dataset(options))
  grain.experimental.set_next_index(iterator, start)
  try:
    yield from iterator
  finally:
    iterator.close()


def to_device(
  batch: Mapping[str, np.ndarray], mesh: Mesh
) -> dict[str, jax.Array]:
  """Make global arrays [B, ...] of the processes' rows, split over `data`."""
  here = len(mesh.local_devices)
  rows = len(batch['sex'])
  if rows % here:
    raise ValueError(
      f'Expected a batch divisible by {here} devices, got {rows} films here; '
      'change batch_size'
    )
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  make = functools.partial(jax.make_array_from_process_local_data, sharding)
  return {
    name: make(value)
    for name, value in batch.items()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf'
  }
