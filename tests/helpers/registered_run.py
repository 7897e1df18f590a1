"""A run that registers phantoms, and nets that read what it cut.

The net of masks has learned; that of points says where points lie on average,
and a little more; age nets are as they were born.
"""

import json
import pathlib
import shutil

import jax
import mined_run
import numpy as np
import pytest
import untrained_run

from boneage_jax import models
from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.imaging import annotations
from boneage_jax.imaging import registration
from boneage_jax.runs import checkpoints
from boneage_jax.training import step as train_step
from boneage_jax.workflow import jobs
from boneage_jax.workflow import run as workflow_run
from configs import common
from configs import hand_geometry
from configs import registration as registration_config

MEMBERS = ('hand', 'carpal_boys+carpal_girls')
SIZES = ((40, 30), (32, 32), (24, 56))


def tiny():
  config = registration_config.get_config('phantom').unlock()
  config.data.update(mined_run.tiny().data.to_dict())
  config.segmenter = mined_run.tiny().segmenter
  config.mine = mined_run.tiny().mine
  config.keypoints = hand_geometry.keypoints_stage()  # the paper's net
  config.keypoints.eval_batch_size = 8
  config.keypoints.input.update(
    builder_config='original', size=(16, 12), resize='squash'
  )
  config.keypoints.net.update(width=0.25, features=8)
  config.register.crop_size = SIZES
  for name, size, sex in (
    ('hand', SIZES[0], ''),
    ('carpal_boys', SIZES[1], 'M'),
    ('carpal_girls', SIZES[1], 'F'),
  ):
    config[name] = age_stage(name.partition('_')[0], size, sex)
  config.all = dict(job='ensemble', members=MEMBERS, weights='mean')
  config.report = common.report_stage(stage='all')
  config.stages = ('prepare', 'register', *stages_of_ages(config), 'all')
  return config


def stages_of_ages(config):
  return [name for member in config.all.members for name in member.split('+')]


def age_stage(region, size, sex):
  return common.train_stage(
    input=common.image_input(
      builder_config='',
      crops_from='register',
      regions=(region,),
      size=size,
      crop_margin=0.1,
      percentiles=(1.0, 99.0),
      sex=sex,
    ),
    net=common.age_net(
      name='region_channels', backbone=untrained_run.BACKBONE, bn_momentum=0.9
    ),
    batch_size=8,
    eval_batch_size=8,
    epochs=0,
    steps=2,
  )


def create(
  folder: pathlib.Path, archive: str, prepared: str, mined: pathlib.Path
) -> pathlib.Path:
  """Run the stages of `tiny`."""
  (folder / 'prepare').mkdir()
  done = json.dumps({'folders': {'original': prepared}})
  (folder / 'prepare/done.json').write_text(done)
  shutil.copytree(mined / 'mine', folder / 'mine')
  marks = annotations.load(pathlib.Path(archive) / 'annotations')
  write_points(tiny(), folder, marks)
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(jobs.JOBS, 'train', untrained_run.untrained)
    workflow_run.run(tiny(), str(folder))
  return folder


def write_points(config, folder, marks):
  """Write a net that finds the mean of `marks`, and what films add to it."""
  section = config.keypoints
  net = models.create(section.net, size=section.input.size)
  place = [annotations.POINTS.index(name) for name in registration.POINTS]
  points = [np.array(found['keypoints'])[place] for found in marks.values()]
  net.fc.bias[...] = 2 * np.mean(points, 0).ravel() - 1
  net.fc.kernel[...] = 0.03 * net.fc.kernel[...]
  _, params, stats = train_step.split(net)
  variables = jax.device_put(
    {'params': params, 'batch_stats': stats},
    distributed.replicated(distributed.make_mesh()),
  )
  path = folder / 'keypoints'
  store = checkpoints.Checkpoints(str(path / stages.CHECKPOINTS))
  store.save_best(1, variables, 1.0)
  store.wait()
  store.close()
  (path / stages.DONE).write_text('{}')
