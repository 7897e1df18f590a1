"""A run that registers phantoms, with a net of points that learned nothing."""

import csv
import json
import pathlib

import jax
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_cascade

from boneage_jax import models
from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.data import film_masks
from boneage_jax.data import film_table
from boneage_jax.data import selection
from boneage_jax.imaging import annotations
from boneage_jax.imaging import masks as masks_lib
from boneage_jax.imaging import points as points_lib
from boneage_jax.imaging import registration
from boneage_jax.regions import register
from boneage_jax.regions import registration_table
from boneage_jax.runs import checkpoints
from boneage_jax.training import step as train_step
from boneage_jax.workflow import run as workflow_run
from configs import common
from configs import registration as registration_config


def tiny():
  config = registration_config.get_config('phantom').unlock()
  config.data.update(validation_fraction=0.25, test_fraction=0.25)
  config.keypoints.eval_batch_size = 8
  config.keypoints.input.size = (16, 12)
  config.keypoints.net.update(width=0.125, levels=2)
  config.register.crop_size = ((40, 30), (32, 32), (24, 56))
  config.carpal = common.train_stage(
    input=common.image_input(
      builder_config='',
      crops_from='register',
      regions=('carpal',),
      size=32,
      crop_margin=0.1,
      percentiles=(1.0, 99.0),
      rotate=5.0,
    ),
    net=common.age_net(
      name='region_channels', backbone=tiny_cascade.BACKBONE, bn_momentum=0.9
    ),
    batch_size=8,
    eval_batch_size=8,
    epochs=0,
    steps=2,
  )
  config.stages = ('prepare', 'register', 'carpal')
  return config


def write_untrained(section, folder):
  net = models.create(section.net, size=section.input.size)
  _, params, stats = train_step.split(net)
  variables = {'params': params, 'batch_stats': stats}
  everywhere = distributed.replicated(distributed.make_mesh())
  store = checkpoints.Checkpoints(str(folder / 'checkpoints'))
  store.save_best(1, jax.device_put(variables, everywhere), 1.0)
  store.wait()
  store.close()


@pytest.fixture(scope='module')
def run(prepared, archive, tmp_path_factory):
  """Folder of a run; `keypoints` is untrained, masks of `mine` were drawn."""
  folder = tmp_path_factory.mktemp('registered')
  for stage in ('prepare', 'mine', 'keypoints'):
    (folder / stage).mkdir()
  done = json.dumps({'folders': {'original': prepared}})
  (folder / 'prepare/done.json').write_text(done)
  marks = annotations.load(pathlib.Path(archive) / 'annotations')
  rows, masks = [], []
  for film, found in marks.items():
    why = 'several parts' if film == REFUSED else ''
    row = {'id': film, 'status': 'accepted', 'reason': why, 'stored': 1}
    rows.append(row)
    masks.append(masks_lib.draw(found, ('hand_polygons',), (64, 64)))
  options = ConfigDict({'size': 64, 'resize': 'squash'})
  film_masks.write(str(folder / 'mine'), rows, masks, options)
  write_untrained(tiny().keypoints, folder / 'keypoints')
  for stage in ('mine', 'keypoints'):
    (folder / stage / 'done.json').write_text('{}')
  workflow_run.run(tiny(), str(folder))
  return folder


REFUSED = '3'


def test_a_net_learns_from_a_registered_region(run, archive):
  marks = annotations.load(pathlib.Path(archive) / 'annotations')
  table = registration_table.read(str(run / 'register/registration.csv'))
  assert set(table) == set(marks)
  # Such a net says nothing; masks do.
  said = [one.status for film, one in table.items() if film != REFUSED]
  assert said.count('mask') > 0.8 * len(said)
  assert table[REFUSED].status != 'mask'
  place = [annotations.POINTS.index(name) for name in registration.POINTS]
  away = [
    np.hypot(*(moved - target)) / 20.8
    for film, one in table.items()
    if one.status == 'mask'
    for moved, target in zip(
      points_lib.move(np.array(marks[film]['keypoints'])[place], one.matrix),
      ((800, 100), (800, 1600)),
      strict=False,
    )
  ]
  assert np.median(away) < 6
  with open(run / 'carpal/predictions.csv', newline='') as file:
    predicted = {row['id'] for row in csv.DictReader(file)}
  films, _ = selection.split_films(tiny(), str(run), 'original')
  held_out = films['id'][films['split'] != 'train'].tolist()
  assert predicted == set(held_out)


def test_points_are_fractions_of_the_film(run, archive):
  films, _ = selection.split_films(tiny(), str(run), 'original')
  few = film_table.select(films, np.array([7, 2, 11]))
  hands = register.find_hands(tiny(), 'keypoints', str(run), few)
  marks = annotations.load(pathlib.Path(archive) / 'annotations')
  place = [annotations.POINTS.index(name) for name in registration.POINTS]
  for film, marked in zip(hands.id.tolist(), hands.marked, strict=True):
    expected = np.array(marks[film]['keypoints'])[place]
    np.testing.assert_allclose(marked, expected, atol=1e-5)
  assert hands.found.shape == (3, 3, 2) and np.isfinite(hands.found).all()
  assert hands.film_hw.max() == 64


def test_a_section_is_checked():
  def refused(words, change):
    config = tiny()
    change(config)
    with pytest.raises(ValueError, match=words):
      register.check(stages.Stage(config, 'register', ''))

  register.check(stages.Stage(tiny(), 'register', ''))
  refused('register.regions', lambda c: c.register.update(regions=('wrist',)))
  refused('each once', lambda c: c.register.update(regions=('hand', 'hand')))
  refused('one register.crop_size', lambda c: c.register.update(crop_size=(8,)))
  refused('crop_margin', lambda c: c.register.update(crop_margin=-0.1))
  refused('background', lambda c: c.register.update(background='white'))
  refused('Expected masks', lambda c: c.register.update(masks_from=''))
  refused('task keypoints', lambda c: c.register.update(keypoints='segmenter'))
  refused(
    'the points', lambda c: c.keypoints.input.update(points=('capitate',))
  )
  refused(
    'turned alike',
    lambda c: c.keypoints.input.update(orientation_from='orientation'),
  )

  def other_borders(config):
    config.data.crop_borders = True
    config.keypoints.input.builder_config = 'px512'

  refused('other borders', other_borders)
