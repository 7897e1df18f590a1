"""A net that starts from a trained one, with the same films held out."""

import csv
import json

import jax
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_cascade

from boneage_jax.core import config as config_lib
from boneage_jax.data import selection
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib
from boneage_jax.training import loop
from boneage_jax.training import restore
from boneage_jax.training import validate
from boneage_jax.workflow import validate as workflow_validate
from configs import common
from configs import hand_geometry
from configs import registration
from configs import system

FRACTIONS = {'validation_fraction': 0.25, 'test_fraction': 0.25}


def make(**changes):
  config = system.base('trained', '')
  config.data.update(FRACTIONS)
  config.net = common.train_stage(
    input=common.image_input(size=32),
    net=common.age_net(backbone=dict(tiny_cascade.BACKBONE), bn_momentum=0.9),
    batch_size=8,
    eval_batch_size=8,
    steps=4,
    ema=0.5,
  )
  config.again = ConfigDict(config.net.to_dict())
  config.again.init_from.update(changes)
  config.report = ConfigDict(dict(job='report', stage='again'))
  return config


def write(config, folder, prepared):
  (folder / 'prepare').mkdir(parents=True, exist_ok=True)
  (folder / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  (folder / 'config.json').write_text(json.dumps(config_lib.to_json(config)))
  return str(folder)


def predictions(folder, stage):
  with open(folder / stage / 'predictions.csv', newline='') as file:
    return {
      row['id']: float(row['age_predicted']) for row in csv.DictReader(file)
    }


@pytest.fixture(scope='module')
def first(prepared, tmp_path_factory):
  """The folder of a run whose stage `net` is trained."""
  folder = tmp_path_factory.mktemp('first')
  loop.train_and_evaluate(make(), 'net', write(make(), folder, prepared))
  return folder


def test_it_starts_where_the_other_ended(first, prepared, tmp_path):
  config = make(run=f'{first}:net')
  config.again.update(steps=1, freeze_statistics=True)
  config.again.optimizer.learning_rate = 0.0
  loop.train_and_evaluate(config, 'again', write(config, tmp_path, prepared))
  ours, theirs = predictions(tmp_path, 'again'), predictions(first, 'net')
  assert ours.keys() == theirs.keys()
  np.testing.assert_allclose(
    list(ours.values()), [theirs[i] for i in ours], atol=1e-3
  )


def test_without_epochs_it_is_that_net(first, prepared, tmp_path):
  """As a segmenter that was trained on one archive serves another."""
  config = make(run=f'{first}:net')
  config.again.update(steps=0, epochs=0)
  loop.train_and_evaluate(config, 'again', write(config, tmp_path, prepared))
  ours, theirs = predictions(tmp_path, 'again'), predictions(first, 'net')
  assert ours == theirs
  validate.check_stage(config, 'again', str(tmp_path))
  config.again.input.percentiles = (1.0, 99.0)
  with pytest.raises(ValueError, match=r'again: Expected input\.percentiles='):
    validate.check_stage(config, 'again', str(tmp_path))
  config.again.init_from.run = ''
  workdir = write(config, tmp_path / 'none', prepared)
  with pytest.raises(ValueError, match='Expected again to train for epochs or'):
    validate.check_stage(config, 'again', workdir)


def crops():
  config = make(run=':net')
  config.regions = common.locate_stage(regions=('carpal', 'metacarpal'))
  config.regions.crops = ('carpal', 'metacarpal')
  for name in ('net', 'again'):
    config[name].input.update(builder_config='', crops_from='regions')
    config[name].input.regions = ('carpal', 'metacarpal')
  return config


def points():
  config = hand_geometry.get_config('phantom').unlock()
  config.net = ConfigDict(config.keypoints.to_dict())
  config.again = ConfigDict(config.keypoints.to_dict())
  return config


def masks():
  config = points()
  for name in ('net', 'again'):
    config[name] = ConfigDict(config.segmenter.to_dict())
  return config


def classes():
  config = make()
  config.data.classes = ('fracture', 'other')
  for name in ('net', 'again'):
    config[name].task = 'classification'
  return config


@pytest.mark.parametrize(
  ('of', 'field', 'value'),
  [
    (crops, 'input.regions', ('metacarpal', 'carpal')),
    (crops, 'input.crop_margin', 0.15),
    (points, 'input.points', tuple(reversed(hand_geometry.POINTS))),
    (masks, 'input.masks', ('bones',)),
    (classes, 'data.classes', ('other', 'fracture')),
    (make, 'net.pool', 'gmp'),
    (make, 'net.readout', 'argmax'),
    (make, 'net.backbone.endpoint', 'stage9'),
  ],
)
def test_a_net_that_is_taken_stands_for_the_same(of, field, value):
  config = of()
  config.again.init_from.run = ':net'
  of_run = config_lib.from_json(config_lib.to_json(config))
  restore.check_same_net(config, 'again', of_run, 'net')
  changed = config if field.startswith('data.') else config.again
  changed.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=f'Expected {field}=.* :net was trained'):
    restore.check_same_net(config, 'again', of_run, 'net')


def test_a_net_that_is_taken_may_read_all_crops_by_another_name():
  config = crops()
  config.again.input.regions = ()
  config.again.net.update(dropout=0.5, remat=True)
  restore.check_same_net(config, 'again', config, 'net')


def test_a_stage_of_the_same_run(first):
  config = make(run=':net')
  assert lineage.parent_run(config, 'again', str(first)) == (
    config,
    'net',
    str(first),
  )
  assert lineage.parent_run(config, 'net', str(first)) is None


@pytest.mark.parametrize(
  'run', ['{}:report', '{}:nothing', '/no:net', ':again']
)
def test_no_net_to_start_from(run, first):
  config = make(run=run.format(first))
  with pytest.raises(ValueError, match='names no net to start from; expected'):
    lineage.parent_run(config, 'again', str(first))


def test_films_held_out_here_were_trained_on_there(first, prepared, tmp_path):
  config = make(run=f'{first}:net')
  config.data.update(validation_fraction=0.3, test_fraction=0.4)
  config.stages = ('prepare', 'again')
  workdir = write(config, tmp_path, prepared)
  with pytest.raises(ValueError, match=r'trained on \d+ films that are held'):
    workflow_validate.check_films(config, workdir)
  config.again.init_from.ids_are_unrelated = True
  config.again.steps = 1
  write(config, tmp_path, prepared)
  workflow_validate.check_films(config, workdir)
  loop.train_and_evaluate(config, 'again', workdir)
  # Their numbers say nothing of ours: the run can be judged.
  own = lineage.training_films(config, 'net', workdir)
  assert lineage.training_films(config, 'again', workdir) == own
  assert run_lib.read_run(f'{tmp_path}:again').train == own
  # Else whoever judges this net must know of the films it began with.
  config.again.init_from.ids_are_unrelated = False
  seen = lineage.training_films(config, 'again', workdir)
  assert seen > own
  assert seen >= lineage.training_films(make(), 'net', str(first))
  assert set(predictions(tmp_path, 'again')) & seen
  config.again.init_from.run = f'{first}/gone:net'
  assert lineage.training_films(config, 'again', workdir) is None


@pytest.mark.parametrize('stage', ['mine', 'keypoints'])
def test_nets_that_mask_and_register_are_of_other_films(
  stage, prepared, tmp_path, monkeypatch
):
  there = hand_geometry.get_config('thumbnails').unlock()
  there.data.update(FRACTIONS)
  run = write(there, tmp_path / 'there', prepared)
  here = registration.get_config('half').unlock()
  here.data.update(FRACTIONS)
  here.update(geometry_run=run, stages=(stage,))
  workdir = write(here, tmp_path / 'here', prepared)
  workflow_validate.check_films(here, workdir)
  films, _ = selection.split_films(here, workdir, 'original')
  held_out = films['id'][films['split'] == 'test'][0]
  # A mask that the net was trained on there, of a film that is held out.
  folder = tmp_path / f'there/{stage}/round_1'
  folder.mkdir(parents=True)
  table = 'id,status,stored\n'
  rows = f'{held_out},accepted,1\n9,refused,0\n'
  (folder / 'masks.csv').write_text(table + rows)
  refused = f'{stage}.init_from.run=.* on 1 films .* such as {held_out}:'
  with pytest.raises(ValueError, match=refused):
    workflow_validate.check_films(here, workdir)
  # Films that nobody marked are masked and registered, too.
  folder.joinpath('masks.csv').write_text(table)
  here.data.update(validation_fraction=0.3, test_fraction=0.4)
  real = selection.split_films

  def no_marks_of_judges(*arguments):
    films, text = real(*arguments)
    marks = np.where(films['split'] == 'train', films['marks'], '')
    return films | {'marks': marks}, text

  monkeypatch.setattr(selection, 'split_films', no_marks_of_judges)
  with pytest.raises(ValueError, match=r'trained on \d+ films that are held'):
    workflow_validate.check_films(here, workdir)


def test_a_net_that_has_diverged(first, prepared, tmp_path, monkeypatch):
  real = restore.load_net

  def load_net(*arguments):
    graph, variables = real(*arguments)
    head = variables['params']['age_head']
    head['fc']['bias'] = head['fc']['bias'].at[3].set(np.nan)
    return graph, variables

  monkeypatch.setattr(restore, 'load_net', load_net)
  config = make(run=f'{first}:net')
  message = 'numbers that are not finite in params/age_head/fc/bias: its train'
  with pytest.raises(ValueError, match=message):
    loop.train_and_evaluate(config, 'again', write(config, tmp_path, prepared))


@pytest.mark.ci
def test_the_backbone_goes_into_a_net_with_another_head(
  first, prepared, tmp_path
):
  config = make(run=f'{first}:net', only='^backbone/')
  config.again.net.update(output='scalar', sex_features=8)
  config.again.loss = ConfigDict({'name': 'mae'})
  config.again.update(steps=1, ema=0.0, freeze_statistics=True)
  config.again.optimizer.learning_rate = 0.0
  workdir = write(config, tmp_path, prepared)
  validate.check_stage(config, 'again', workdir)
  loop.train_and_evaluate(config, 'again', workdir)
  _, ours = restore.load_net(config, 'again', workdir)
  _, theirs = restore.load_net(make(), 'net', str(first))
  for kind in ('params', 'batch_stats'):
    taken, there = ours[kind].pop('backbone'), theirs[kind].pop('backbone')
    jax.tree.map(np.testing.assert_array_equal, taken, there)
  shapes = lambda tree: [x.shape for x in jax.tree.leaves(tree)]
  assert shapes(ours) != shapes(theirs)  # and what is left is its own
  assert lineage.training_films(config, 'again', workdir)


@pytest.mark.parametrize(
  ('only', 'message'),
  [
    (
      '^bakbone/',
      r"only='\^bakbone/' matches no parameter; paths look like",
    ),
    ('(', r"only='\(' is no regular expression: missing \)"),
    ('.', r'is another net: \d+ arrays differ .*age_head'),
  ],
)
def test_parts_that_cannot_be_taken_are_refused(only, message, first, tmp_path):
  config = make(run=f'{first}:net', only=only)
  config.again.net.sex_features = 8
  with pytest.raises(ValueError, match=message):
    validate.check_stage(config, 'again', str(tmp_path))
  config.again.init_from.only = '^backbone/'
  validate.check_stage(config, 'again', str(tmp_path))
  config.again.update(steps=0, epochs=0)
  with pytest.raises(ValueError, match=r"only='' for a net .* set epochs"):
    validate.check_stage(config, 'again', str(tmp_path))


def test_another_net(first, prepared, tmp_path):
  config = make(run=f'{first}:net')
  config.again.net.sex_features = 8
  with pytest.raises(ValueError, match=r'is another net: \d+ arrays differ'):
    loop.train_and_evaluate(config, 'again', write(config, tmp_path, prepared))
