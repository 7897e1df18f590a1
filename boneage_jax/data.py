"""Which films a stage reads, and the `prepare` job that makes them readable."""

from collections.abc import Mapping
import csv
import os
from typing import Any

import numpy as np

from boneage_jax import boxes
from boneage_jax import files
from boneage_jax import input_pipeline
from boneage_jax import splits


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
    manual_dir = os.path.join(files.here(workdir), 'phantoms')
    if not os.path.exists(manual_dir):
      phantom.write_archive(
        manual_dir, **config.phantom.to_dict(), progress=True
      )
  data_dir = config.data_dir or os.path.join(workdir, 'data')
  folders = {}
  for name in builder_configs(config):
    folders[name] = build.build(
      manual_dir,
      data_dir,
      config=name,
      allow_bad_films=config.data.allow_bad_films,
    )
    folder = files.local(folders[name])
    info = build_info(folder)
    _, description = assign(config, input_pipeline.load_films(folder))
    cut = '; frames are cut off' if config.data.cut_frames else ''
    print(f'{info["name"]} ({name}); {description}{cut}.', flush=True)
    if info.get('looks_inverted'):
      print(inverted(info), flush=True)
  folder = os.path.join(workdir, stage)
  files.make_folder(folder)
  files.write_json(os.path.join(folder, 'done.json'), {'folders': folders})


def inverted(info: dict[str, Any]) -> str:
  """Say which films of a prepared data set look inverted, and what to do."""
  ids = info['looks_inverted']
  return (
    f'{len(ids)} of {info["films"]} films look inverted (dark bones): '
    f'{", ".join(map(str, ids[:5]))}{", ..." if len(ids) > 5 else ""}. Look at '
    'them and invert those that are; where all are, set '
    '--config.STAGE.input.polarity=invert for every stage that sees them.'
  )


def builder_configs(config: Any) -> list[str]:
  """Every builder config that a stage reads, whichever stages run now."""
  inputs = [s.input for s in sections(config).values() if 'input' in s]
  return sorted({i.builder_config for i in inputs if i.builder_config})


def sections(config: Any) -> dict[str, Any]:
  """The stages that `config` describes, by name."""
  return {k: v for k, v in config.items() if hasattr(v, 'job')}


def build_info(folder: str) -> dict[str, Any]:
  """build.json of a prepared data set."""
  return files.read_json(os.path.join(folder, 'build.json'))


def prepared_folder(workdir: str, builder_config: str) -> str:
  """Folder of the prepared data set, on this host.

  Raises:
    ValueError: the `prepare` stage has not run, or its data are gone.
  """
  path = os.path.join(workdir, 'prepare', 'done.json')
  if not files.exists(path):
    raise ValueError(
      f"{path} is missing: run the 'prepare' stage first, e.g. "
      '--config.stages="(\'prepare\',)".'
    )
  folders = files.read_json(path)['folders']
  if builder_config not in folders:
    raise ValueError(
      f'The data were prepared as {sorted(folders)}, not as '
      f"{builder_config!r}; run the 'prepare' stage again."
    )
  folder = folders[builder_config]
  if not files.exists(os.path.join(folder, 'build.json')):
    raise ValueError(
      f'The prepared data set {folder} is gone; remove {path} and run the '
      "'prepare' stage again."
    )
  return files.local(folder)


def assign(config: Any, films: dict[str, np.ndarray]) -> tuple[np.ndarray, str]:
  """Split of every film as `config.data` says, and that split in words."""
  names, description = splits.assign(
    films,
    config.data.split,
    config.data.validation_fraction,
    config.data.test_fraction,
  )
  count, fold = config.data.folds, config.data.fold
  if fold >= 0 and not count:
    raise ValueError(
      f'data.fold={fold} needs the number of folds: --config.data.folds=5'
    )
  if count:
    names = splits.fold(films, names, count, fold)
    which = f'fold {fold} of {count} (from 0) validates'
    if fold < 0:
      which = f'each of {count} folds validates in turn'
    description += f'; of the films not for test, {which}'
  return names, description


def split_films(
  config: Any, workdir: str, builder_config: str
) -> tuple[dict[str, np.ndarray], str]:
  """Film table with this run's split, and that split in words.

  Of a run that tells classes apart, also `label`: index of the finding among
  `config.data.classes`, -1 of others.
  """
  folder = prepared_folder(workdir, builder_config)
  films = input_pipeline.load_films(folder)
  split, description = assign(config, films)
  films = {**films, 'split': split}
  if config.data.classes:
    names = list(config.data.classes)
    films['label'] = np.array(
      [names.index(f) if f in names else -1 for f in films['finding'].tolist()],
      np.int32,
    )
  return films, description


def training_films(
  config: Any, films: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Rows that train; of few labelled films per class, these alone.

  Raises:
    ValueError: films of a class are asked for, but there are no classes, or a
      class has no film.
  """
  films = select(films, 'train')
  count, names = config.data.labelled_per_class, config.data.classes
  if 'label' in films:
    missing = [n for i, n in enumerate(names) if i not in films['label']]
    if missing:
      raise ValueError(
        f'No training film is labelled {" or ".join(missing)}: see '
        'fracture_labels.csv of the archive, and --config.data.classes.'
      )
  if not count:
    return films
  if 'label' not in films:
    raise ValueError(
      'data.labelled_per_class counts the films of a class: name these with '
      '--config.data.classes.'
    )
  return input_pipeline.select(
    films, splits.few_per_class(films, count, config.seed)
  )


def select(films: dict[str, np.ndarray], split: str) -> dict[str, np.ndarray]:
  """Rows of one split."""
  return input_pipeline.select(films, films['split'] == split)


def stage_films(config: Any, stage: str, workdir: str) -> dict[str, np.ndarray]:
  """Film table of a stage: whole films, or the crops another stage wrote."""
  section = config[stage].input
  if section.crops:
    folder = os.path.join(workdir, section.crops)
    margin = _crops(config, stage, workdir)['crop_margin']
    if section.crop_margin != margin:
      raise ValueError(
        f'The crops in {folder} have a margin of {margin}, but '
        f'{stage}.input.crop_margin is {section.crop_margin}; set both alike.'
      )
    return input_pipeline.load_crop_films(folder)
  films, _ = split_films(config, workdir, section.builder_config)
  if section.quarter_turns:  # of films that judge; drawn anew in training
    films['label'] = (films['id'] % 4).astype(np.int32)
  return films


def stage_source(
  config: Any, stage: str, workdir: str, films: dict[str, np.ndarray]
) -> Any:
  """Random access to the records of `films` (rows of `stage_films`)."""
  section = config[stage].input
  if section.crops:
    take = []
    if section.regions:
      stored = _crops(config, stage, workdir)['crops']
      missing = [name for name in section.regions if name not in stored]
      if missing:
        raise ValueError(
          f'{stage}.input.regions asks for {", ".join(missing)}, but '
          f'{section.crops} cut {", ".join(stored)}; name it in '
          f'--config.{section.crops}.crops.'
        )
      take = [stored.index(name) for name in section.regions]
    folder = os.path.join(workdir, section.crops)
    return input_pipeline.crop_source(folder, films, take)
  holes = None
  if section.erase:
    options = config[section.erase]
    other = options.input.builder_config
    if config.data.cut_frames and other != section.builder_config:
      raise ValueError(
        f'{stage} reads {section.builder_config!r} films and paints over what '
        f'{section.erase} found in {other!r} ones: they may lose different '
        'frames. Give both one input.builder_config, or set '
        '--config.data.cut_frames=False.'
      )
    holes = {
      film: boxes.holes(found, options.erase, options.fill, film)
      for film, found in found_regions(workdir, section.erase).items()
    }
  turned = quarters_turned(workdir, section.upright)
  name = section.builder_config
  return whole_films(config, workdir, name, films, turned, holes)


def whole_films(
  config: Any,
  workdir: str,
  builder_config: str,
  films: dict[str, np.ndarray],
  turned: Mapping[int, int],
  holes: Mapping[int, Any] | None = None,
) -> Any:
  """Random access to whole films as this run reads them.

  Args:
    config: of the run; says whether frames are cut off.
    workdir: of the run.
    builder_config: of the films.
    films: rows of `split_films`.
    turned: of `quarters_turned`.
    holes: see `input_pipeline.film_source`.
  """
  folder = prepared_folder(workdir, builder_config)
  cut = config.data.cut_frames
  return input_pipeline.film_source(folder, films, holes, turned, cut)


def upright_stage(config: Any, stage: str) -> str:
  """The stage that turns films upright before `stage` reads them, or ''."""
  section = config[stage]
  if section.job == 'ensemble':
    return upright_stage(config, section.members[0])
  if section.job == 'locate':
    return upright_stage(config, section.localizer)
  if section.input.crops:
    return upright_stage(config, section.input.crops)
  return section.input.upright


def quarters_turned(workdir: str, stage: str) -> dict[int, int]:
  """Quarters, counter-clockwise, by id of the films that lie turned.

  Args:
    workdir: of the run.
    stage: that tells; '' leaves all films as they lie.

  Raises:
    ValueError: it has not run.
  """
  if not stage:
    return {}
  path = os.path.join(workdir, stage, 'turned.csv')
  if not files.exists(path):
    raise ValueError(
      f'{path} is missing: run the stage {stage!r} first, or read films as '
      "they lie: --config.STAGE.input.upright='' for all stages that see them."
    )
  with files.reading(path) as file:
    rows = list(csv.DictReader(file))
  return {int(row['id']): int(row['turned']) // 90 for row in rows}


def found_regions(
  workdir: str, stage: str
) -> dict[int, dict[str, boxes.Region]]:
  """Regions by film id that a locate stage wrote, with those before it.

  Raises:
    ValueError: the stage has not run.
  """
  path = os.path.join(workdir, stage, 'regions.csv')
  if not files.exists(path):
    raise ValueError(f'{path} is missing: run the stage {stage!r} first.')
  return boxes.read_regions(path)


def _crops(config: Any, stage: str, workdir: str) -> dict[str, Any]:
  """done.json of the stage that cut the crops which `stage` reads."""
  source = config[stage].input.crops
  folder = os.path.join(workdir, source)
  path = os.path.join(folder, 'done.json')
  if not files.exists(path):
    raise ValueError(
      f'{stage} reads crops, but there are none in {folder}: run the '
      f'{source!r} stage first.'
    )
  return files.read_json(path)
