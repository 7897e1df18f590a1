"""Writes the shards of the data set, with the cores of a machine or by Beam.

The films of a shard and their order follow from their ids alone, so its bytes
are the same whoever writes it, and however many do. TFDS' own writers would
need TensorFlow above 1000 MiB, and cut other shards with Beam than without.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterator
import concurrent.futures
import dataclasses
import functools
import json
import os
from typing import Any
import uuid

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import hashing
import tqdm

from boneage_jax.core import door
from boneage_jax.core import storage
from boneage_jax.imaging import codec
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.imaging import polarity
from boneage_jax.imaging import two_hands
from tfds_rsna import archive as archives
from tfds_rsna import films as films_lib

# What is noted of a film besides `codec.NOTES`.
CUT = 'two_hands'
NOTES = {CUT: 'wider than high, so cut between two hands, of which one is kept'}
FILMS = 128  # of a shard: 130 MB as published, and what a Beam worker takes


@dataclasses.dataclass(frozen=True)
class Shard:
  """Some films of a split and the file that will hold them; picklable."""

  path: str
  films: list[tuple[archives.Film, dict[str, Any]]]  # with annotations
  long_side: int | None
  features: tfds.features.FeaturesDict
  file_format: tfds.core.FileFormat
  limits: limits_lib.Limits

  def examples(self) -> list[Callable[[], dict[str, Any] | ValueError]]:
    """Lists the calls that give the examples of the films."""
    return [
      functools.partial(example, film, note, self.long_side, self.limits)
      for film, note in self.films
    ]


def example(
  film: archives.Film,
  drawn: dict[str, Any],
  long_side: int | None,
  limits: limits_lib.Limits,
) -> dict[str, Any] | ValueError:
  """Reads, checks and encodes one film; a bad one gives the reason.

  Beside the features it says whether the film `looks_inverted`, and in `notes`
  what is odd about its file.
  """
  try:
    read = codec.read(film.read(limits), limits)
    inverted = polarity.looks_inverted(read.image)
    if film.side and read.image.shape[1] > read.image.shape[0]:
      half = np.ascontiguousarray(
        two_hands.cut(read.image, film.side, inverted)
      )
      read = codec.Film(half, None, (*read.notes, CUT))
    image = films_lib.pack(read, long_side)
  except ValueError as e:
    return e
  except Exception as e:  # one odd film must not end the build of thousands
    return ValueError(codec.reason(e))
  return {
    'image': image,
    'id': film.id,
    'male': film.male,
    'age': film.age,
    'height': read.image.shape[0],
    'width': read.image.shape[1],
    'annotations': json.dumps(drawn | film.said) if drawn or film.said else '',
    'looks_inverted': inverted,
    'notes': read.notes,
  }


def cut(split: str, films: list[archives.Film]) -> list[list[archives.Film]]:
  """Deals films into shards, shuffled by a hash of their ids as TFDS does."""
  hasher = hashing.Hasher(split)
  films = sorted(films, key=lambda film: hasher.hash_key(film.id))
  return [films[i : i + FILMS] for i in range(0, len(films), FILMS)]


def write(
  shard: Shard, examples: Iterator[dict[str, Any] | ValueError]
) -> tuple[str, dict[str, Any]]:
  """Writes a shard, which appears whole or not at all.

  Args:
    shard: what to write.
    examples: gives for each of its films the example or why there is none, and
      may go on with those of the next shard.

  Returns:
    The shard's path, and its number of films, size in bytes, bad films as
    [id, reason], ids of films that look inverted, and odd files as [id, note].
  """
  serializer = tfds.core.ExampleSerializer(shard.features.get_serialized_info())
  sizes: list[int] = []
  bad: list[list[Any]] = []
  inverted: list[str] = []
  odd: list[list[str]] = []

  def records() -> Iterator[tuple[str, bytes]]:
    for film, _ in shard.films:
      found = next(examples)
      if isinstance(found, ValueError):
        bad.append([film.id, f'{door.shown(film.member)}: {found}'])
        continue
      if found.pop('looks_inverted'):
        inverted.append(film.id)
      odd.extend([film.id, note] for note in found.pop('notes'))
      proto = serializer.get_tf_example(shard.features.encode_example(found))
      # Features lie in a map, whose order changes from process to process.
      record = proto.SerializeToString(deterministic=True)
      sizes.append(len(record))
      yield film.id, record

  folder, name = os.path.split(shard.path)
  # Beam may write a shard twice; TFDS sweeps what a killed worker leaves here.
  interim = os.path.join(folder, f'incomplete.{uuid.uuid4().hex}.{name}')
  with storage.writing(shard.path):
    tfds.core.ExampleWriter(shard.file_format).write(interim, records())
    os.replace(interim, shard.path)
  return shard.path, {
    'films': len(sizes),
    'bytes': sum(sizes),
    'bad': bad,
    'inverted': inverted,
    'odd': odd,
  }


def write_here(
  shards: list[Shard], workers: int, title: str
) -> dict[str, dict[str, Any]]:
  """Writes shards one after the other, with a progress bar.

  Args:
    shards: what to write.
    workers: threads that prepare films: cv2 and zlib run outside of the GIL.
    title: of the progress bar.

  Returns:
    For every shard's path what `write` says of it.
  """
  calls = [call for shard in shards for call in shard.examples()]
  examples = _parallel(calls, workers)
  with tqdm.tqdm(
    examples, title, len(calls), unit=' films', mininterval=1
  ) as bar:
    shown = iter(bar)
    written = dict(write(shard, shown) for shard in shards)
    next(shown, None)  # so that the bar ends at its total
  return written


def write_with_beam(
  shards: list[Shard], folder: str, runner: Any, options: Any
) -> dict[str, dict[str, Any]]:
  """Writes shards in an Apache Beam pipeline, each by one worker.

  Args:
    shards: what to write; every worker must see the films and the folder under
      these paths.
    folder: where the shards will lie.
    runner: a Beam runner or its name; None leaves it to the options.
    options: a Beam PipelineOptions, or None.

  Returns:
    For every shard's path what `write` says of it.
  """
  import apache_beam as beam

  report = os.path.join(folder, 'shards.json')
  with beam.Pipeline(runner=runner, options=options) as pipeline:
    _ = (
      pipeline
      | beam.Create(shards)
      | beam.Reshuffle()  # or a runner might give all of them to one worker
      | beam.Map(_write_alone)
      | beam.combiners.ToList()
      | beam.Map(functools.partial(storage.write_json, report))
    )
  with open(report, encoding='utf-8') as f:
    written = dict(json.load(f))
  os.remove(report)
  return written


def _write_alone(shard: Shard) -> tuple[str, dict[str, Any]]:
  return write(shard, (call() for call in shard.examples()))


def _parallel(calls: list[Callable[[], Any]], workers: int) -> Iterator[Any]:
  """Gives the results in order, only a few of them ahead of their use."""
  pending = collections.deque()
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    for call in calls:
      pending.append(pool.submit(call))
      if len(pending) > 4 * workers:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()
