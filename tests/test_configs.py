"""Every config and variant: it builds, locks and gives nets."""

import ast
import functools
import importlib
import inspect
import json
import pathlib
import re

from flax import nnx
from ml_collections import ConfigDict
import pytest

from boneage_jax import models
from boneage_jax.core import stages
from boneage_jax.training import optimizers
from boneage_jax.training.losses import age as age_losses
from boneage_jax.training.tasks import classification
from boneage_jax.workflow import jobs
from configs import common

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(
  path.stem
  for path in (ROOT / 'configs').glob('*.py')
  if path.stem not in ('__init__', 'common')
)


def variants(name):
  """Variants, as the error that refuses another one lists them."""
  with pytest.raises(ValueError, match='choose one of') as refused:
    load(name, '?')
  return ['', *ast.literal_eval(re.search(r'\[.*\]', str(refused.value))[0])]


def load(name, variant=''):
  return importlib.import_module(f'configs.{name}').get_config(variant)


ALL = [(name, variant) for name in FILES for variant in variants(name)]


def test_there_are_variants():
  assert ('cascade', 'phantom') in ALL and ('cascade', 'strict') in ALL


@pytest.mark.parametrize(('name', 'variant'), ALL)
def test_it_builds_and_locks(name, variant):
  config = load(name, variant).lock()
  assert (config.name, config.variant) == (name, variant)
  described = stages.sections(config)
  assert config.stages and set(config.stages) <= set(described)
  assert {s.job for s in described.values()} <= set(jobs.JOBS)
  assert stages.builder_configs(config)
  for key, section in described.items():
    if section.job == 'train':
      assert section.loss.name in age_losses.LOSSES
      accepted = inspect.signature(
        age_losses.LOSSES[section.loss.name]
      ).parameters
      assert set(section.loss) - {'name'} <= set(accepted)
      optimizers.schedule(section.optimizer, 100)
      assert config.to_dict()[key]['net']['name'] in models.NETS
  with pytest.raises(AttributeError):
    config.epochs = 3


@functools.cache  # variants share nets
def last_classes(net, size):
  net = ConfigDict(json.loads(net))
  built = nnx.eval_shape(lambda: models.create(net, size=size))
  return built.age_head.fc.kernel.shape[1]


@pytest.mark.parametrize(('name', 'variant'), ALL)
def test_its_nets_can_be_built(name, variant):
  config = load(name, variant)
  for stage, section in stages.sections(config).items():
    if section.job == 'train':
      classes = last_classes(section.net.to_json(), section.input.size)
      bins = section.loss.name in ('soft_label', 'label_distribution')
      assert (section.net.output == 'bins') or not bins
      named = len(classification.class_names(config, stage))
      assert (section.loss.name == 'cross_entropy') == bool(named)
      assert classes == {'bins': 240, 'scalar': 1}.get(
        section.net.output, named
      )


@pytest.mark.parametrize(('name', 'variant'), ALL)
def test_stages_fit_together(name, variant):
  config = load(name, variant)
  for section in stages.sections(config).values():
    source = section.get('input', {}).get('crops')
    if source:
      crops = config[source]
      assert section.input.size == crops.crop_size
      assert section.input.crop_margin == crops.crop_margin
      assert len(crops.threshold) == len(crops.regions)
      stored = crops.get('crops', crops.regions)
      assert set(section.input.regions) <= set(stored)
      assert config.stages.index(source) > config.stages.index(crops.localizer)
  for stage in (config.report.stage, *config.report.baselines):
    assert stage in config.stages


def test_phantom_variants_need_no_archive():
  for name, variant in ALL:
    config = load(name, variant)
    assert not config.manual_dir
    phantoms = variant in ('phantom', 'fracture')
    assert bool(config.phantom.films) == phantoms


def test_unknown_variant():
  with pytest.raises(ValueError, match=r"no variant 'small'; choose one of"):
    load('cascade', 'small')


def test_unknown_fields_of_a_section():
  with pytest.raises(ValueError, match=r"Unknown config fields: \['epoch'\]"):
    common.train_stage(epoch=3)


def test_sections_share_nothing():
  config = load('cascade')
  config.localizer.input.size = 17
  assert config.assessor.input.size != 17
  assert load('cascade').localizer.input.size != 17
  assert isinstance(config.localizer, ConfigDict)


def test_variants_are_joined_in_their_own_order():
  def add(letter):
    return lambda config: config.update(seen=config.get('seen', '') + letter)

  variants = {'a': add('a'), 'b': add('b'), 'c': add('c')}
  chosen = common.choose(common.base('system', 'c,a'), variants)
  assert chosen.seen == 'ac'
  with pytest.raises(ValueError, match="no variant 'd'"):
    common.choose(common.base('system', 'a,d'), variants)
