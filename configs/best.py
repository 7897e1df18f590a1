"""Ours: nets of different kinds, averaged with weights.

Whole-film nets of two backbones and the cascade of Li 2023 err in different
ways, and their weighted mean can err less than the best of them. Weights are
fitted on validation films, or with --config.data.folds=5 on the films out of
fold.

Stages
  prepare      archive (or phantoms) to array_record
  orientation  a small net that turns back films on their side or upside down
  inception    Inception-V3 on the whole film
  finetune_corrupted  of phantoms: it goes on with films most of which are
                      corrupted
  convnext     ConvNeXt on the whole film; of phantoms `resnet18`, a small
               ResNet18
  localizer, regions, assessor  the cascade, configs/cascade.py
  ensemble     their weighted mean
  report       errors with intervals, pictures

  python -m boneage_jax.main --config=configs/best.py:phantom

Presets: phantom (an hour on two cores), full (five folds in bfloat16, for
accelerators: 8 GPUs, or a TPU v5e-8 with boneage_jax/launch; not run yet);
without one, the whole archive on one split. There are no variants. Archives of
small films have configs of their own, best_half.py and best_thumbnails.py.
docs/results.md has the figures that runs of ours reached.

Without ImageNet weights every net starts from random ones, and nothing costs
more:

  python -m boneage_jax.main --config=configs/best.py:full \
    --config.manual_dir=DIR \
    --config.inception.pretrained.backbone.path=INCEPTION_V3 \
    --config.convnext.pretrained.backbone.path=CONVNEXT_TINY \
    --config.localizer.pretrained.backbone.path=INCEPTION_V3 \
    --config.assessor.pretrained.carpal.path=XCEPTION \
    --config.assessor.pretrained.metacarpal.path=RESNET50

All values are ours but those of the cascade.
"""

from ml_collections import ConfigDict

from configs import cascade
from configs import common
from configs import presets
from configs import system


def get_config(variant: str = '') -> ConfigDict:
  """The system for the archive at full size, or a preset of it."""
  config = system.base('best', variant)
  _, preset = presets.parse(config, VARIANTS, PRESETS)
  config.data.crop_borders = True
  add_cascade(config)
  if preset == 'phantom':
    phantom(config)
  else:
    archive(config)
  if preset == 'full':
    presets.full(config)
  return presets.lock(config)


def archive(config: ConfigDict) -> None:
  """Two backbones on films of 512 pixels, and the cascade at its own sizes."""
  films = dict(builder_config='px768', size=512, corruption_prob=0.3)
  config.inception = whole_film(films, net=dict(), learning_rate=4e-4)
  config.convnext = whole_film(
    films | dict(resize='letterbox'),
    net=dict(backbone=dict(name='convnext', variant='tiny')),
    learning_rate=2e-4,
    seed=1,
  )
  add_ensemble(
    config,
    nets=('inception', 'convnext'),
    members=('inception', 'convnext', 'assessor'),
  )


def phantom(config: ConfigDict) -> None:
  """Small nets from random weights; an hour on two cores."""
  presets.phantom(config)
  cascade.small_nets(config)
  short = dict(batch_size=16, ema=0.98)
  config.inception = whole_film(
    dict(size=128, rotate=25.0, corruption_prob=0.5),
    net=dict(
      backbone=dict(name='inception_v3', width=0.5, endpoint='mixed2'),
      pool='gmp',
      bn_momentum=0.9,
    ),
    learning_rate=2e-3,
    epochs=60,
    **short,
  )
  config.finetune_corrupted = common.finetune(
    config.inception,
    run=':inception',
    input=dict(zoom=0.1, corruption_prob=0.8),
    learning_rate=2e-3,
    epochs=150,
    checkpoint_selection='last',  # validation films are as they are
    seed=4,
  )
  config.resnet18 = whole_film(
    dict(size=128, resize='letterbox', corruption_prob=0.3),
    net=dict(backbone=small_resnet(0.25), pool='gmp', bn_momentum=0.9),
    learning_rate=2e-3,
    epochs=16,
    seed=1,
    **short,
  )
  add_ensemble(
    config,
    nets=('inception', 'finetune_corrupted', 'resnet18'),
    members=('finetune_corrupted', 'resnet18', 'assessor'),
    others=('inception',),
  )


def whole_film(
  films: dict, net: dict, learning_rate: float, **changes
) -> ConfigDict:
  """A stage of one net on whole films, read upright.

  Args:
    films: changes of the input.
    net: changes of `common.age_net`.
    learning_rate: of the fast rule.
    **changes: of the section's own fields.
  """
  films = common.light_augmentation() | films
  section = common.train_stage(
    input=common.image_input(
      percentiles=(1.0, 99.0), orientation_from='orientation', **films
    ),
    net=common.age_net(**net),
    pretrained=dict(backbone=common.weights()),
    loss=common.label_distribution(delta=5.0, kl_weight=1.0),
    optimizer=common.fast_optimizer(learning_rate),
    tta=dict(rotate=(-5.0, 0.0, 5.0), flip=True),
    **changes,
  )
  return ConfigDict(section)


def baseline_resnet18(films: dict, **changes) -> ConfigDict:
  """A small ResNet18 from random weights, for archives of small films."""
  net = dict(backbone=small_resnet(0.5), bn_momentum=0.9)
  return whole_film(films, net, learning_rate=2e-3, seed=1, **changes)


def small_resnet(width: float) -> dict:
  """A ResNet18 backbone, for nets that start from random weights."""
  return dict(name='resnet', depth=18, width=width, variant='v1.5')


def add_cascade(config: ConfigDict) -> None:
  """Describe the cascade's stages as members: other seeds, films upright."""
  cascade.add_stages(config)
  config.localizer.seed, config.assessor.seed = 2, 3
  config.localizer.input.orientation_from = 'orientation'


def add_ensemble(
  config: ConfigDict,
  nets: tuple[str, ...],
  members: tuple[str, ...],
  others: tuple[str, ...] = (),
) -> None:
  """Train whole-film nets and the cascade, weigh members, report them all.

  Args:
    config: describes these stages.
    nets: stages of whole-film nets, in order.
    members: stages that are averaged.
    others: stages that are reported beside the members.
  """
  config.stages = (
    *('prepare', 'orientation', *nets, 'localizer', 'regions', 'assessor'),
    *('ensemble', 'report'),
  )
  config.ensemble = dict(
    job='ensemble',
    members=members,
    weights='mae',  # fitted on validation; or 'mse', or 'mean', which is not
  )
  config.report = common.report_stage(
    stage='ensemble', regions_from='regions', baselines=(*members, *others)
  )


VARIANTS = dict()
PRESETS = dict(phantom=phantom, full=presets.full)
