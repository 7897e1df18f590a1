"""More epochs for a finished net: a stage of its own that goes on from it."""

import copy
from typing import Any

from boneage_jax.core import stages


def name(stage: str) -> str:
  """Name the stage that goes on from another."""
  return f'{stage}_longer'


def expand(config: Any) -> Any:
  """Return the config with the stage that its section `longer` asks for.

  That stage begins with the best net of `longer.stage` and has its settings,
  but another order of films and `longer.rate` times the learning rate. It runs
  behind it. Reports of that stage are of the new one, with the old one beside
  it. All else reads what it read before. A config that has it is returned as it
  is.

  Args:
    config: stays as it is.

  Raises:
    ValueError: no net to go on from, or no epochs; names the field.
  """
  options = config.longer
  old, new = options.stage, name(options.stage)
  if not old or new in config.stages:
    return config
  described = stages.sections(config)
  trains = lambda name: name in described and described[name].job == 'train'
  known = list(filter(trains, config.stages))
  if old not in known:
    raise ValueError(
      'Expected --config.longer.stage to name a stage of --config.stages that '
      f'trains, one of {", ".join(known) or "none"}; got {old!r}.'
    )
  if options.epochs < 1 or not options.rate > 0:
    raise ValueError(
      'Expected --config.longer.epochs of 1 or more and --config.longer.rate '
      f'above 0, got {options.epochs} and {options.rate}.'
    )
  config = copy.deepcopy(config).unlock()
  section = copy.deepcopy(config[old])
  section.init_from.update(run=f':{old}', only='')
  section.update(epochs=options.epochs, steps=0, seed=section.seed + 1)
  section.optimizer.learning_rate *= options.rate
  config[new] = section
  at = config.stages.index(old) + 1
  config.stages = (*config.stages[:at], new, *config.stages[at:])
  for other in stages.sections(config).values():
    if 'baselines' in other and other.stage == old:
      other.update(stage=new, baselines=(*other.baselines, old))
    elif old in other.get('baselines', ()):
      other.baselines = (*other.baselines, new)
  return config.lock()
