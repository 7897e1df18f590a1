"""The `patches` job: squares about landmarks that a forest finds, cut out.

Their side is a share of the hand, whose length is told by the landmarks found.
"""

from collections.abc import Iterator
from concurrent import futures
import os
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import sizes
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import crops as crops_lib
from boneage_jax.data import film_table
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import boxes
from boneage_jax.regions import job
from boneage_jax.regions import localize
from boneage_jax.regions import patch
from boneage_jax.training import landmarks as landmarks_lib
from boneage_jax.training import validate

BATCH = 16  # films at a time


def cut_patches(config: Any, stage: str, workdir: str) -> None:
  """Find the landmarks of every film; write regions.csv and its patches.

  A killed job starts over and ends with the same files. Each process works on
  its share of the films.
  """
  section = config[stage]
  films, _ = selection.split_films(
    config, workdir, section.input.builder_config
  )
  rotations = selection.film_rotations(
    workdir, stages.Stage(config, stage, workdir).orientation()
  )
  source = sources.whole_films(
    config, workdir, section.input.builder_config, films, rotations
  )
  finder = landmarks_lib.load(config, section.forest, workdir)
  folder = stages.path(workdir, stage)
  distributed.on_main_process(lambda: job.clear(folder))
  rows: list[tuple[str, str, boxes.Region]] = []
  seen = config[section.forest]
  load = lambda index: localize.load_film(source[index], seen.input)

  def cut(pool: futures.Executor) -> Iterator[list[np.ndarray]]:
    for batch in job.films_of_process(pool, load, len(source), BATCH, stage):
      for film in batch:
        patch.find(film, finder, seen, section)
        rows.extend((film.id, *region) for region in film.regions.items())
      yield from pool.map(
        lambda film: localize.cut_crops(film, seen.input, section), batch
      )

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    crops_lib.write(os.path.join(folder, stages.CROPS), cut(pool))
  rows = distributed.all_gather_objects(rows)
  distributed.on_main_process(lambda: _write(folder, rows, films, section))


def _write(
  folder: str,
  rows: list[tuple[str, str, boxes.Region]],
  films: film_table.Films,
  section: Any,
) -> None:
  """Write the files of the stage, done.json last."""
  path = lambda name: os.path.join(folder, name)
  film_table.write_films(path(stages.FILMS), films)
  boxes.write_regions(path(stages.REGIONS), rows)
  found = boxes.read_regions(path(stages.REGIONS))
  done = boxes.summary(found, section.regions) | {
    'crops': list(section.regions),
    'crop_size': section.crop_size,
    'crop_margin': section.crop_margin,
    'crop_hw': list(localize.crop_hw(section)),
  }
  storage.write_json(path(stages.DONE), done, indent=2)


def check(stage: stages.Stage) -> None:
  """Check what cuts patches, before it runs.

  Raises:
    ValueError: a value that the job cannot use; names the field.
  """
  section, name = stage.section, stage.name
  forest, regions = stage.config[section.forest], tuple(section.regions)
  validate.check_builder_config(section.input, f'{name}.input')
  known = landmarks_lib.LANDMARKS[forest.landmarks]
  unknown = [region for region in regions if region not in known]
  if unknown or not regions or len(set(regions)) < len(regions):
    raise ValueError(
      f'Expected {name}.regions among {", ".join(known)}, each once, got '
      f'{", ".join(regions) or "none"}: change --config.{name}.regions.'
    )
  with validate.about(name):
    sizes.size_hw(section.crop_size)
  if section.crop_margin < 0 or not 0 < section.patch <= 1:
    raise ValueError(
      f'Expected {name}.crop_margin of 0 or more and {name}.patch above 0 and '
      f'up to 1, got {section.crop_margin} and {section.patch}.'
    )
