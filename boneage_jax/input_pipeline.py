"""From a prepared data set or stored crops to sharded batches.

A batch is a dict of arrays over B films:
  image   uint8 [B, H, W, 1]      or   regions uint8 [B, R, H, W, 1]
  male    float32 [B], 1 male, 0 female, 0.5 unknown
  age     float32 [B], months
  id      int32 [B], -1 for padding
  valid   float32 [B], 0 for padding
and where a stage asks for them
  label   int32 [B], index of a class, -1 unknown
  region_mask  uint8 [B, H, W], 1 inside, 0 outside, 255 nobody said

The position in a data set is the global step and every film's random numbers
depend on (seed, position) only: a run resumes anywhere, and neither threads
nor processes change what step k sees.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import functools
import json
import os
import types
from typing import Any

import cv2
import grain
import jax
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np
import tensorflow_datasets as tfds

from boneage_jax import examples
from boneage_jax import files
from boneage_jax import splits

cv2.setNumThreads(0)  # films are the parallel unit
# glibc gives memory back to the system after every large film, and is given it
# anew page by page, until a block of this size was freed once.
np.empty(31 << 20, np.uint8)

Films = dict[str, np.ndarray]  # columns of equal length
COLUMNS = {
  'id': np.int64,
  'split': str,
  'male': np.float32,
  'age': np.float32,
  'position': np.int64,
  'study': np.int64,  # films of one hand share it
  'finding': str,  # '' where nobody said
}
SPLITS = splits.SPLITS


# Tables of films.


def read_films(path: str) -> Films:
  """Read a films.csv."""
  with files.reading(path) as file:
    rows = list(csv.DictReader(file))
  # Tables from before there were studies: every film is one.
  rows = [{'study': row['id'], 'finding': ''} | row for row in rows]
  return {
    name: np.array([row[name] for row in rows], kind)
    for name, kind in COLUMNS.items()
  }


def write_films(path: str, films: Films) -> None:
  """Write a films.csv in one step; studies and findings need not be there."""
  films = {
    'study': films['id'],
    'finding': np.full(len(films['id']), ''),
  } | films
  with files.replacing(path) as file:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    columns = [np.asarray(films[name], COLUMNS[name]) for name in COLUMNS]
    writer.writerows(zip(*columns, strict=True))


def select(films: Films, keep: np.ndarray) -> Films:
  """Return the rows of a mask or an index array."""
  return {name: column[keep] for name, column in films.items()}


def load_films(folder: str) -> Films:
  """List the films of a prepared data set.

  The first call reads every record; the list is kept in films.csv there.

  Returns:
    id, age (months), male, split (the archive's), position (of the record,
    over the archive's splits in the builder's order), study and finding.
  """
  path = os.path.join(folder, 'films.csv')
  if not files.exists(path):
    builder = tfds.builder_from_directory(folder)
    rows = []
    for r in _open(builder):
      marks = json.loads(r['annotations'].decode() or '{}')
      study, finding = marks.get('study', r['id']), marks.get('finding', '')
      rows.append((r['id'], r['male'], r['age'], study, finding))
    columns = (np.array(column) for column in zip(*rows, strict=True))
    ids, male, age, study, finding = columns
    sizes = [split.num_examples for split in builder.info.splits.values()]
    films = {
      'id': ids,
      'split': np.repeat(list(builder.info.splits), sizes),
      'male': male,
      'age': age,
      'position': np.arange(len(ids)),
      'study': study,
      'finding': finding,
    }
    write_films(path, films)
  return read_films(path)


def load_crop_films(stage_folder: str) -> Films:
  """List the films whose crops a stage wrote."""
  return read_films(os.path.join(stage_folder, 'films.csv'))


# Sources: item i is the undecoded record of film i.


class _Source:
  """Random access to the records of a table of films."""

  def __init__(self, films: Films, read: Callable[[int], dict[str, Any]]):
    self._films = films
    self._read = read

  def __len__(self) -> int:
    return len(self._films['id'])

  def __getitem__(self, index: int) -> dict[str, Any]:
    names = ('id', 'age', 'male', 'label')
    film = {n: self._films[n][index] for n in names if n in self._films}
    return film | self._read(index)


def _open(builder: tfds.core.DatasetBuilder) -> Any:
  """Open the records of all splits, one split after the other."""
  decoders = {'image': tfds.decode.SkipDecoding()}
  return builder.as_data_source(
    '+'.join(builder.info.splits), decoders=decoders
  )


def film_source(
  folder: str,
  films: Films,
  holes: Mapping[int, Any] | None = None,
  turned: Mapping[int, int] = types.MappingProxyType({}),
  cut_frames: bool = False,
) -> _Source:
  """Open whole films: `image` (bytes), id, age, male, annotations (JSON).

  With `holes`, film id -> what `boxes.holes` gives, also these. Films in
  `turned`, film id -> quarters, are turned back, see `examples.turn_back`, and
  with `cut_frames` all have lost their frames before, see `frames`.
  """
  records = _open(tfds.builder_from_directory(folder))
  positions = films['position'].tolist()

  def read(index: int) -> dict[str, Any]:
    record = records[positions[index]]
    film = int(films['id'][index])
    made = {
      'id': film,
      'image': record['image'],
      'annotations': record['annotations'].decode(),
    }
    if cut_frames:
      made = examples.without_frame(made)
    made = examples.turn_back(made, turned.get(film, 0))
    return made | ({'holes': holes[film]} if holes else {})

  return _Source(films, read)


def crop_source(
  stage_folder: str, films: Films, take: Sequence[int] = ()
) -> _Source:
  """Open the stored crops of films: `regions` (bytes), id, age, male.

  With `take`, positions of the crops to use of each film's, also these.
  """
  stored = read_films(os.path.join(stage_folder, 'films.csv'))['id'].tolist()
  where = {film: position for position, film in enumerate(stored)}
  missing = [film for film in films['id'].tolist() if film not in where]
  path = os.path.join(stage_folder, 'crops.array_record')
  records = grain.sources.ArrayRecordDataSource([files.local(path)])
  if missing or len(records) != len(stored):
    raise ValueError(
      f'expected crops of {len(films["id"])} films in {path}, got '
      f'{len(records)} records for {len(stored)} films, {len(missing)} '
      f'missing, such as {missing[:5]}; remove done.json beside it and run '
      'again'
    )
  positions = [where[film] for film in films['id'].tolist()]
  chosen = {'take': list(take)} if take else {}
  return _Source(films, lambda i: chosen | {'regions': records[positions[i]]})


# Data sets.


def train_dataset(
  source: _Source,
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
      f'expected at least one batch of {batch_size} films to train on, got '
      f'{len(source)}; lower batch_size or add films'
    )
  batches, share = _share(batch_size, process_index, process_count)
  dataset = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
  dataset = dataset.random_map(
    lambda record, rng: examples.make_example(record, config, rng, masks)
  )
  return dataset.batch(share, drop_remainder=True)[batches]


def eval_batches(
  source: _Source,
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
    made = examples.make_example(record, config, masks=masks, view=view)
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
      f'expected a batch_size divisible by {process_count} processes, got '
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
  rows = len(batch['male'])
  if rows % here:
    raise ValueError(
      f'expected a batch divisible by {here} devices, got {rows} films here; '
      'change batch_size'
    )
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  make = functools.partial(jax.make_array_from_process_local_data, sharding)
  return {
    name: make(value)
    for name, value in batch.items()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf'
  }
