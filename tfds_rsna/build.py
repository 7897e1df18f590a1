"""Builds the data set: python -m tfds_rsna.build --manual_dir=...

Needs neither TensorFlow nor the `tfds` command.
"""

from collections.abc import Sequence
import contextlib
import fcntl
import io
import os
import shutil
from typing import Any

from absl import app
from absl import flags
from absl import logging
import tensorflow_datasets as tfds

from boneage_jax.core import door
from boneage_jax.core import storage
from boneage_jax.imaging import limits as limits_lib
from tfds_rsna import archive as archives
from tfds_rsna import labels
from tfds_rsna import layout
from tfds_rsna import tfds_rsna_dataset_builder as builders

CONFIGS = tuple(c.name for c in builders.Builder.BUILDER_CONFIGS)
VERSION = str(builders.Builder.VERSION)


def build(
  source: str | archives.Archive,
  data_dir: str,
  config: str = 'original',
  allow_bad_films: int = 0,
  workers: int | None = None,
  beam_options: Sequence[str] = (),
  age_unit: str = labels.UNITS[0],
  limits: limits_lib.Limits | None = None,
) -> str:
  """Builds the data set, unless it is there already.

  Args:
    source: folder of the archive (README.md describes it), or an archive that
      was read.
    data_dir: where data sets lie.
    config: original, px768 or px512.
    allow_bad_films: so many films may be left out.
    workers: films that are prepared at a time, by default one per core.
    beam_options: pipeline options of Apache Beam, such as
      'runner=DirectRunner'; none build without Beam.
    age_unit: of the ages in the label files of a folder, 'months' or 'years'.
    limits: of the size of a film.

  Returns:
    The folder of the prepared data set, with build.json in it.

  Raises:
    ValueError: no archive, bad films, no Beam where it is asked for, or the
      folder holds another archive.
  """
  if not source:
    raise ValueError(f'No manual_dir was given.\n{layout.LAYOUT}')
  if config not in CONFIGS:
    raise ValueError(
      f'Expected a config of {", ".join(CONFIGS)}, got {config!r}.'
    )
  options = _pipeline_options(beam_options)
  archive = source
  if not isinstance(source, archives.Archive):
    archive = archives.read(os.path.expanduser(os.fspath(source)), age_unit)
  download = tfds.download.DownloadConfig(
    manual_dir=archive.manual_dir, beam_options=options
  )
  data_dir = storage.absolute(data_dir)
  folder = os.path.join(data_dir, 'tfds_rsna', config, VERSION)
  # First without the lock, which a folder that cannot be written has no place
  # for.
  if storage.exists(os.path.join(folder, 'build.json')):
    _check_same(folder, archive, allow_bad_films)
    return folder
  here = storage.here(data_dir)  # array_record is not written to buckets
  parent = os.path.join(here, 'tfds_rsna', config)
  with _lock(parent):
    if storage.exists(os.path.join(folder, 'build.json')):
      _check_same(folder, archive, allow_bad_films)
      return folder
    for name in os.listdir(parent):  # what a killed build left behind
      if name.startswith('incomplete.') or name == VERSION:
        shutil.rmtree(os.path.join(parent, name))
    tfds.disable_progress_bar()  # the builder has its own, with films/s
    builder = builders.Builder(
      config=config,
      data_dir=here,
      allow_bad_films=allow_bad_films,
      archive=archive,
      workers=workers,
      limits=limits,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # 'Downloading ...'
      builder.download_and_prepare(download_config=download)
    if here != data_dir:
      _move(os.path.join(parent, VERSION), folder)
  return folder


def _move(source: str, folder: str) -> None:
  """Moves a data set to a bucket; build.json, which marks it whole, last."""
  for name in sorted(os.listdir(source), key='build.json'.__eq__):
    storage.put(os.path.join(source, name), os.path.join(folder, name))
  shutil.rmtree(source)


def _pipeline_options(options: Sequence[str]) -> Any:
  """Makes a PipelineOptions of 'name=value' texts; None of none."""
  if not options:
    return None
  try:
    from apache_beam.options import pipeline_options
  except ImportError as e:
    raise ValueError(
      f'beam_options {",".join(options)} need Apache Beam: '
      "pip install -e '.[beam]'."
    ) from e
  return pipeline_options.PipelineOptions([f'--{o}' for o in options])


@contextlib.contextmanager
def _lock(folder: str):
  """Lets one process build at a time; the others wait, then find it done."""
  os.makedirs(folder, exist_ok=True)
  with open(os.path.join(folder, '.lock'), 'w', encoding='utf-8') as f:
    fcntl.flock(f, fcntl.LOCK_EX)
    yield


def _check_same(
  folder: str, archive: archives.Archive, allow_bad_films: int
) -> None:
  """Refuses a prepared folder of another archive, or with more bad films."""
  info = _read_info(folder)
  if _hashes(info['label_files']) != _hashes(archive.label_files):
    what = 'the label files differ'
  elif (unit := info.get('age_unit', labels.UNITS[0])) != archive.age_unit:
    what = f'its ages were read as {unit}, not as {archive.age_unit}'
  elif info['fingerprint'] != archive.fingerprint():
    what = 'the films or their annotations differ'
  elif len(info['bad']) > allow_bad_films:
    raise ValueError(builders.describe_bad(info['bad'], allow_bad_films))
  else:
    return
  raise ValueError(
    f'{folder} was prepared from {info["manual_dir"]} ({info["name"]}), not '
    f'from {archive.manual_dir}: {what}. Choose another data_dir, or remove '
    'that folder.'
  )


def _read_info(folder: str) -> dict[str, Any]:
  """Reads build.json of a prepared folder."""
  keys = ('name', 'label_files', 'fingerprint', 'bad', 'notes', 'manual_dir')
  return storage.read_json(os.path.join(folder, 'build.json'), keys=keys)


def _hashes(label_files: dict[str, dict[str, str]]) -> dict[str, str]:
  return {split: entry['sha256'] for split, entry in label_files.items()}


def main(argv: list[str]) -> None:
  """Runs the command."""
  del argv
  logging.set_verbosity(logging.WARNING)
  f = flags.FLAGS
  with door.one_line_errors():
    folder = build(
      f.manual_dir,
      f.data_dir,
      f.config,
      f.allow_bad_films,
      f.workers,
      f.beam_pipeline_options,
      f.age_unit,
      limits_lib.Limits(f.max_megapixels, f.max_megabytes),
    )
    info = _read_info(folder)
    for note in info['notes']:
      door.say(note)
    door.say(f'{info["name"]}: {folder}')


if __name__ == '__main__':
  flags.DEFINE_string('manual_dir', '', 'Folder of the archive.')
  flags.DEFINE_string(
    'data_dir', '~/tensorflow_datasets', 'Where data sets lie.'
  )
  flags.DEFINE_enum('config', 'original', CONFIGS, 'Size of the films.')
  flags.DEFINE_integer('allow_bad_films', 0, 'So many may be left out.')
  flags.DEFINE_enum(
    'age_unit', labels.UNITS[0], labels.UNITS, 'Of ages in the label files.'
  )
  flags.DEFINE_integer(
    'workers', None, 'Films at a time; all cores by default.', lower_bound=1
  )
  flags.DEFINE_float(
    'max_megapixels', 64, 'Rows times columns of one film.', lower_bound=0
  )
  flags.DEFINE_float(
    'max_megabytes', 512, "One film's file, inflated.", lower_bound=0
  )
  flags.DEFINE_list(
    'beam_pipeline_options',
    [],
    'Build with Apache Beam: runner=DirectRunner,direct_num_workers=4',
  )
  app.run(main)
