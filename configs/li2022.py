"""Li 2022: regions that no box teaches, MobileNetV3 and sex, a small head.

Stages
  prepare         archive (or phantoms) to array_record
  hand_localizer  Inception-V3 on the whole film, as r1_localizer
  hand            its map: the box of the hand
  r1_localizer    not at half size: there hand_localizer finds both
  r1              its map: the carpal region; both are cut from the film
  assessor        MobileNetV3-Large on the regions as channels, with sex
  report          errors with intervals, beside what papers quote

  python -m boneage_jax.main --config=configs/li2022.py:phantom
  python -m boneage_jax.main --config=configs/li2022.py:half \
    --config.manual_dir=DIR --config.weights.localizers=INCEPTION_V3 \
    --config.weights.assessors=MOBILENET_V3

Ours: the localizers of attention_ldl.py in the place of the paper's, and no
further processing of pictures. Where no region is found, the film itself takes
its place. What the paper says of its training could not be read.

Presets: phantom (minutes on two cores), half (half-size films); without one,
the archive at full size. There are no variants.
"""

from ml_collections import ConfigDict

from configs import attention_ldl
from configs import common
from configs import presets
from configs import system

# MAE in months, of which films, who says so.
PUBLISHED = (
  (6.2, 'RSNA', 'Li 2022, abstract'),
  (5.1, 'another set', 'Li 2022, abstract'),
)
REGIONS = ('hand', 'r1')  # ours


def get_config(variant: str = '') -> ConfigDict:
  """Li 2022, or a preset of it."""
  config = system.base('li2022', variant)
  _, preset = presets.parse(config, VARIANTS, PRESETS)
  parts = attention_ldl.paper()
  parts.assessor = assessor()
  if preset:
    PRESETS[preset](config, parts)
  config.weights = dict(localizers='', assessors='')
  last = attention_ldl.find(config, parts, list(REGIONS))
  config.assessor = parts.assessor
  config.assessor.input.update(crops_from=last, regions=REGIONS)
  path = config.weights.get_ref('assessors')
  config.assessor.pretrained.backbone.path = path
  config.report = common.report_stage(
    stage='assessor',
    regions_from=last,
    paper='Li 2022',
    published=(('assessor', 'MobileNetV3 on two regions', PUBLISHED),),
  )
  config.stages = (*config.stages, 'assessor', 'report')
  return presets.lock(config)


def assessor() -> ConfigDict:
  """The net that sees the regions."""
  return ConfigDict(
    common.train_stage(
      input=common.image_input(builder_config='', size=560),
      net=common.age_net(
        name='region_channels',
        # Paper.
        backbone=dict(name='mobilenet_v3', width=1.0, endpoint='top'),
        pool='gap_map',  # of one place
        fc_layers=1,  # paper: one hidden layer; ours: sex comes behind it
        hidden=256,
        output='standardized',
        sex_features=32,  # paper: sex is embedded; ours: in how many numbers
      ),
      pretrained=dict(backbone=common.weights()),  # paper
      loss=dict(name='mae'),
      optimizer=common.optimizer(
        learning_rate=3e-4, schedule='cosine', warmup=0.05
      ),
      batch_size=16,
      epochs=60,
    )
  )


def phantom(config: ConfigDict, parts: ConfigDict) -> None:
  """As attention_ldl.py, with the net of half the width; all ours."""
  attention_ldl.phantom(config, parts)
  keep(parts, width=0.5)


def half(config: ConfigDict, parts: ConfigDict) -> None:
  """As attention_ldl.py, with the net of the full width; all ours."""
  attention_ldl.half(config, parts)
  keep(parts, width=1.0)


def keep(parts: ConfigDict, width: float) -> None:
  """Keep this net where the presets of attention_ldl.py name others."""
  net = assessor().net
  net.backbone.width = width
  net.bn_momentum = 0.9
  parts.assessor.net = net
  parts.assessor.optimizer.freeze = ''


VARIANTS = dict()
PRESETS = dict(phantom=phantom, half=half)
