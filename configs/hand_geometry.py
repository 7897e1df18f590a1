"""Iglovikov 2017: where the hand lies. Key points of whole films.

Stages
  prepare    archive (or phantoms) to array_record
  keypoints  a small VGG net: tip of the middle finger, capitate, tip of the
             thumb

  python -m boneage_jax.main --config=configs/hand_geometry.py:phantom
  python -m boneage_jax.main --config=configs/hand_geometry.py:thumbnails \
    --config.manual_dir=DIR

The archive needs annotations/, see docs/reference/data.md: a stage trains on
the films that are annotated.

Presets: phantom (minutes on two cores), thumbnails (100 px films); without one,
the archive at full size. There are no variants.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets

# Tips of the middle finger and the thumb, and the capitate: paper.
POINTS = ('middle_finger4', 'capitate', 'thumb4')


def get_config(variant: str = '') -> ConfigDict:
  """The nets that say where a hand lies, or a preset of them."""
  config = common.base('hand_geometry', variant)
  config.stages = ('prepare', 'keypoints')
  config.keypoints = keypoints_stage()
  return presets.apply(config, VARIANTS, PRESETS)


def keypoints_stage() -> dict:
  """The net of key points, as the paper has it where it could be read."""
  return common.train_stage(
    task='keypoints',
    input=common.image_input(
      builder_config='px512',
      size=(130, 100),  # paper
      resize='letterbox',  # paper: films are padded with zeros
      points=POINTS,
      percentiles=(1.0, 99.0),  # ours
      # Paper: rotation, shift and zoom; ours: the ranges.
      rotate=15.0,
      shift=0.08,
      zoom=0.15,
      brightness=0.1,  # ours
      contrast=0.1,  # ours
      gamma=0.1,  # ours
    ),
    net=dict(
      name='keypoint_net',
      points=len(POINTS),
      width=1.0,  # ours
      features=512,  # ours
      dropout=0.0,  # ours
      bn_momentum=0.9,  # ours
      dtype='float32',
    ),
    loss=dict(name='keypoints'),  # paper
    optimizer=common.optimizer(
      name='adam',  # paper
      learning_rate=1e-3,  # ours
      schedule='cosine',  # ours
      warmup=0.05,  # ours
    ),
    batch_size=32,  # ours
    ema=0.99,  # ours
    epochs=100,  # ours
  )


def phantom(config: ConfigDict) -> None:
  """A net of half the width on films of half the side; ours."""
  presets.phantom(config)
  config.keypoints.update(batch_size=16, epochs=20, ema=0.98)
  # Phantoms are turned and placed at random by themselves.
  config.keypoints.input.update(rotate=7.0, shift=0.04, zoom=0.08)
  config.keypoints.optimizer.learning_rate = 2e-3
  config.keypoints.input.size = (65, 50)
  config.keypoints.net.update(width=0.5, features=128)


def thumbnails(config: ConfigDict) -> None:
  """A net of half the width; films were squashed to squares before; ours."""
  presets.thumbnails(config)
  config.keypoints.update(batch_size=16, epochs=100)
  config.keypoints.input.resize = 'squash'
  config.keypoints.net.width = 0.5


VARIANTS = dict()
PRESETS = dict(phantom=phantom, thumbnails=thumbnails)
