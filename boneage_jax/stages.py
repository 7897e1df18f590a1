"""The jobs that hand stages' files on: locate, combine and report."""

from collections.abc import Callable
import os
import shlex
import sys
from typing import Any

import jax
import numpy as np

from boneage_jax import data
from boneage_jax import ensemble
from boneage_jax import files
from boneage_jax import folds
from boneage_jax import gradcam
from boneage_jax import input_pipeline
from boneage_jax import published
from boneage_jax import regions
from boneage_jax import report as report_lib
from boneage_jax import report_data
from boneage_jax import runs
from boneage_jax import train_step
from boneage_jax import trained
from boneage_jax import transforms


def make_maps(
  graph: Any, variables: dict[str, Any], options: Any
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
  """Compile the `predict_maps(image, male)` that regions.find_regions calls."""

  @jax.jit
  def maps(variables, image, male):
    net = trained.merge(graph, variables)
    return gradcam.input_maps(
      net, image, male, options.target, options.method, options.mirror
    )

  return lambda image, male: jax.device_get(maps(variables, image, male))


def chain(config: Any, stage: str) -> list[str]:
  """The locate stages that lead to `stage`, each from the one before."""
  before = config[stage].get('after', '')
  return [*(chain(config, before) if before else ()), stage]


def locate(config: Any, stage: str, workdir: str) -> None:
  """Find and cut the regions of every film with a trained age net."""
  section = config[stage]
  net = config[section.localizer].net
  if (section.target, net.output, net.readout) == ('age', 'bins', 'argmax'):
    raise ValueError(
      f"{stage}.target='age' needs an age with a gradient, and "
      f"{section.localizer}.net.readout='argmax' has none: every map would be "
      "empty. Choose target='window', or readout='expectation'."
    )
  before = None
  if section.get('after'):
    before = data.found_regions(workdir, section.after)
  graph, variables = trained.load_net(config, section.localizer, workdir)
  films, _ = data.split_films(config, workdir, section.input.builder_config)
  turned = data.quarters_turned(workdir, data.upright_stage(config, stage))
  # Each process works on its own films, with its own devices.
  mesh = train_step.make_mesh(jax.local_devices())
  variables = jax.device_put(
    jax.tree.map(lambda x: x.addressable_data(0), variables),
    train_step.replicated(mesh),
  )
  maps = make_maps(graph, variables, section)

  def predict_maps(image, male):
    batch = {'image': image, 'male': male}
    return maps(**input_pipeline.to_device(batch, mesh))

  regions.locate(
    predict_maps,
    data.whole_films(
      config, workdir, section.input.builder_config, films, turned
    ),
    films,
    os.path.join(workdir, stage),
    config[section.localizer].input,
    section,
    before,
  )


def combine(config: Any, stage: str, workdir: str) -> None:
  """Average the predictions of several stages, with fitted weights."""
  section = config[stage]
  members = [runs.read(workdir, member) for member in section.members]
  result, rows = ensemble.combine(members, section.weights)
  ensemble.write(os.path.join(workdir, stage), result, rows)
  print(ensemble.table(result))


def report(config: Any, stage: str, workdir: str) -> None:
  """Write and print the report of a run."""
  section = config[stage]
  builder_config = data.builder_configs(config)[0]
  films, description = data.split_films(config, workdir, builder_config)
  folder = data.prepared_folder(workdir, builder_config)
  train_films = data.select(films, 'train')  # none where folds are joined
  joined = config.data.folds and config.data.fold < 0
  turned = data.quarters_turned(
    folds.folder(workdir, 0) if joined else workdir,
    data.upright_stage(config, section.stage),
  )
  if turned:
    description += f'; {len(turned)} films lay turned and are read upright'
  if config.data.cut_frames:
    description += '; frames are cut off'
  source = data.whole_films(config, workdir, builder_config, films, turned)
  position = {int(i): k for k, i in enumerate(films['id'])}
  references = {}
  for name in section.compare:
    path = os.path.join(workdir, name, 'predictions.csv')
    rows = report_data.predictions(path)
    references[name] = dict(
      zip(rows['id'].tolist(), rows['prediction'].tolist(), strict=True)
    )
  if joined:
    references['sex_median'] = folds.sex_medians(config, films)
    located = folds.located(config, section.regions, workdir, films)
  else:
    located = report_data.located(workdir, section.regions)
  result = report_lib.write(
    workdir,
    section.stage,
    config,
    located,
    data_folder=folder,
    load_film=lambda i: transforms.decode(source[position[int(i)]]['image']),
    references=references,
    train_ages=train_films['age'],
    train_male=train_films['male'],
    split=description,
    produced={
      'command': shlex.join(['python', '-m', 'boneage_jax.main', *sys.argv[1:]])
    },
  )
  print(report_lib.table(result))
  if section.get('published'):
    rows = published.rows(result, section)
    path = os.path.join(workdir, 'report', 'published.json')
    files.write_json(path, rows, indent=1)
    print(published.table(rows))
