"""Ren 2018: the hand is cut from the film, then Inception-V3 tells the age.

Stages
  prepare         archive (or phantoms) to array_record
  hand_localizer  Inception-V3 on the whole film, 240 soft labels
  hand            its map: the box of the hand; the crop is cut from the film
  assessor        Inception-V3 on the hand
  report          errors with intervals, beside what papers quote

  python -m boneage_jax.main --config=configs/ren.py:phantom
  python -m boneage_jax.main --config=configs/ren.py:half \
    --config.manual_dir=DIR \
    --config.hand_localizer.pretrained.backbone.path=INCEPTION_V3 \
    --config.assessor.pretrained.backbone.path=INCEPTION_V3

Ours: the localizer of attention_ldl.py, which no boxes teach, in the place of a
Faster R-CNN that learned from 1,000 drawn boxes; and no maps of attention in
the assessor. What the paper says of its training could not be read: the rest is
ours, too.

Presets: phantom (minutes on two cores), half (half-size films); without one,
the archive at full size. There are no variants.
"""

from ml_collections import ConfigDict

from configs import attention_ldl
from configs import common
from configs import presets
from configs import system

# MAE in months, of which films, who says so.
PUBLISHED = ((5.2, 'not said', 'Li 2023, Table 1'),)


def get_config(variant: str = '') -> ConfigDict:
  """Ren 2018, or a preset of it."""
  config = system.base('ren', variant)
  _, preset = presets.parse(config, VARIANTS, PRESETS)
  parts = attention_ldl.paper()
  parts.assessor = assessor()
  if preset:
    PRESETS[preset](config, parts)
  config.stages = ('prepare', 'hand_localizer', 'hand', 'assessor', 'report')
  config.hand_localizer = parts.hand_localizer
  config.hand = parts.hand
  config.hand.crops = ('hand',)
  config.assessor = parts.assessor
  config.report = common.report_stage(
    stage='assessor',
    regions_from='hand',
    paper='Ren 2018',
    published=(('assessor', 'Inception-V3 on the hand', PUBLISHED),),
  )
  return presets.lock(config)


def assessor() -> ConfigDict:
  """The net that sees the hand."""
  return ConfigDict(
    common.train_stage(
      input=common.image_input(
        builder_config='', crops_from='hand', regions=('hand',), size=560
      ),
      net=common.age_net(
        name='region_channels',  # of one region
        # Paper.
        backbone=dict(name='inception_v3', width=1.0, endpoint='mixed10'),
        output='standardized',  # paper: a regression; ours: its unit
      ),
      pretrained=dict(backbone=common.weights()),
      loss=dict(name='mae'),
      optimizer=common.optimizer(
        learning_rate=3e-4, schedule='cosine', warmup=0.05
      ),
      batch_size=16,
      epochs=60,
    )
  )


VARIANTS = dict()
PRESETS = dict(phantom=attention_ldl.phantom, half=attention_ldl.half)
