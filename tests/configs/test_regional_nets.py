"""The eighteen stages of single regions: well formed, with nets that build."""

import copy
import functools

from flax import nnx
import jax
from ml_collections import ConfigDict
import pytest

from boneage_jax import models
from boneage_jax.core import config as config_lib
from boneage_jax.evaluation import regions
from boneage_jax.training import initial_bias
from boneage_jax.training import losses
from boneage_jax.training import optimizers
from configs import hand_geometry
from configs import regional_nets
from configs import registration

SMALL = dict(hand=(176, 132), carpal=(132, 132), metacarpal=(132, 308))


@functools.cache
def stages():
  return ConfigDict(
    regional_nets.age_stages(SMALL, width=0.0625, from_both=True)
  )


def build(section):
  """The net without its numbers."""
  return nnx.eval_shape(
    lambda: models.create(section.net, size=section.input.size)
  )


def test_there_are_eighteen_named_by_what_they_are():
  found = regions.nets_of_regions(stages())
  assert len(stages()) == len(found) == len(set(found.values())) == 18
  sexes = {'': 'both', 'M': 'boys', 'F': 'girls'}
  for name, net in found.items():
    assert name == f'{net.region}_{sexes[net.sex]}_{net.kind}'
    assert stages()[name].input.size == SMALL[net.region]
  assert found['carpal_girls_expectation'] == ('carpal', 'F', 'expectation')


@pytest.mark.parametrize('kind', regional_nets.KINDS)
@pytest.mark.parametrize('region', SMALL)
def test_nets_can_be_built_and_trained(region, kind):
  section = stages()[f'{region}_both_{kind}']
  outputs = build(section).age_head.fc.kernel.shape[1]
  assert outputs == {'regression': 1, 'expectation': 240}[kind]
  # Those of one sex have the same net, from which `init_from` can go on.
  for sex in ('boys', 'girls'):
    assert stages()[f'{region}_{sex}_{kind}'].net == section.net


def test_sections_have_values_that_training_takes():
  for section in stages().values():
    initial_bias.check(section)
    assert set(section.loss) - {'name'} <= losses.parameters('mae')
    optimizers.schedule(section.optimizer, 100)


@pytest.mark.parametrize('from_both', [True, False])
def test_where_nets_of_one_sex_start(from_both):
  made = regional_nets.age_stages(from_both=from_both)
  order = list(made)
  for name, section in made.items():
    region, sex, kind = name.split('_')
    before = section['init_from']['run'].removeprefix(':')
    assert bool(before) == (from_both and sex != 'both')
    if before:
      assert before == f'{region}_both_{kind}'
      assert order.index(before) < order.index(name)
    histogram = kind == 'expectation' and not before
    assert section['init_bias'] == ('age_histogram' if histogram else '')


def test_means_take_nets_of_one_sex_as_pairs():
  means = regional_nets.ensembles()
  assert means['carpal_nets']['members'] == (
    'carpal_both_regression',
    'carpal_boys_regression+carpal_girls_regression',
    'carpal_both_expectation',
    'carpal_boys_expectation+carpal_girls_expectation',
  )
  names = lambda mean: [
    name for member in means[mean]['members'] for name in member.split('+')
  ]
  assert sorted(names('ensemble')) == sorted(stages())
  for kind in regional_nets.KINDS:
    expected = [name for name in stages() if name.endswith(kind)]
    assert sorted(names(f'{kind}_nets')) == sorted(expected)
  assert len(means) == 6


def test_a_further_net_of_the_hand_is_no_row_of_its_own():
  section = regional_nets.resnet50_stage(SMALL['hand'], 0.0625)
  more = ConfigDict(stages().to_dict() | {'hand_resnet50': section})
  assert more.hand_resnet50.input.regions == ('hand',)
  found = regions.nets_of_regions(more)
  assert found == regions.nets_of_regions(stages())


def test_presets_train_every_net_alike():
  for preset in ('phantom', 'half'):
    config = registration.get_config(preset)
    nets = [config[name] for name in stages()]
    for field in ('epochs', 'steps', 'batch_size'):
      of_sex = {(bool(n.input.sex), n[field]) for n in nets}
      assert len(of_sex) == 2
    assert {n.optimizer.name for n in nets} == {'adamw'}
    assert {n.loss.name for n in nets} == {'mae'}
    # Each region has a size, and nets have the paper's share of it or less.
    for region, size in zip(
      config.register.regions, config.register.crop_size, strict=True
    ):
      full = regional_nets.SIZES[region]
      assert all(127 <= n <= f for n, f in zip(size, full, strict=True))


def test_nets_of_another_run_come_with_its_folder():
  config = registration.get_config('half')
  assert config.geometry_run == ''
  config.geometry_run = 'runs/hand_geometry'  # as from the command line
  kept = config_lib.from_json(config_lib.to_json(copy.deepcopy(config)))
  for one in (config, kept):
    assert one.mine.init_from.run == 'runs/hand_geometry:mine'
    assert one.keypoints.init_from.run == 'runs/hand_geometry:keypoints'
  theirs = hand_geometry.get_config('thumbnails')
  for stage in ('mine', 'keypoints'):
    section = config[stage]
    assert section.net == theirs[stage].net
    for field in ('size', 'resize', 'builder_config', 'percentiles'):
      assert section.input[field] == theirs[stage].input[field]
    assert section.epochs == section.steps == 0
  assert config.mine.rounds == 0 and 'segmenter' not in config.stages


def test_the_net_of_the_whole_hand_is_that_of_the_authors():
  section = ConfigDict(regional_nets.age_stages()['hand_both_regression'])
  params = nnx.state(build(section), nnx.Param)
  leaves = jax.tree.leaves(params)
  assert sum(leaf.size for leaf in leaves) == 24_751_201
  assert section.input.size == (500, 375) and not section.input.flip
