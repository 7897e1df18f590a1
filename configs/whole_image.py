"""The baseline: one net on the whole film, without regions. No paper; ours.

Stages
  prepare      archive (or phantoms) to array_record
  whole_image  Inception-V3 with the sex, 240 bins; of thumbnails a ResNet18
  report       errors with intervals

  python -m boneage_jax.main --config=configs/whole_image.py:phantom
  python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
    --config.manual_dir=DIR
  python -m boneage_jax.main --config=configs/whole_image.py:half \
    --config.manual_dir=DIR \
    --config.whole_image.pretrained.backbone.path=INCEPTION_V3

Presets: phantom, thumbnails (100 px films), half (half-size films); without
one, an archive at full size. There are no variants. docs/results.md has the
figures that runs of ours reached.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system
from configs import transfer


def get_config(variant: str = '') -> ConfigDict:
  """The baseline, or one of its presets."""
  config = system.base('whole_image', variant)
  config.stages = ('prepare', 'whole_image', 'report')
  config.whole_image = common.train_stage(
    input=common.image_input(
      builder_config='px768',
      size=512,  # ours
      **common.light_augmentation(),
    ),
    net=common.age_net(),
    pretrained=dict(backbone=common.weights()),
    loss=common.label_distribution(delta=5.0, kl_weight=1.0),  # ours
    optimizer=common.fast_optimizer(learning_rate=4e-4),  # ours
  )
  config.report = common.report_stage(stage='whole_image')
  return presets.apply(config, VARIANTS, PRESETS)


def phantom(config: ConfigDict) -> None:
  """A net of half the width from random weights; minutes on two cores."""
  presets.phantom(config)
  presets.short_training(config.whole_image)
  config.whole_image.epochs = 16  # ours, as the rest of it
  config.whole_image.input.size = 128
  config.whole_image.net.pool = 'gmp'
  config.whole_image.net.backbone.update(width=0.5, endpoint='mixed2')


def thumbnails(config: ConfigDict) -> None:
  """A residual net from random weights; its stem halves a film once only."""
  presets.thumbnails(config)
  stage = config.whole_image
  stage.update(epochs=22, batch_size=64)  # ours, as the rest of it
  stage.input.update(size=100, percentiles=(1.0, 99.5))
  stage.input.update(rotate=15.0, zoom=0.15, shift=0.05, flip=False)
  stage.input.update(brightness=0.1, contrast=0.2, gamma=0.0)
  stage.net.update(output='standardized', joint_features=256, dropout=0.2)
  stage.net.bn_momentum = 0.9
  stage.net.backbone = ConfigDict(
    dict(name='resnet', depth=18, width=0.5, variant='v1.5', in_channels=1)
  )
  stage.net.backbone.update(stem_kernel=5, stem_pool=False)
  stage.loss = ConfigDict(dict(name='mae', unit=transfer.SD_AGE))
  stage.optimizer.update(learning_rate=2e-3, grad_clip_norm=0.0)


def thumbnails_inception(config: ConfigDict) -> None:
  """Inception-V3 of two fifths of the width; other systems compare with it."""
  presets.thumbnails(config)
  config.whole_image.update(epochs=36, ema=0.99)  # ours, as the rest of it
  config.whole_image.input.size = 100
  config.whole_image.net.update(bn_momentum=0.95, pool='gmp')
  config.whole_image.net.backbone.update(width=0.4, endpoint='mixed7')
  config.whole_image.optimizer.learning_rate = 2e-3


def half(config: ConfigDict) -> None:
  """A net up to mixed7 that goes on from ImageNet weights."""
  presets.half(config)
  presets.half_training(config.whole_image)
  config.whole_image.input.update(size=320, resize='letterbox')  # ours
  config.whole_image.net.pool = 'gmp'  # ours


VARIANTS = dict()
PRESETS = dict(phantom=phantom, thumbnails=thumbnails, half=half)
