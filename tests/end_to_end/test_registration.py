"""Iglovikov 2017 at a tiny size: age nets of regions, and the whole run."""

import csv
import json
import pathlib

import made_up_crops
import numpy as np
import pytest

from boneage_jax import models
from boneage_jax.core import config as config_lib
from boneage_jax.core import stages
from boneage_jax.data import selection
from boneage_jax.evaluation import regions
from boneage_jax.regions import registration_table
from boneage_jax.runs import metric_writer
from boneage_jax.training import restore
from boneage_jax.training import step as train_step
from boneage_jax.workflow import run as workflow_run
from configs import hand_geometry
from configs import regional_nets
from configs import registration

SIDE = (128, 128)  # m46 needs 127


def tiny(preset):
  """A preset with nets of a few channels, all regions of one size."""
  config = registration.get_config(preset).unlock()
  config.data.update(validation_fraction=0.25, test_fraction=0.25)
  geometry = tuple(s for s in registration.GEOMETRY if s in config)
  sizes = dict.fromkeys(regional_nets.SIZES, SIDE)
  registration.add_ages(config, geometry, sizes, 0.0625, from_both=True)
  registration.train_ages(config, regression=1e-3, expectation=1e-3)
  for section in registration.age_nets(config):
    section.update(epochs=0, steps=2, batch_size=8, eval_batch_size=8, ema=0.0)
  return config


def share_data(folder, prepared):
  (folder / 'prepare').mkdir(parents=True)
  (folder / 'prepare/done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )


def predictions(folder, stage):
  with open(folder / stage / 'predictions.csv', newline='') as file:
    return list(csv.DictReader(file))


# One region.

CARPAL = tuple(
  regional_nets.name('carpal', sex, kind)
  for kind in regional_nets.KINDS
  for sex in ('both', 'girls')
)


@pytest.fixture(scope='module')
def carpal(prepared, tmp_path_factory):
  """Folder of a run of the nets of CARPAL."""
  folder = tmp_path_factory.mktemp('carpal')
  share_data(folder, prepared)
  config = tiny('phantom')
  films, _ = selection.split_films(config, str(folder), 'original')
  made_up_crops.write(
    folder / 'register', films, SIDE, regional_nets.CROP_MARGIN
  )
  config.register.update(regions=('carpal',), crop_size=(SIDE,))
  config.stages = ('prepare', 'register', *CARPAL)
  for stage in CARPAL:
    config[stage].update(steps=8, eval_steps=4)  # alike: compiled once
    config[stage].input.update(rotate=0.0, zoom=0.0, shift=0.0)
    config[stage].net.dropout = 0.0
  workflow_run.run(config, str(folder))
  return folder


def test_nets_of_a_region_learn_its_films_alone(carpal):
  films, _ = selection.split_films(tiny('phantom'), str(carpal), 'original')
  held_out = films['split'] != 'train'
  for stage in CARPAL:
    of = held_out & ((films['sex'] < 0) | ('both' in stage))
    rows = predictions(carpal, stage)
    assert {row['id'] for row in rows} == set(films['id'][of].tolist())
    assert {row['sex'] for row in rows} == (
      {'F', 'M'} if 'both' in stage else {'F'}
    )
    log = metric_writer.read_metrics(str(carpal / stage / 'metrics.jsonl'))
    if 'both' in stage:
      assert log[-1]['train_loss'] < log[0]['train_loss']


def test_a_net_of_girls_goes_on_from_the_net_of_both(carpal):
  config = config_lib.read_config(str(carpal / stages.CONFIG))
  both, girls = (
    restore.load_net(config, f'carpal_{sex}_regression', str(carpal))[1]
    for sex in ('both', 'girls')
  )
  section = config.carpal_girls_regression
  # Of the same seed, so that this is where both would have begun.
  net = models.create(section.net, size=section.input.size, seed=0)
  fresh = {'params': train_step.split(net)[1]}
  kernel = lambda net: np.asarray(net['params']['pool']['fc1']['kernel'])
  moved = lambda one: np.linalg.norm(kernel(girls) - kernel(one))
  assert moved(both) < 0.9 * moved(fresh)


def test_regions_are_judged(carpal):
  result = regions.region_ages(str(carpal))
  assert set(result['nets']) == set(CARPAL)
  assert 'carpal_boys_regression' in result['missing']
  text = regions.region_table(result)
  assert 'carpal' in text and 'girls' in text


# The whole run.


def shrink(config):
  """Make masks and points a matter of seconds."""
  for stage in ('segmenter', 'mine'):
    if stage in config:
      section = config[stage]
      section.net.update(width=0.125, levels=3)
      section.ema = 0.0
      section.input.update(
        size=32, masks_count=6, rotate=0.0, zoom=0.0, shift=0.0
      )
      section.update(batch_size=4, eval_batch_size=8)
  config.keypoints.update(batch_size=8, eval_batch_size=8)
  config.keypoints.input.update(size=(16, 12), resize='squash')
  config.keypoints.net.update(width=0.125, levels=2)
  return config


@pytest.fixture(scope='module')
def whole(prepared, once):
  """Folder of a run of all stages."""

  def make(folder):
    share_data(folder, prepared)
    config = shrink(tiny('phantom'))
    config.segmenter.update(steps=40, eval_steps=40)
    config.segmenter.optimizer.update(
      learning_rate=1e-2, schedule='constant', warmup=0.0
    )
    config.mine = hand_geometry.mine_stage(config.segmenter.to_dict())
    config.mine.update(rounds=1, steps_per_round=2, eval_steps=2)
    config.mine.accept.update(mirror_iou=0.6, component=0.9)
    config.keypoints.update(epochs=0, steps=2)
    workflow_run.run(config, str(folder))
    return str(folder)

  return pathlib.Path(once('registered_whole', make))


@pytest.mark.ci
def test_one_command_runs_all_of_it(whole):
  names = [s for s in regional_nets.age_stages() if (whole / s).exists()]
  assert len(names) == 18
  result = json.loads((whole / 'ensemble/ensemble.json').read_text())
  assert len(result['members']) == 12
  assert sum(result['films'].values()) == len(predictions(whole, 'ensemble'))
  report = json.loads((whole / 'report/report.json').read_text())
  assert report['splits']['test']['n'] == result['films']['test']
  found = regions.region_ages(str(whole))
  assert len(found['nets']) == 18 and not found['missing']
  # Of a pair each net tells the films of its sex.
  both, own = (
    {row['id'] for row in predictions(whole, f'hand_{sex}_regression')}
    for sex in ('both', 'boys')
  )
  girls = {r['id'] for r in predictions(whole, 'hand_girls_regression')}
  assert own | girls == both and not own & girls


@pytest.mark.ci
def test_another_run_takes_its_masks_and_points(whole, prepared, tmp_path):
  share_data(tmp_path, prepared)
  config = shrink(tiny('half'))
  config.geometry_run = str(whole)
  nets = ('carpal_both_regression', 'carpal_girls_regression')
  config.stages = ('prepare', 'mine', 'keypoints', 'register', *nets)
  workflow_run.run(config, str(tmp_path))
  for file in ('mine/masks.array_record', 'keypoints/predictions.csv'):
    assert (tmp_path / file).read_bytes() == (whole / file).read_bytes(), file
  here, there = (
    registration_table.read(str(folder / 'register/registration.csv'))
    for folder in (tmp_path, whole)
  )
  assert here.keys() == there.keys()
  both, girls = (len(predictions(tmp_path, net)) for net in nets)
  assert 0 < girls < both
  again = config_lib.read_config(str(tmp_path / stages.CONFIG))
  assert again.mine.init_from.run == f'{whole}:mine'
  workflow_run.run(config, str(tmp_path))  # all done: nothing is refused
