"""RSNA Pediatric Bone Age Challenge 2017 as a TFDS data set."""

import dataclasses
import os
from typing import Any
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder

from boneage_jax.core import ids
from boneage_jax.core import storage
from boneage_jax.imaging import codec
from boneage_jax.imaging import limits as limits_lib
from tfds_rsna import archive as archives
from tfds_rsna import labels
from tfds_rsna import layout
from tfds_rsna import shards

SHOWN = 100  # bad films listed in the error


@dataclasses.dataclass
class RsnaConfig(tfds.core.BuilderConfig):
  """`long_side`: shrink films to at most this many pixels; None keeps them."""

  long_side: int | None = None


class Builder(dataset_builder.FileReaderBuilder):
  """Builds without TensorFlow, on one machine or with Apache Beam."""

  VERSION = tfds.core.Version('2.1.0')
  RELEASE_NOTES: ClassVar = {
    '1.0.0': 'Initial release.',
    '2.0.0': 'Ids are text.',
    '2.1.0': 'Films are read by docs/reference/reading.md.',
  }
  BUILDER_CONFIGS: ClassVar = [
    RsnaConfig(
      name=name,
      description=f'Long side at most {side} pixels.'
      if side
      else 'Films as they are published.',
      long_side=side,
    )
    for name, side in layout.LONG_SIDES.items()
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = layout.LAYOUT

  def __init__(
    self,
    *,
    allow_bad_films: int = 0,
    age_unit: str = labels.UNITS[0],
    archive: archives.Archive | None = None,
    workers: int | None = None,
    limits: limits_lib.Limits | None = None,
    **kwargs,
  ):
    """Creates the builder.

    Args:
      allow_bad_films: so many films may be left out because they are missing,
        corrupt, or labelled twice or out of range.
      age_unit: of the ages in the label files, 'months' or 'years'.
      archive: that was read before; None reads the manual_dir.
      workers: films that are prepared at a time, by default one per core;
        Beam has its own.
      limits: of the size of a film.
      **kwargs: see tfds.core.DatasetBuilder; also file_format.
    """
    kwargs.setdefault('file_format', 'array_record')
    self.allow_bad_films = allow_bad_films
    self.age_unit = age_unit
    self.archive = archive
    self.limits = limits or limits_lib.Limits()
    self.workers = workers or os.cpu_count() or 1
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(None, None, 1)),
          'id': tfds.features.Text(),
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

  def _download_and_prepare(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    """Writes shards and build.json while the folder has its interim name."""
    archive = self.archive
    if archive is None:
      archive = archives.read(dl_manager.manual_dir, self.age_unit)
    plan = {split: self._plan(archive, split) for split in archive.films}
    everything = [shard for parts in plan.values() for shard in parts]
    runner, options = download_config.beam_runner, download_config.beam_options
    if runner is not None or options is not None:
      written = shards.write_with_beam(
        everything, self.data_dir, runner, options
      )
    else:
      title = self.builder_config.name
      written = shards.write_here(everything, self.workers, title)

    bad = [b for r in written.values() for b in r['bad']]
    bad = archive.bad + sorted(bad, key=lambda b: ids.sort_key(b[0]))
    infos = [
      tfds.core.SplitInfo(
        name=split,
        shard_lengths=[written[shard.path]['films'] for shard in parts],
        num_bytes=sum(written[shard.path]['bytes'] for shard in parts),
        filename_template=self._get_filename_template(split),
      )
      for split, parts in plan.items()
    ]
    counts = {info.name: info.num_examples for info in infos}
    empty = ' and '.join(split for split, films in counts.items() if not films)
    if empty or len(bad) > self.allow_bad_films:
      raise ValueError(
        (f'Not one good film in {empty}. ' if empty else '')
        + describe_bad(bad, self.allow_bad_films)
      )
    self.info.set_splits(tfds.core.SplitDict(infos))
    path = os.path.join(self.data_dir, 'build.json')
    inverted = [i for r in written.values() for i in r['inverted']]
    inverted.sort(key=ids.sort_key)
    odd = [o for r in written.values() for o in r['odd']]
    odd.sort(key=lambda o: (ids.sort_key(o[0]), o[1]))
    about = summary(archive, bad, inverted, odd, counts)
    storage.write_json(path, about, indent=2)

  def _plan(self, archive: archives.Archive, split: str) -> list[shards.Shard]:
    """Says which films of a split go into which file."""
    parts = shards.cut(split, archive.films[split])
    template = self._get_filename_template(split)
    return [
      shards.Shard(
        str(template.sharded_filepath(shard_index=i, num_shards=len(parts))),
        [(film, archive.annotations.get(film.id, {})) for film in films],
        self.builder_config.long_side,
        self.info.features,
        self.info.file_format,
        self.limits,
      )
      for i, films in enumerate(parts)
    ]


def describe_bad(bad: list[list[Any]], allowed: int) -> str:
  """Lists bad films by id and reason, and says what to do."""
  return (
    f'{len(bad)} bad films, {allowed} allowed:\n{_listing(bad)}\nRepair the '
    f'archive, or leave these films out with allow_bad_films={len(bad)}.'
  )


def describe_left_out(bad: list[list[Any]]) -> list[str]:
  """Says which films are left out, in one note or none."""
  return [f'{len(bad)} bad films left out:\n{_listing(bad)}'] if bad else []


def _listing(bad: list[list[Any]]) -> str:
  lines = [f'  {film}: {reason}' for film, reason in bad[:SHOWN]]
  if len(bad) > SHOWN:
    lines.append(f'  ... and {len(bad) - SHOWN} more')
  return '\n'.join(lines)


def describe_odd(odd: list[list[str]]) -> list[str]:
  """Says in one line a kind which files were read though they are odd."""
  lines = []
  for note, sentence in {**codec.NOTES, **shards.NOTES}.items():
    films = [film for film, kind in odd if kind == note]
    if films:
      some = ', '.join(films[:5]) + (', ...' if len(films) > 5 else '')
      count = '1 film' if len(films) == 1 else f'{len(films)} films'
      lines.append(f'{count} ({some}): {sentence}.')
  return lines


def summary(
  archive: archives.Archive,
  bad: list[list[Any]],
  inverted: list[str],
  odd: list[list[str]],
  counts: dict[str, int],
) -> dict[str, Any]:
  """Describes the prepared data set: the content of build.json."""
  first = next(iter(archive.label_files.values()))
  name, whole = archive.describe(counts)
  return {
    'name': name,
    'films': sum(counts.values()),
    'of': whole,
    'phantom': archive.phantom is not None,
    'splits': counts,
    'age_unit': archive.age_unit,
    'bad': bad,
    'looks_inverted': inverted,
    'unlabelled': archive.unlabelled,
    'odd_files': odd,
    'notes': archive.notes + describe_left_out(bad) + describe_odd(odd),
    'annotated': len(archive.annotations),
    'label_file': first['file'],
    'label_file_sha256': first['sha256'],
    'label_files': archive.label_files,
    'manual_dir': archive.manual_dir,
    'fingerprint': archive.fingerprint(),
  }
