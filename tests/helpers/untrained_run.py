"""A run of all stages whose nets are as they were born."""

import os
import pathlib
import shutil

import jax
import pytest

from boneage_jax import models
from boneage_jax import phantom
from boneage_jax.core import distributed
from boneage_jax.data import selection
from boneage_jax.runs import checkpoints
from boneage_jax.training import forward
from boneage_jax.training import step as train_step
from boneage_jax.training.tasks import age as age_task
from boneage_jax.workflow import jobs
from boneage_jax.workflow import run as workflow_run
from configs import cascade

BACKBONE = {
  'name': 'resnet',
  'depth': 18,
  'width': 0.0625,
  'endpoint': 'stage1',
  'variant': 'v1.5',  # inputs of order 1, or fresh nets saturate
}
VIEWS = {'rotate': (0.0, 15.0), 'flip': True}
MEMBERS = ('whole_image', 'assessor', 'localizer')


def tiny(manual_dir):
  config = cascade.get_config('thumbnails').unlock()
  config.stages = config.stages[:-1]  # no report
  config.manual_dir = manual_dir
  config.data.update({'validation_fraction': 0.2, 'test_fraction': 0.2})
  for stage in ('localizer', 'assessor', 'whole_image'):
    config[stage].update(batch_size=8, eval_batch_size=8)
    config[stage].input.size = 32
  net = config.localizer.net
  net.update({'attention': 'none', 'readout': 'expectation'})
  net.backbone = {**BACKBONE, 'endpoint': 'stage2'}
  # Not the usual ways, so that leaving one out shows.
  config.localizer.input.update({'polarity': 'invert', 'resize': 'letterbox'})
  config.regions.update({'batch_size': 8, 'crop_size': 32})
  config.regions.threshold = (0.8, 0.8)
  config.assessor.net.exchange = 'none'
  config.assessor.net.carpal = config.assessor.net.metacarpal = BACKBONE
  config.whole_image.input.builder_config = 'px512'
  config.whole_image.net.backbone = BACKBONE
  config.whole_image.net.update({'output': 'scalar', 'pool': 'gap'})
  config.whole_image.loss = {'name': 'mae'}
  return config


def untrained(config, stage, workdir):
  """A train job of no steps: fresh nets are the best there are."""
  section = config[stage]
  seed = 1 + max(config.data.fold, 0)
  net = models.create(section.net, size=section.input.size, seed=seed)
  graph, params, stats = train_step.split(net)
  if stage == 'whole_image':  # a fresh head hardly tells films apart; this does
    params['age_head'] = jax.tree.map(lambda x: 3 * x, params['age_head'])
  variables = jax.device_put(
    {'params': params, 'batch_stats': stats},
    distributed.replicated(distributed.make_mesh()),
  )
  store = checkpoints.Checkpoints(os.path.join(workdir, stage, 'checkpoints'))
  store.save_best(1, variables, 1.0)
  store.wait()
  store.close()
  films = selection.stage_films(config, stage, workdir)
  age_task.write_predictions(
    config, stage, workdir, films, forward.make_predict(graph), variables
  )


def combine(settings, members=MEMBERS):
  """Add an ensemble as the last stage."""
  settings.whole_image.input.polarity = 'invert'  # as the localizer
  settings.ensemble = dict(job='ensemble', members=members, weights='mean')
  settings.stages = (*settings.stages, 'ensemble')
  settings.report.stage = 'ensemble'


def combine_views(settings):
  """Add an ensemble of nets that see films in several views."""
  settings.assessor.tta.update(VIEWS)
  settings.whole_image.tta.update(VIEWS)
  combine(settings)


def write_archive(folder: pathlib.Path) -> pathlib.Path:
  """Write the archive of which the runs are."""
  phantom.write_archive(str(folder), 24, 0, long_side=560, workers=1)
  return folder


def create(
  folder: pathlib.Path, manual: str, change=lambda config: None
) -> pathlib.Path:
  """Write the films of an archive as files, and a run on them to `folder`."""
  films = pathlib.Path(manual, 'boneage-training-dataset.zip')
  shutil.unpack_archive(films, folder)
  (folder / 'boneage-training-dataset').rename(folder / 'films')
  config = tiny(manual)
  change(config)
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(jobs.JOBS, 'train', untrained)
    workflow_run.run(config, str(folder / 'run'))
  return folder
