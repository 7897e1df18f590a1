"""The `report` job: read what a run left and write its page."""

import os
import shlex
import sys
from typing import Any

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.evaluation import cross_validation
from boneage_jax.evaluation import published
from boneage_jax.imaging import codec
from boneage_jax.report import write as report_write
from boneage_jax.runs import located as located_lib
from boneage_jax.runs import predictions


def report(config: Any, stage: str, workdir: str) -> None:
  """Write and print the report of a run."""
  section = config[stage]
  builder_config = stages.builder_configs(config)[0]
  films, description = selection.split_films(config, workdir, builder_config)
  folder = sources.prepared_folder(workdir, builder_config)
  train_films = selection.select_split(
    films, 'train'
  )  # none where folds are joined
  joined = config.data.folds and config.data.fold < 0
  turned = selection.film_rotations(
    stages.fold_folder(workdir, 0) if joined else workdir,
    stages.orientation_stage(config, section.stage),
  )
  if turned:
    description += f'; {len(turned)} films lay turned and are read upright'
  if config.data.crop_borders:
    description += '; frames are cut off'
  source = sources.whole_films(config, workdir, builder_config, films, turned)
  position = {int(i): k for k, i in enumerate(films['id'])}
  references = {}
  for name in section.baselines:
    path = os.path.join(workdir, name, 'predictions.csv')
    rows = predictions.read_predictions(path)
    references[name] = dict(
      zip(rows['id'].tolist(), rows['prediction'].tolist(), strict=True)
    )
  if joined:
    references['sex_median'] = cross_validation.sex_medians(config, films)
    located = cross_validation.located(
      config, section.regions_from, workdir, films
    )
  else:
    located = located_lib.read_located(workdir, section.regions_from)
  result = report_write.write_report(
    workdir,
    section.stage,
    config,
    located,
    data_folder=folder,
    load_film=lambda i: codec.decode_stored(source[position[int(i)]]['image']),
    references=references,
    train_ages=train_films['age'],
    train_sex=train_films['sex'],
    split=description,
    produced={
      'command': shlex.join(['python', '-m', 'boneage_jax.main', *sys.argv[1:]])
    },
  )
  print(report_write.report_table(result))
  if section.get('published'):
    rows = published.published_rows(result, section)
    path = os.path.join(workdir, 'report', 'published.json')
    storage.write_json(path, rows, indent=1)
    print(published.published_table(rows))
