"""What all systems share of a preset: which data, and what budget.

  phantom     synthetic films, made by the run itself; minutes on two cores
  thumbnails  an archive of films squashed to 100 px
  half        an archive of films at half size
  full        the whole archive at full size, on accelerators

The values that one system alone has (thresholds of its regions, epochs of its
stages) stand in its file, under the preset's name. All values are ours.
"""

from collections.abc import Callable
from collections.abc import Iterable

from ml_collections import ConfigDict
from ml_collections import FieldReference

from configs import common

# Inception-V3 up to a map of 17 x 17 at 300 px, which keeps more of the
# position than 8 x 8. One file of ImageNet weights serves all such nets.
HALF_BACKBONE = dict(name='inception_v3', width=1.0, endpoint='mixed7')
# The first blocks of it; they stay as loaded.
HALF_FREEZE = '(backbone|carpal|metacarpal)/(stem|mixed[012])/'
# What there is to read, in the words of a table.
FILMS = dict(
  phantom='phantoms of 512 px', thumbnails='100 px', half='half size'
)


def parse(
  config: ConfigDict, variants: Iterable[str], presets: Iterable[str]
) -> tuple[list[str], str]:
  """Read `config.variant`, what follows the colon of --config=FILE:...

  Args:
    config: with its name and variant, parts that commas join in any order.
    variants: names of the changes of method that the file has.
    presets: names of the data and budgets that it has.

  Returns:
    the variants asked for, in the order of `variants`, and the preset, or ''.

  Raises:
    ValueError: a part is neither, or there are two presets.
  """
  parts = config.variant.split(',') if config.variant else []
  chosen = [name for name in presets if name in parts]
  if len(chosen) > 1 or set(parts) - {*variants, *presets}:
    raise ValueError(
      f'Expected --config=configs/{config.name}.py[:VARIANT,...][,PRESET], got '
      f'{config.variant!r}. Variants: {", ".join(variants) or "none"}. '
      f'Presets, at most one: {", ".join(presets) or "none"}.'
    )
  return [name for name in variants if name in parts], ''.join(chosen)


def apply(
  config: ConfigDict,
  variants: dict[str, Callable[[ConfigDict], None]],
  presets: dict[str, Callable[[ConfigDict], None]],
) -> ConfigDict:
  """Change the method, then data and budget, as `parse` says; lock."""
  chosen, preset = parse(config, variants, presets)
  for name in chosen:
    variants[name](config)
  if preset:
    presets[preset](config)
  return lock(config)


def lock(config: ConfigDict) -> ConfigDict:
  """Lock a config; a flag may give a size as one number or as a pair."""
  for section in config.values():
    for part in (section, getattr(section, 'input', None)):
      if isinstance(part, ConfigDict):
        for name in {'size', 'crop_size'} & set(part):
          value = part[name]
          with part.unlocked():
            del part[name]  # or its type would stay
            part[name] = FieldReference(value, field_type=object)
  return config.lock()


def phantom(config: ConfigDict) -> None:
  """Train on synthetic films of 512 pixels."""
  config.phantom.films = 1600
  config.data.update(validation_fraction=0.08, test_fraction=0.15)
  _read_originals(config)


def thumbnails(config: ConfigDict) -> None:
  """Train on an archive of thumbnails."""
  config.data.update(validation_fraction=0.05, test_fraction=0.15)
  _read_originals(config)


def half(config: ConfigDict) -> None:
  """Train on an archive of half-size films."""
  config.data.update(validation_fraction=0.10, test_fraction=0.15)
  _read_originals(config)


def full(config: ConfigDict) -> None:
  """Train all age nets of the system on accelerators, in five folds."""
  config.data.folds = 5
  for section in config.values():
    if getattr(section, 'task', '') == 'age':
      section.net.dtype = 'bfloat16'
      section.update(batch_size=64, checkpoint_selection='last')


def short_training(
  stage: ConfigDict, learning_rate: float = 2e-3, batch_size: int = 16
) -> None:
  """Let a net learn in few steps: a fast rule, averages, narrow labels.

  The rate is for nets that start from random weights. A net that does not
  tell bins keeps its loss.
  """
  stage.update(batch_size=batch_size, ema=0.98)
  stage.input.percentiles = (1.0, 99.0)
  stage.net.bn_momentum = 0.9
  stage.optimizer = ConfigDict(common.fast_optimizer(learning_rate))
  if stage.net.output == 'bins':
    stage.loss = ConfigDict(
      common.label_distribution(delta=10.0, kl_weight=1.0)
    )


def half_training(stage: ConfigDict) -> None:
  """Let nets of HALF_BACKBONE go on from ImageNet weights."""
  short_training(stage, learning_rate=4e-4)
  stage.update(eval_batch_size=16, epochs=8)
  stage.optimizer.freeze = HALF_FREEZE
  stage.input.update(rotate=10.0, zoom=0.1, flip=True)
  for name in stage.pretrained:  # the backbones of the net
    stage.net[name] = ConfigDict(HALF_BACKBONE)


def _read_originals(config: ConfigDict) -> None:
  """Read the films as they are; they are small enough."""
  for section in config.values():
    reads = getattr(section, 'job', '') in ('train', 'features')
    if reads and section.input.builder_config:
      section.input.builder_config = 'original'
