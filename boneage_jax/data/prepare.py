"""The `prepare` job: build the data set that the other stages read."""

import os
from typing import Any

from boneage_jax.core import config as config_lib
from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import own_table
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import limits


def prepare(config: Any, stage: str, workdir: str) -> None:
  """Build the data set that the other stages read, where it is not yet there.

  From `config.data.table`, or `config.manual_dir`; without them, an archive of
  `config.phantom.films` phantoms is written to `workdir/phantoms` first. Writes
  `workdir/<stage>/done.json`: the folder of the prepared data by its size.

  Raises:
    ValueError: neither an archive nor phantoms are asked for.
  """
  check_source(config)
  source = read_archive(config) or _phantoms(config, workdir)
  write(config, stage, workdir, source)


def read_archive(config: Any) -> Any:
  """List the films of a run's table or archive, an archive.Archive.

  None where it draws phantoms.
  """
  from tfds_rsna import archive

  data = config.data
  if data.table:
    return own_table.read(
      data.table, data.columns, data.age_unit, data.two_hands
    )
  folder = os.path.expanduser(config.manual_dir)
  return archive.read(folder, data.age_unit) if folder else None


def write(config: Any, stage: str, workdir: str, source: Any) -> None:
  """Build what a config reads of an archive; see `prepare`.

  Args:
    config, stage, workdir: of the run.
    source: an archive.Archive, or its folder.
  """
  from tfds_rsna import build
  from tfds_rsna import naming

  data_dir = config.data_dir or os.path.join(workdir, 'data')
  folders, said = {}, False
  for name in stages.builder_configs(config):
    folders[name] = build.build(
      source,
      data_dir,
      config=name,
      allow_bad_films=config.data.allow_bad_films,
      age_unit=config.data.age_unit,
      limits=limits.Limits(
        config.data.max_megapixels, config.data.max_megabytes
      ),
    )
    folder = storage.local(folders[name])
    info = naming.rename(sources.build_info(folder), config.data.name)
    films = sources.load_films(folder)
    names, description = selection.assign(config, films)
    cut = '; borders are cropped' if config.data.crop_borders else ''
    door.say(f'{info["name"]} ({name}); {description}{cut}.')
    if not said:
      for note in [*info['notes'], *selection.doubts(config, films, names)]:
        door.say(note)
    said = True
    if info.get('looks_inverted'):
      door.say(inverted(info))
  storage.make_folder(stages.path(workdir, stage))
  done = stages.path(workdir, stage, stages.DONE)
  storage.write_json(done, {'folders': folders})


def _phantoms(config: Any, workdir: str) -> str:
  """Return the folder of the run's phantoms, which are drawn at first."""
  from boneage_jax import phantom

  folder = os.path.join(storage.here(workdir), 'phantoms')
  if os.path.exists(folder):  # of a run that was stopped, or of a sweep
    phantom.check_drawn(folder, **config.phantom.to_dict())
    return folder
  print(f'Drawing {config.phantom.films} phantoms.', flush=True)
  phantom.write_archive(folder, **config.phantom.to_dict(), progress=True)
  return folder


def check_source(config: Any) -> None:
  """Check that the config says where films come from."""
  data = config.data
  if data.table and config.manual_dir:
    raise ValueError(
      f'Expected one source of films, got data.table={data.table} and '
      f'manual_dir={config.manual_dir}: leave one out.'
    )
  if data.two_hands and not data.table:
    raise ValueError(
      f'data.two_hands={data.two_hands} cuts films of a table, but there is '
      'none: give --config.data.table=FILE, or leave it out.'
    )
  if config_lib.draws_phantoms(config) and not config.phantom.films:
    raise ValueError(
      'There is no data to train on: give a table of films with '
      '--config.data.table=FILE, the folder of the RSNA archive with '
      '--config.manual_dir=DIR, or try phantoms first with '
      '--config=configs/cascade.py:phantom.'
    )


def inverted(info: dict[str, Any]) -> str:
  """Say which films of a prepared data set look inverted, and what to do."""
  ids = info['looks_inverted']
  return (
    f'{len(ids)} of {info["films"]} films look inverted (dark bones): '
    f'{", ".join(map(str, ids[:5]))}{", ..." if len(ids) > 5 else ""}. Look at '
    'them and invert those that are; where all are, set '
    '--config.STAGE.input.polarity=invert for every stage that sees them.'
  )
