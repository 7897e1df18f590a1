"""The eighteen stages of single regions: well formed, with nets that build."""

import functools

from flax import nnx
import jax
from ml_collections import ConfigDict
import pytest

from boneage_jax import models
from boneage_jax.evaluation import regions
from boneage_jax.training import initial_bias
from boneage_jax.training import losses
from boneage_jax.training import optimizers
from configs import regional_nets

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


def test_the_net_of_the_whole_hand_is_that_of_the_authors():
  section = ConfigDict(regional_nets.age_stages()['hand_both_regression'])
  params = nnx.state(build(section), nnx.Param)
  leaves = jax.tree.leaves(params)
  assert sum(leaf.size for leaf in leaves) == 24_751_201
  assert section.input.size == (500, 375) and not section.input.flip
