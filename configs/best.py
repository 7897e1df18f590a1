"""Our own recipe: nets of different kinds, averaged with weights.

Whole-film nets of two or three backbones and the cascade of Li 2023 err in
different ways, and their weighted mean can err less than the best of them:
docs/results.md says where it does, and by how much. Weights are fitted on
validation films, or with --config.data.folds=5 on the films out of fold.

Stages
  prepare     archive (or phantoms) to array_record
  upright     a small net that turns back films on their side or upside down
  inception   Inception-V3 on the whole film
  second      another backbone on the whole film
  again       of thumbnails, in the place of the second: the first goes on; of
              half-size films instead of `robust`, if asked for
  larger      of thumbnails: it goes on once more, on larger inputs
  robust      of the variants: it goes on with films most of which are disturbed
  plain       of thumbnails and half-size films: a small net from random
              weights, to compare with
  localizer, regions, assessor   the cascade, configs/cascade.py
  ensemble    their weighted mean
  report      errors with intervals, pictures

  python -m boneage_jax.main --config=configs/best.py:phantom
  python -m boneage_jax.main --config=configs/best.py:thumbnails \
    --config.manual_dir=DIR \
    --config.inception.pretrained.backbone.path=INCEPTION_V3

Variants, with the test MAE in months that runs of ours reached (docs/results.md
has the commands, intervals and hardware)
  thumbnails  100 px films, one net that goes on three times: 8.43, and before
              the last, which makes it stand disturbed films, 8.37. An ensemble
              of them gains nothing. Small nets from random weights: 13.8
  half        half-size films, two whole-film nets and the cascade, all of them
              Inception-V3: 7.25, and 7.78 of the larger net before it goes on
  phantom     synthetic films and small nets, for an hour on two cores: 3.17
  full        all films, two backbones and the cascade, five folds in bfloat16.
              Not run yet: it is for accelerators

On 8 GPUs, or on a TPU v5e-8 with boneage_jax/launch. Without ImageNet weights
every net starts from random ones, and nothing costs more:

  python -m boneage_jax.main --config=configs/best.py:full \
    --config.manual_dir=DIR \
    --config.inception.pretrained.backbone.path=INCEPTION_V3 \
    --config.second.pretrained.backbone.path=CONVNEXT_TINY \
    --config.localizer.pretrained.backbone.path=INCEPTION_V3 \
    --config.assessor.pretrained.carpal.path=XCEPTION \
    --config.assessor.pretrained.metacarpal.path=RESNET50
"""

from ml_collections import ConfigDict

from configs import cascade
from configs import common


def get_config(variant: str = '') -> ConfigDict:
  """The recipe for the archive at full size, or a variant."""
  config = cascade.get_config()
  config.update(dict(name='best', variant=variant))
  config.data.crop_borders = True
  light = dict(
    **common.light_augmentation(),
    percentiles=(1.0, 99.0),
    # what films meet in clinics; evaluate stress shows the effect
    corruption_prob=0.3,
  )
  light['orientation_from'] = 'upright'
  shared = dict(
    pretrained=dict(backbone=common.weights()),
    loss=dict(name='label_distribution', delta=5.0, kl_weight=1.0),
    tta=dict(rotate=(-5.0, 0.0, 5.0), flip=True),
  )
  config.inception = common.train_stage(
    input=common.image_input(builder_config='px768', size=512, **light),
    net=common.age_net(),
    optimizer=common.fast_optimizer(learning_rate=4e-4),
    **shared,
  )
  config.second = common.train_stage(
    seed=1,
    input=common.image_input(
      builder_config='px768', size=512, resize='letterbox', **light
    ),
    net=common.age_net(backbone=dict(name='convnext', variant='tiny')),
    optimizer=common.fast_optimizer(learning_rate=2e-4),
    **shared,
  )
  config.localizer.seed, config.assessor.seed = 2, 3  # second has 1
  config.localizer.input.orientation_from = 'upright'
  config.ensemble = dict(
    job='ensemble',
    members=('inception', 'second', 'assessor'),
    weights='mae',  # fitted on validation; or 'mse', or 'mean', which is not
  )
  config.stages = (
    *('prepare', 'upright', 'inception', 'second'),
    *('localizer', 'regions', 'assessor', 'ensemble', 'report'),
  )
  config.report = dict(
    job='report',
    stage='ensemble',
    regions_from='regions',
    baselines=('inception', 'second', 'assessor'),
  )
  return common.choose(
    config,
    dict(full=full, phantom=phantom, half=half, thumbnails=thumbnails),
  )


def full(config: ConfigDict) -> None:
  """The whole archive on accelerators: five folds in bfloat16."""
  config.data.folds = 5
  for name in ('inception', 'second', 'localizer', 'assessor'):
    config[name].net.dtype = 'bfloat16'
    config[name].batch_size = 64
    config[name].checkpoint_selection = 'last'


def phantom(config: ConfigDict) -> None:
  """Synthetic films and small nets, for an hour on two cores."""
  config.phantom.films = 1600
  config.data.update(dict(validation_fraction=0.08, test_fraction=0.15))
  cascade.small_nets(config)
  for stage in (config.inception, config.second):
    stage.update(dict(batch_size=16, epochs=16, ema=0.98))
    stage.input.update(dict(builder_config='original', size=128))
    stage.net.update(dict(bn_momentum=0.9, pool='gmp'))
    stage.optimizer.learning_rate = 2e-3
  config.inception.input.update(dict(rotate=25.0, corruption_prob=0.5))
  config.inception.epochs = 60
  config.inception.net.backbone.update(dict(width=0.5, endpoint='mixed2'))
  go_on(config, 'robust', 'inception', dict(seed=4, epochs=150), size=128)
  config.robust.optimizer.learning_rate = 2e-3
  disturb(config.robust)
  config.robust.input.zoom = 0.1
  config.stages = (*config.stages[:3], 'robust', *config.stages[3:])
  members = ('robust', 'second', 'assessor')
  config.ensemble.members = members
  config.report.baselines = (*members, 'inception')
  config.second.net.backbone = small_resnet(0.25)


def half(config: ConfigDict) -> None:
  """Films at half size: a large whole film, the cascade and its localizer."""
  cascade.half(config)
  add_plain(config, dict(size=224, rotate=10.0))
  config.plain.update(dict(batch_size=16, epochs=20))
  config.inception.input.update(
    dict(builder_config='original', size=320, resize='letterbox', rotate=10.0)
  )
  config.inception.input.corruption_prob = 0.0  # few steps
  config.inception.net = config.localizer.net.copy_and_resolve_references()
  config.inception.optimizer.freeze = config.localizer.optimizer.freeze
  config.inception.update(dict(batch_size=16, eval_batch_size=16, epochs=8))
  go_on(config, 'again', 'inception', dict(seed=4), size=320)
  go_on(config, 'robust', 'inception', dict(seed=4), size=320)
  disturb(config.robust)
  config.robust.input.rotate = 30.0
  for stage in (config.localizer, config.assessor):
    stage.tta.update(config.inception.tta)
  del config.second
  config.stages = (
    *('prepare', 'upright', 'plain', 'inception', 'robust'),
    *('localizer', 'regions', 'assessor', 'ensemble', 'report'),
  )
  members = ('robust', 'localizer', 'assessor')
  config.ensemble.members = members
  config.report.baselines = (*members, 'inception', 'plain')


def thumbnails(config: ConfigDict) -> None:
  """Films squashed to 100 px: no regions, which have no more detail there."""
  config.data.update(dict(validation_fraction=0.05, test_fraction=0.15))
  config.data.crop_borders = (
    False  # its effect on them is not told apart from 0
  )
  config.upright.input.builder_config = 'original'
  config.inception.input.update(
    # Not 100, as the films: those in step would be sharper than turned ones.
    dict(
      builder_config='original', resize='squash', size=124, corruption_prob=0.0
    )
  )
  config.inception.net.update(dict(bn_momentum=0.95, pool='gap'))
  config.inception.net.backbone.endpoint = 'mixed7'
  config.inception.update(dict(seed=2, epochs=10))
  go_on(config, 'again', 'inception', dict(seed=3, epochs=5), size=124)
  go_on(config, 'larger', 'again', dict(seed=4, epochs=6), size=140)
  go_on(config, 'robust', 'larger', dict(seed=5, epochs=3), size=140)
  disturb(config.robust)
  add_plain(config, dict(size=108))
  config.plain.epochs = 12
  for name in ('second', 'localizer', 'regions', 'assessor', 'ensemble'):
    del config[name]
  nets = ('inception', 'again', 'larger', 'robust')
  config.stages = ('prepare', 'upright', 'plain', *nets, 'report')
  config.report.update(
    dict(stage='robust', regions_from='', baselines=(*nets[:-1], 'plain'))
  )


def go_on(
  config: ConfigDict, name: str, before: str, changes: dict, size: int
) -> None:
  """Let the net of a stage go on, in a new film order and at a low rate."""
  config[name] = ConfigDict(config[before].to_dict())
  config[name].update(changes)
  config[name].init_from.run = f':{before}'
  config[name].input.size = size
  config[name].optimizer.learning_rate = 2e-4


def disturb(stage: ConfigDict) -> None:
  """Show most films as clinics may send them; the last step's net is kept."""
  stage.input.update(dict(rotate=25.0, corruption_prob=0.8))
  stage.checkpoint_selection = 'last'  # validation films are as they are


def add_plain(config: ConfigDict, changes: dict) -> None:
  """A net to compare with: a small ResNet18 from random weights."""
  config.plain = ConfigDict(config.inception.to_dict())
  config.plain.seed = 1
  config.plain.input.update(
    dict(
      builder_config='original', resize='squash', corruption_prob=0.0, **changes
    )
  )
  config.plain.net.update(dict(bn_momentum=0.9, pool='gap'))
  config.plain.net.backbone = small_resnet(0.5)
  config.plain.optimizer.learning_rate = 2e-3


def small_resnet(width: float) -> ConfigDict:
  """ResNet18, for nets that start from random weights."""
  return ConfigDict(dict(name='resnet', depth=18, width=width, variant='v1.5'))
