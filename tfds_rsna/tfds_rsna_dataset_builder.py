"""RSNA Pediatric Bone Age Challenge 2017 as a TFDS data set."""

import collections
from collections.abc import Iterator
import concurrent.futures
import dataclasses
import json
import os
from typing import Any
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from tfds_rsna import archive as archives
from tfds_rsna import films as film_files
from tfds_rsna import layout

SHOWN = 100  # bad films listed in the error


@dataclasses.dataclass
class RsnaConfig(tfds.core.BuilderConfig):
  """`long_side`: shrink films to at most this many pixels; None keeps them."""

  long_side: int | None = None


class Builder(tfds.core.GeneratorBasedBuilder):
  """Builds without TensorFlow; every film is an independent example."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'Initial release.'}
  BUILDER_CONFIGS: ClassVar = [
    RsnaConfig(name='original', description='Films as they are published.'),
    RsnaConfig(
      name='px768', description='Long side at most 768 pixels.', long_side=768
    ),
    RsnaConfig(
      name='px512', description='Long side at most 512 pixels.', long_side=512
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = layout.LAYOUT

  def __init__(self, *, allow_bad_films: int = 0, **kwargs):
    """Creates the builder.

    Args:
      allow_bad_films: so many films may be left out because they are missing,
        corrupt, or labelled twice or out of range.
      **kwargs: see tfds.core.GeneratorBasedBuilder.
    """
    kwargs.setdefault('file_format', 'array_record')
    self.allow_bad_films = allow_bad_films
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(None, None, 1)),
          'id': np.int64,
          'male': np.bool_,
          'age': np.float32,  # months
          'height': np.int32,  # of the source film
          'width': np.int32,
          'annotations': tfds.features.Text(),  # JSON, '' where there are none
        }
      ),
      supervised_keys=('image', 'age'),
      homepage='https://www.rsna.org/education/ai-resources-and-training/'
      'ai-image-challenge/RSNA-Pediatric-Bone-Age-Challenge-2017',
    )

  def _download_and_prepare(self, *args, **kwargs) -> None:
    """Adds the gate and build.json while the folder has its interim name."""
    super()._download_and_prepare(*args, **kwargs)
    if len(self.bad) > self.allow_bad_films:
      raise ValueError(describe_bad(self.bad, self.allow_bad_films))
    path = os.path.join(self.data_dir, 'build.json')
    with open(path, 'w', encoding='utf-8') as f:
      counts = {
        split: self.info.splits[split].num_examples
        for split in self.archive.films
      }
      json.dump(summary(self.archive, self.bad, counts), f, indent=2)

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    self.archive = archives.read(dl_manager.manual_dir)
    self.bad = list(self.archive.bad)
    return {
      split: self._generate_examples(split, films)
      for split, films in self.archive.films.items()
    }

  def _generate_examples(
    self, split: str, films: list[archives.Film]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    def prepare(film: archives.Film) -> dict[str, Any] | ValueError:
      note = self.archive.annotations.get(film.id)
      return example(film, note, self.builder_config.long_side)

    empty = True
    bar = tqdm.tqdm(
      _parallel(prepare, films),
      f'{split}, {self.builder_config.name}',
      len(films),
      unit=' films',
      mininterval=1,
    )
    for film, result in bar:
      if isinstance(result, ValueError):
        self.bad.append([film.id, f'{film.member}: {result}'])
      else:
        empty = False
        yield film.id, result
    if empty:
      raise ValueError(
        f'Not one good film in {split}. '
        f'{describe_bad(self.bad, self.allow_bad_films)}'
      )


def example(
  film: archives.Film, note: dict[str, Any] | None, long_side: int | None
) -> dict[str, Any] | ValueError:
  """Reads, checks and encodes one film; a bad one gives the reason."""
  try:
    image, height, width = film_files.encode(film.read(), long_side)
  except ValueError as e:
    return e
  except Exception as e:  # one odd film must not end the build of thousands
    return ValueError(f'cannot be read: {type(e).__name__}: {e}')
  return {
    'image': image,
    'id': film.id,
    'male': film.male,
    'age': film.age,
    'height': height,
    'width': width,
    'annotations': json.dumps(note) if note else '',
  }


def describe_bad(bad: list[list[Any]], allowed: int) -> str:
  """Lists bad films by id and reason, and says what to do."""
  lines = [f'  {film}: {reason}' for film, reason in bad[:SHOWN]]
  if len(bad) > SHOWN:
    lines.append(f'  ... and {len(bad) - SHOWN} more')
  listing = '\n'.join(lines)
  return (
    f'{len(bad)} bad films, {allowed} allowed:\n{listing}\nRepair the archive, '
    f'or leave these films out with allow_bad_films={len(bad)}.'
  )


def summary(
  archive: archives.Archive, bad: list[list[Any]], counts: dict[str, int]
) -> dict[str, Any]:
  """Describes the prepared data set: the content of build.json."""
  first = next(iter(archive.label_files.values()))
  films = sum(counts.values())
  full = sum(layout.SPLITS[split][1] for split in counts)
  return {
    'name': archive.name(counts),
    'films': films,
    'of': full if archive.phantom is None else films,
    'splits': counts,
    'bad': bad,
    'unlabelled': archive.unlabelled,
    'notes': archive.notes,
    'annotated': len(archive.annotations),
    'label_file': first['file'],
    'label_file_sha256': first['sha256'],
    'label_files': archive.label_files,
    'manual_dir': archive.manual_dir,
    'fingerprint': archive.fingerprint(),
  }


def _parallel(function, items) -> Iterator[tuple[Any, Any]]:
  """Maps in order with all cores: cv2 and zlib run outside of the GIL."""
  threads = os.cpu_count() or 1
  pending = collections.deque()
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    for item in items:
      pending.append((item, pool.submit(function, item)))
      if len(pending) > 4 * threads:
        done, future = pending.popleft()
        yield done, future.result()
    while pending:
      done, future = pending.popleft()
      yield done, future.result()
