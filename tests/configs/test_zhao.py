"""The paces of Zhao 2018: what learns in which stage, and on which films."""

import itertools
import re

import jax
import pytest

from boneage_jax.training import optimizers
from boneage_jax.training import validate
from configs import zhao

PACES = tuple(zhao.PACE)


@pytest.mark.parametrize('preset', ['', 'half'])
def test_more_of_the_net_learns_in_every_stage(preset):
  config = zhao.get_config(preset)
  params, _ = validate.abstract_net(config.head)
  paths = jax.tree.leaves(optimizers.paths(params))
  learns = []
  for stage in PACES:
    rule = config[stage].optimizer
    frozen = [bool(rule.freeze and re.search(rule.freeze, p)) for p in paths]
    learns.append({p for p, off in zip(paths, frozen, strict=True) if not off})
    optimizers.create(rule, params, 10)  # it freezes neither all nor nothing
  assert learns[0] == {p for p in paths if p.startswith('age_head/')}
  assert learns[-1] == set(paths)
  for fewer, more in itertools.pairwise(learns):
    assert fewer < more


def test_paces_are_those_of_the_authors():
  config = zhao.get_config()
  rates = [config[stage].optimizer.learning_rate for stage in PACES]
  assert rates == [1e-2, 1e-3, 5e-4, 1e-4, 5e-5]
  for before, stage in zip(('', *PACES), PACES, strict=False):
    section = config[stage]
    assert section.init_from.run == (f':{before}' if before else '')
    assert section.early_stopping.patience == 5
    assert (section.optimizer.name, section.loss.name) == ('rmsprop', 'mse')
    # Keras: layers that do not learn keep their statistics.
    assert section.freeze_statistics == (stage != PACES[-1])


def test_its_masks_are_those_of_active_learning_on_the_same_split():
  config = zhao.get_config()
  assert config.register.masks_from == 'active'
  assert config.active.query == 'dissimilar'
  # One split serves all stages: no stage has one of its own.
  assert not any('split' in config[stage] for stage in config.stages)
