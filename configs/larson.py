"""Larson 2017: one residual net on whole films, 240 classes of one month.

Stages
  prepare   archive (or phantoms) to array_record
  assessor  ResNet-50 on the whole film
  report    errors with intervals, beside what papers quote

  python -m boneage_jax.main --config=configs/larson.py:phantom
  python -m boneage_jax.main --config=configs/larson.py:half \
    --config.manual_dir=DIR

Presets: phantom (minutes on two cores), half (half-size films); without one,
the archive at full size. There are no variants. Li 2023 names the net and the
films, and no more: the rest is ours.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system

# MAE in months, of which films, who says so. Years in the original.
PUBLISHED = (
  (6.24, 'not said', 'Li 2023, Table 1'),
  (6.0, '200 test films', 'Larson 2017: 0.50 years; quoted from memory'),
)


def get_config(variant: str = '') -> ConfigDict:
  """Larson 2017, or a preset of it."""
  config = system.base('larson', variant)
  config.stages = ('prepare', 'assessor', 'report')
  config.assessor = common.train_stage(
    input=common.image_input(
      builder_config='px512',
      size=256,  # ours
      resize='letterbox',  # ours
      **common.light_augmentation(),  # ours
    ),
    net=common.age_net(
      backbone=dict(name='resnet', depth=50, width=1.0),  # paper, by Li 2023
      pool='gap',  # of ResNet's own paper
      output='bins',  # 240 classes
      readout='expectation',  # ours
      sex_features=32,  # ours
    ),
    pretrained=dict(backbone=common.weights()),  # ours: ImageNet
    # Ours: near a class a month, but neighbours are less wrong than others.
    loss=common.label_distribution(delta=2.0, kl_weight=1.0),
    optimizer=common.optimizer(
      name='adam', learning_rate=3e-4, schedule='cosine', warmup=0.05
    ),
    batch_size=32,  # ours
    epochs=50,  # ours
  )
  config.report = common.report_stage(
    stage='assessor',
    paper='Larson 2017',
    published=(('assessor', 'ResNet-50', PUBLISHED),),
  )
  return presets.apply(config, VARIANTS, PRESETS)


def phantom(config: ConfigDict) -> None:
  """A net of a quarter of the width from random weights; all ours."""
  presets.phantom(config)
  presets.short_training(config.assessor)
  config.assessor.epochs = 10
  config.assessor.input.size = 128
  config.assessor.net.backbone.update(width=0.25, endpoint='stage3')


def half(config: ConfigDict) -> None:
  """A net of half the width, as we have no weights of ResNet-50; all ours."""
  presets.half(config)
  presets.short_training(config.assessor)
  config.assessor.epochs = 20
  config.assessor.input.update(size=224, rotate=10.0)
  config.assessor.net.backbone.width = 0.5


VARIANTS = dict()
PRESETS = dict(phantom=phantom, half=half)
