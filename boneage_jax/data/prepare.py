"""The `prepare` job: build the data set that the other stages read."""

import os
from typing import Any

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import limits


def prepare(config: Any, stage: str, workdir: str) -> None:
  """Build the data set that the other stages read, where it is not yet there.

  Without `config.manual_dir`, an archive of `config.phantom.films` phantoms is
  written to `workdir/phantoms` first. Writes `workdir/<stage>/done.json`, the
  folder of the prepared data by builder config.

  Raises:
    ValueError: neither an archive nor phantoms are asked for.
  """
  from boneage_jax import phantom
  from tfds_rsna import build
  from tfds_rsna import naming

  check_source(config)
  manual_dir = os.path.expanduser(config.manual_dir)
  if not manual_dir:
    manual_dir = os.path.join(storage.here(workdir), 'phantoms')
    if not os.path.exists(manual_dir):
      print(f'Drawing {config.phantom.films} phantoms.', flush=True)
      phantom.write_archive(
        manual_dir, **config.phantom.to_dict(), progress=True
      )
  data_dir = config.data_dir or os.path.join(workdir, 'data')
  folders, said = {}, False
  for name in stages.builder_configs(config):
    folders[name] = build.build(
      manual_dir,
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
    _, description = selection.assign(config, sources.load_films(folder))
    cut = '; borders are cropped' if config.data.crop_borders else ''
    door.say(f'{info["name"]} ({name}); {description}{cut}.')
    if not said:
      for note in info['notes']:
        door.say(note)
    said = True
    if info.get('looks_inverted'):
      door.say(inverted(info))
  storage.make_folder(stages.path(workdir, stage))
  done = stages.path(workdir, stage, stages.DONE)
  storage.write_json(done, {'folders': folders})


def check_source(config: Any) -> None:
  """Check that the config says where films come from."""
  if not config.manual_dir and not config.phantom.films:
    raise ValueError(
      'There is no data to train on: give the folder of the RSNA archive '
      'with --config.manual_dir=DIR, or try phantoms first with '
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
