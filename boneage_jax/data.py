"""Which films a stage reads, and the `prepare` job that makes them readable."""
import json
import os
from typing import Any

from absl import logging
import numpy as np

from boneage_jax import input_pipeline


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

  manual_dir = os.path.expanduser(config.manual_dir)
  if not manual_dir:
    if not config.phantom.films:
      raise ValueError(
        'There is no data to train on: give the folder of the RSNA archive '
        'with --config.manual_dir=DIR, or try phantoms first with '
        '--config=configs/cascade.py:phantom.'
      )
    manual_dir = os.path.join(workdir, 'phantoms')
    if not os.path.exists(manual_dir):
      phantom.write_archive(manual_dir, **config.phantom.to_dict())
  data_dir = config.data_dir or os.path.join(workdir, 'data')
  folders = {}
  for name in builder_configs(config):
    folders[name] = build.build(
      manual_dir,
      os.path.expanduser(data_dir),
      config=name,
      allow_bad_films=config.data.allow_bad_films,
    )
    info = build_info(folders[name])
    films, split = input_pipeline.load_films(folders[name]), config.data
    _, description = input_pipeline.assign_splits(
      films, split.split, split.validation_fraction, split.test_fraction
    )
    logging.info('%s; %s.', info['name'], description)
  folder = os.path.join(workdir, stage)
  os.makedirs(folder, exist_ok=True)
  with open(os.path.join(folder, 'done.json'), 'w') as f:
    json.dump({'folders': folders}, f)


def builder_configs(config: Any) -> list[str]:
  """Every builder config that some stage of `config` reads."""
  inputs = [
    config[s].input for s in config.stages if 'input' in config.get(s, {})
  ]
  return sorted({i.builder_config for i in inputs if i.builder_config})


def build_info(folder: str) -> dict[str, Any]:
  """build.json of a prepared data set."""
  with open(os.path.join(folder, 'build.json')) as f:
    return json.load(f)


def prepared_folder(config: Any, workdir: str, builder_config: str) -> str:
  """Folder of the prepared data set.

  Raises:
    ValueError: the `prepare` stage has not run.
  """
  path = os.path.join(workdir, 'prepare', 'done.json')
  if not os.path.exists(path):
    raise ValueError(
      f"{path} is missing: run the 'prepare' stage first, e.g. "
      '--config.stages="(\'prepare\',)".'
    )
  with open(path) as f:
    folders = json.load(f)['folders']
  if builder_config not in folders:
    raise ValueError(
      f'The data were prepared as {sorted(folders)}, not as '
      f"{builder_config!r}; run the 'prepare' stage again."
    )
  return folders[builder_config]


def split_films(
  config: Any, workdir: str, builder_config: str
) -> dict[str, np.ndarray]:
  """Film table with this run's split in `split`, the archive's beside it."""
  folder = prepared_folder(config, workdir, builder_config)
  films = input_pipeline.load_films(folder)
  split, _ = input_pipeline.assign_splits(
    films,
    config.data.split,
    config.data.validation_fraction,
    config.data.test_fraction,
  )
  return {**films, 'archive_split': films['split'], 'split': split}


def select(films: dict[str, np.ndarray], split: str) -> dict[str, np.ndarray]:
  """Rows of one split."""
  return {k: v[films['split'] == split] for k, v in films.items()}


def stage_films(
  config: Any, stage: str, workdir: str
) -> dict[str, np.ndarray]:
  """Film table of a stage: whole films, or the crops another stage wrote."""
  section = config[stage].input
  if section.crops:
    return input_pipeline.load_crop_films(os.path.join(workdir, section.crops))
  return split_films(config, workdir, section.builder_config)


def stage_source(
  config: Any, stage: str, workdir: str, films: dict[str, np.ndarray]
) -> Any:
  """Random access to the records of `films` (rows of `stage_films`)."""
  section = config[stage].input
  if section.crops:
    return input_pipeline.crop_source(
      os.path.join(workdir, section.crops), films
    )
  folder = prepared_folder(config, workdir, section.builder_config)
  return input_pipeline.film_source(folder, films)
