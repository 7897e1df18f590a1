"""Iglovikov 2017: hands on one canvas, and the regions that are cut from it.

Stages
  prepare    archive (or phantoms) to array_record
  segmenter, mine, keypoints  as in hand_geometry.py
  register   every film by its key points, or else by its mask, to one place,
             size and turn; hand, carpal and metacarpal region, black outside of
             the mask

  python -m boneage_jax.main --config=configs/registration.py:phantom
  python -m boneage_jax.main --config=configs/registration.py:thumbnails \
    --config.manual_dir=DIR

The archive needs annotations/, as for hand_geometry.py.

Presets: phantom (minutes on two cores), thumbnails (100 px films); without one,
the archive at full size. There are no variants.
"""

from ml_collections import ConfigDict

from configs import common
from configs import hand_geometry
from configs import presets

# Names in imaging/registration.py, and the paper's A, B and C.
REGIONS = ('hand', 'carpal', 'metacarpal')


def get_config(variant: str = '') -> ConfigDict:
  """The nets of hand_geometry.py and what they cut, or a preset of it."""
  config = common.base('registration', variant)
  config.stages = ('prepare', 'segmenter', 'mine', 'keypoints', 'register')
  hand_geometry.add_stages(config)
  config.register = register_stage()
  return presets.apply(config, VARIANTS, PRESETS)


def register_stage() -> dict:
  """The stage that registers films and cuts their regions."""
  return dict(
    job='register',
    keypoints='keypoints',  # the stage whose net says where points are
    masks_from='mine',  # or '', without masks
    input=dict(builder_config='original'),  # crops are cut from these films
    background='black',  # paper; or 'keep', what lies outside of the mask
    regions=REGIONS,
    # Height and width at the net, one of each region. Hand: paper, as the next
    # two regions themselves; ours: half their pixels.
    crop_size=((500, 375), (375, 375), (300, 700)),
    crop_margin=0.1,  # ours; kept for augmentation, share of the sides
    batch_size=16,
  )


def phantom(config: ConfigDict) -> None:
  """The nets of that preset and crops of their detail; ours."""
  hand_geometry.phantom(config)
  config.register.crop_size = SMALL


def thumbnails(config: ConfigDict) -> None:
  """The nets of that preset and crops of their detail; ours."""
  hand_geometry.thumbnails(config)
  config.register.crop_size = SMALL


# About 1 / 11 to 1 / 4.5 of the canvas; m46 needs sides of 127 pixels; ours.
SMALL = ((176, 132), (132, 132), (132, 308))
VARIANTS = dict()
PRESETS = dict(phantom=phantom, thumbnails=thumbnails)
