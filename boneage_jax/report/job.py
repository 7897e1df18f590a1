"""The `report` job: read what a run left and write its page."""

from collections.abc import Callable
import shlex
import sys
from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.evaluation import cross_validation
from boneage_jax.evaluation import published
from boneage_jax.evaluation import regions as regions_lib
from boneage_jax.report import hands
from boneage_jax.report import write
from boneage_jax.runs import age_map_file
from boneage_jax.runs import lineage
from boneage_jax.runs import located
from boneage_jax.runs import predictions


def report(config: Any, stage: str, workdir: str) -> None:
  """Write and print the report of a run."""
  section = config[stage]
  result = write.write_report(report_inputs(config, stage, workdir))
  print(write.report_table(result))
  if section.get('published'):
    beside = published.beside_paper(config, workdir, stage)
    path = stages.report_path(workdir, 'published.json')
    storage.write_json(path, beside, indent=1)
    print(f'\n{published.published_table([beside])}')


def report_inputs(config: Any, stage: str, workdir: str) -> write.ReportInputs:
  """Gather what the report shows."""
  section = config[stage]
  builder_config = stages.builder_configs(config)[0]
  films, split = selection.split_films(config, workdir, builder_config)
  folds = bool(config.data.folds) and config.data.fold < 0
  shown = stages.Stage(config, section.stage, workdir)
  rotated = selection.film_rotations(
    stages.fold_folder(workdir, 0) if folds else workdir, shown.orientation()
  )
  if rotated:
    split += f'; {len(rotated)} rotated films are turned upright'
  if config.data.crop_borders:
    split += '; borders are cropped'
  if folds:
    found = cross_validation.located(
      config, section.regions_from, workdir, films
    )
    medians = cross_validation.sex_medians(config, films)
  else:
    found = located.read_located(workdir, section.regions_from)
    train = films['split'] == 'train'
    ages = groups.sex_medians(films['age'], films['sex'], train)
    medians = dict(zip(films['id'].tolist(), ages.tolist(), strict=True))
  regions, coverage, heat = found
  # Of a run of folds, masks and regions are those of the first.
  first = stages.fold_folder(workdir, 0) if folds else workdir
  folders = stages.fold_folders(config, workdir) or [workdir]
  command = ['python', '-m', 'boneage_jax.main', *sys.argv[1:]]
  return write.ReportInputs(
    workdir,
    section.stage,
    config,
    regions=regions,
    coverage=coverage,
    heat=heat,
    data=lineage.data_set(
      sources.prepared_folder(workdir, builder_config),
      split,
      config.data.name,
    ),
    references=_baselines(workdir, section.baselines) | {'sex_median': medians},
    load_film=_film_loader(
      sources.whole_films(config, workdir, builder_config, films, rotated),
      films['id'].tolist(),
      shown.whole_film_stage().section.input.polarity,
    ),
    produced={'command': shlex.join(command)},
    hands=hands.read(config, section.stage, first),
    region_ages=_region_ages(config, workdir),
    age_maps=age_map_file.read(
      [stages.path(folder, section.stage) for folder in folders]
    ),
  )


def _region_ages(config: Any, workdir: str) -> dict[str, Any] | None:
  """Return errors by region and puberty, if stages read one region each."""
  nets = regions_lib.nets_of_regions(config)
  there = [stages.path(workdir, name, stages.PREDICTIONS) for name in nets]
  if not any(map(storage.exists, there)):
    return None
  return regions_lib.region_ages(workdir)


def _baselines(workdir: str, names: Any) -> dict[str, dict[str, float]]:
  """Return what other stages predicted: stage -> {film id: age, months}."""
  out = {}
  for name in names:
    path = stages.path(workdir, name, stages.PREDICTIONS)
    rows = predictions.read_predictions(path)
    out[name] = dict(
      zip(rows['id'].tolist(), rows['prediction'].tolist(), strict=True)
    )
  return out


def _film_loader(
  source: Any, films: list[str], polarity: str
) -> Callable[[str], np.ndarray]:
  """Return the function that reads a film by its id, as the nets see it."""
  row = {film: k for k, film in enumerate(films)}
  return lambda film: preprocess.decode(source[row[film]], polarity)
