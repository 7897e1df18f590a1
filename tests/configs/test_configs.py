"""Every config, variant and preset: it loads, locks, fits, and has nets."""

import ast
import functools
import importlib
import json
import pathlib

from flax import nnx
from ml_collections import ConfigDict
import pytest

from boneage_jax import models
from boneage_jax.core import stages
from boneage_jax.models import backbones as backbones_lib
from boneage_jax.regions import localize
from boneage_jax.training import losses
from boneage_jax.training import optimizers
from boneage_jax.workflow import jobs
from configs import common
from configs import presets
from configs import system

ROOT = pathlib.Path(__file__).parents[2]
PATHS = sorted((ROOT / 'configs').glob('*.py'))
SHARED = ('__init__', 'common', 'orientation_net', 'presets', 'regional_nets')
SHARED += ('system',)
FILES = [path.stem for path in PATHS if path.stem not in SHARED]
# Fields of a section, or of its input, that name other stages.
EDGES = ('previous', 'localizer', 'members', 'stage', 'baselines')
EDGES += ('regions_from',)
# Of losses that are not of an age.
TASKS = {
  'cross_entropy': 'classification',
  'keypoints': 'keypoints',
  'segmentation': 'segmentation',
}
INPUT_EDGES = ('crops_from', 'erase_from', 'orientation_from', 'features_from')


def module(name):
  return importlib.import_module(f'configs.{name}')


def load(name, variant=''):
  return module(name).get_config(variant)


@functools.cache
def read(name, variant=''):
  """A config that the test does not change, with the run that it needs."""
  config = load(name, variant)
  if 'geometry_run' in config:
    config.geometry_run = '/run'
  return config


def spellings(name):
  """Every variant with every preset, as it follows the colon."""
  return [
    ','.join(part for part in (variant, preset) if part)
    for variant in ('', *module(name).VARIANTS)
    for preset in ('', *module(name).PRESETS)
    if not (variant == 'fracture' and preset)  # it makes its own phantoms
  ]


ALL = [(name, variant) for name in FILES for variant in spellings(name)]
each = pytest.mark.parametrize(('name', 'variant'), ALL)


def references(config):
  """(stage, field, stage that it names) of every edge between stages."""
  for stage, section in stages.sections(config).items():
    edges = {field: section.get(field) for field in EDGES}
    source = section.get('input', {})
    edges |= {field: source.get(field) for field in INPUT_EDGES}
    folder, _, run = section.get('init_from', {}).get('run', '').rpartition(':')
    edges['init_from.run'] = '' if folder else run
    for field, named in edges.items():
      for several in (named,) if isinstance(named, str) else named or ():
        for one in stages.parts(several):
          if one:
            yield stage, field, one


def test_there_are_variants_and_presets():
  assert ('cascade', 'strict,phantom') in ALL
  assert ('best', 'full') in ALL and ('attention_ldl', 'h+r1,half') in ALL


@each
def test_it_loads_locked(name, variant):
  config = read(name, variant)
  assert (config.name, config.variant) == (name, variant)
  for section in (config, *stages.sections(config).values()):
    with pytest.raises(AttributeError):
      section.epoch = 3
  for section in stages.sections(config).values():
    for part in (section, section.get('input', {})):
      for size in {'size', 'crop_size'} & set(part):
        assert part.get_type(size) is object  # a number or a pair


@each
def test_stages_name_stages(name, variant):
  config = read(name, variant)
  described = stages.sections(config)
  assert config.stages and set(config.stages) <= set(described)
  for stage, field, named in references(config):
    assert named in described, f'{stage}.{field}'
    # What runs reads nothing that comes later, or never.
    if stage in config.stages:
      order = config.stages.index
      assert order(named) < order(stage), f'{stage}.{field}'


def test_references_are_found():
  found = set(references(load('attention_ldl', 'table,phantom')))
  assert ('row_h', 'crops_from', 'r2') in found
  assert ('r2_localizer', 'erase_from', 'r1') in found
  assert ('r2', 'previous', 'r1') in found
  assert ('report', 'baselines', 'row_o') in found
  found = set(references(load('best_thumbnails')))
  assert ('inception', 'orientation_from', 'orientation') in found
  assert ('finetune', 'init_from.run', 'inception') in found
  found = set(references(load('best', 'full')))
  assert ('ensemble', 'members', 'convnext') in found
  found = set(references(read('registration', 'half')))
  assert ('carpal_nets', 'members', 'carpal_girls_regression') in found
  assert not any(field == 'init_from.run' for _, field, _ in found)


@each
def test_stages_fit_together(name, variant):
  config = read(name, variant)
  for stage, section in stages.sections(config).items():
    assert section.job in jobs.JOBS
    if section.job == 'locate':
      assert len(section.threshold) == len(section.regions)
      assert len(section.minimum_side) == len(section.regions)
    if section.job != 'train':
      continue
    assert bool(section.input.builder_config) != bool(section.input.crops_from)
    task = TASKS.get(section.loss.name, 'age')
    if section.input.rotate90:
      task = 'orientation'
    assert bool(section.input.masks) == (task == 'segmentation')
    assert section.task == task, stage
    if section.input.crops_from:
      crops = config[section.input.crops_from]
      names, size = localize.crop_names(crops), crops.crop_size
      assert names and set(section.input.regions) <= set(names)
      for region in section.input.regions or names:
        # Registered regions have a size each.
        own = size[names.index(region)] if crops.job == 'register' else size
        assert section.input.size == own
      assert section.input.crop_margin == crops.crop_margin


@each
def test_losses_and_schedules_are_accepted(name, variant):
  for section in stages.sections(read(name, variant)).values():
    if section.job == 'train':
      accepted = losses.parameters(section.loss.name)
      assert set(section.loss) - {'name'} <= accepted
      optimizers.schedule(section.optimizer, 100)


@functools.cache  # configs share nets
def create(net, size):
  net = ConfigDict(json.loads(net))
  return nnx.eval_shape(lambda: models.create(net, size=size))


def backbones(net):
  names = ('backbone', 'carpal', 'metacarpal')
  return {name: net[name].to_dict() for name in names if name in net}


def train_stages():
  for name, variant in ALL:
    for section in stages.sections(read(name, variant)).values():
      if section.job == 'train':
        yield section


# One of each, at any width.
BACKBONES = {
  json.dumps(backbone | {'width': 1}): backbone
  for section in train_stages()
  for backbone in backbones(section.net).values()
}
# Nets of several backbones, of every set of them one.
PAIRS = {
  json.dumps(list(backbones(section.net).values())): section
  for section in train_stages()
  if len(backbones(section.net)) > 1
}


@pytest.mark.parametrize('backbone', BACKBONES.values(), ids=BACKBONES)
def test_its_backbones_can_be_built(backbone):
  make = lambda: backbones_lib.create(
    backbone, dtype='float32', rngs=nnx.Rngs(0)
  )
  assert nnx.eval_shape(make).channels


@pytest.mark.ci
@pytest.mark.parametrize('section', PAIRS.values(), ids=PAIRS)
def test_its_pairs_of_backbones_fit_together(section):
  assert create(section.net.to_json(), section.input.size)


@each
def test_its_nets_can_be_built(name, variant):
  config = read(name, variant)
  small = common.age_net()['backbone'] | {'width': 0.125, 'endpoint': 'stem'}
  for section in stages.sections(config).values():
    if section.job == 'train':
      net = section.net.to_dict() | dict.fromkeys(backbones(section.net), small)
      if net.get('exchange') == 'mid':
        net['mid'] = ('stem', 'stem')
      built = create(json.dumps(net), section.input.size)
      if section.task == 'segmentation':
        assert built.mask.kernel.shape[3] == 1
        continue
      if section.task == 'keypoints':
        points = len(section.input.points)
        if section.net.name == 'point_unet':
          assert built.mask.kernel.shape[3] == points
        else:
          assert built.fc.kernel.shape[1] == 2 * points
        continue
      classes = {'orientation': 4, 'classification': len(config.data.classes)}
      wanted = {'bins': 240, 'scalar': 1, 'unit': 1, 'standardized': 1}
      wanted['classes'] = classes.get(section.task)
      outputs = built.age_head.fc.kernel.shape[1]
      assert outputs == wanted[section.net.output]
      bins = section.loss.name in ('soft_label', 'label_distribution')
      assert section.net.output == 'bins' or not bins


@each
def test_phantoms_are_made_where_there_is_no_archive(name, variant):
  config = read(name, variant)
  assert not config.manual_dir
  own = {'phantom', 'fracture'} & set(variant.split(','))
  assert bool(config.phantom.films) == bool(own)


@pytest.mark.parametrize('name', FILES)
def test_presets_mean_the_same_everywhere(name):
  for preset in module(name).PRESETS:
    config, expected = read(name, preset), system.base('', '')
    getattr(presets, preset)(expected)
    for field in ('validation_fraction', 'test_fraction', 'folds'):
      assert config.data[field] == expected.data[field]
    assert config.phantom.to_dict() == expected.phantom.to_dict()


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('wrong', ['small', 'phantom,', 'strict,small'])
def test_unknown_parts_are_refused_with_the_choices(name, wrong):
  with pytest.raises(ValueError, match=rf'^Expected .*{name}\.py') as refused:
    load(name, wrong)
  _, variants, chosen = str(refused.value).split('. ')
  for choice in module(name).VARIANTS or ('none',):
    assert choice in variants
  for choice in module(name).PRESETS or ('none',):
    assert choice in chosen


@pytest.mark.parametrize(
  ('name', 'wrong', 'message'),
  [
    ('cascade', 'phantom,half', 'Presets, at most one: phantom, thumbnails'),
    ('attention_ldl', 'h,r1', 'Expected one row .* got .h,r1.'),
    ('attention_ldl', 'h,table', 'Expected one row'),
    ('guided', 'fracture,phantom', 'without a preset'),
    ('guided', 'fracture,thumbnails', 'without a preset'),
  ],
)
def test_parts_that_exclude_each_other(name, wrong, message):
  with pytest.raises(ValueError, match=message):
    load(name, wrong)


def test_parts_come_in_any_order():
  one, other = read('cascade', 'strict,half'), read('cascade', 'half,strict')
  assert one.to_dict() | {'variant': ''} == other.to_dict() | {'variant': ''}


@pytest.mark.parametrize('preset', ['', 'phantom', 'thumbnails', 'half'])
def test_a_preset_keeps_the_method_of_a_variant(preset):
  strict = load('cascade', f'strict,{preset}'.strip(','))
  for stage in (strict.localizer, strict.assessor):
    assert (stage.net.output, stage.loss.name) == ('scalar', 'mse')
  assert strict.assessor.net.exchange == 'whole'
  assert strict.regions.target == 'age'
  first = read('attention_ldl', f'v1,{preset}'.strip(',')).assessor
  assert (first.net.output, first.loss.name) == ('scalar', 'mae')


def test_a_config_describes_what_it_runs():
  config = read('attention_ldl', 'h,half')
  assert set(stages.sections(config)) == set(config.stages)
  for variant, second in (('full', 'convnext'), ('phantom', 'resnet18')):
    both = {'convnext', 'resnet18'} & set(load('best', variant))
    assert both == {second}


def test_all_nets_of_a_kind_take_one_file_of_weights():
  config = load('attention_ldl', 'table,half')
  config.weights.update(localizers='A', assessors='B')
  for stage in config.stages:
    if config[stage].job == 'train':
      expected = 'A' if stage.endswith('_localizer') else 'B'
      assert config[stage].pretrained.backbone.path == expected


def test_configs_state_values_alone():
  allowed = {'collections', 'ml_collections', 'configs'}
  for path in PATHS:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
    assert not any(isinstance(n, ast.Import) for n in nodes), path.name
    assert {n.split('.')[0] for n in names} <= allowed, path.name
    assert names or path.stem == '__init__'
