"""Iglovikov et al. 2017: where the hand lies on its film.

Stages
  prepare    archive (or phantoms) to array_record
  segmenter  U-Net on whole films: the mask of the hand

  python -m boneage_jax.main --config=configs/hand_geometry.py:phantom
  python -m boneage_jax.main --config=configs/hand_geometry.py:thumbnails \
    --config.manual_dir=DIR

The archive holds `annotations/hand_polygons.json` for some of its films, see
docs/reference/data.md; the net is trained and judged on these. Presets: phantom
(minutes on two cores), thumbnails (100 px films); without one, the archive at
full size. There are no variants.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets


def get_config(variant: str = '') -> ConfigDict:
  """The segmenter, or a preset of it."""
  config = common.base('hand_geometry', variant)
  config.stages = ('prepare', 'segmenter')
  config.segmenter = segmenter_stage()
  return presets.apply(config, VARIANTS, PRESETS)


def segmenter_stage() -> dict:
  """A U-Net that outlines the hand."""
  return common.train_stage(
    task='segmentation',
    input=common.image_input(
      builder_config='px768',
      size=512,  # ours
      resize='letterbox',  # ours
      percentiles=(1.0, 99.0),  # ours
      masks=('hand_polygons',),  # paper
      # Ours, all of it; the paper names no range.
      **common.light_augmentation() | dict(rotate=20.0, zoom=0.1, shift=0.05),
    ),
    net=dict(
      name='unet',  # paper, with batch norm
      width=1.0,  # ours: 32 to 512 channels
      bn_momentum=0.0,  # the net's own, 0.9
      dtype='float32',
    ),
    loss=dict(name='segmentation'),  # paper; ours: J of whole masks
    optimizer=common.optimizer(name='adam', learning_rate=1e-4),  # ours
    batch_size=8,  # ours
    eval_batch_size=8,
    epochs=0,
    steps=4000,  # ours: few films are outlined, and epochs of them are short
    eval_steps=400,
  )


def mine_stage(segmenter: dict) -> dict:
  """The segmenter goes on, with its own good masks of other films."""
  fields = dict(
    rounds=6,  # paper
    steps_per_round=1000,
    corrected='',  # folder of masks that people corrected, <id>.png
    accept=dict(  # see imaging/mask_quality.py; all ours
      area_factors=(0.8, 1.25),  # of the least and the largest labelled mask
      component=0.97,  # share of the area that one part holds, at least
      mirror_iou=0.9,  # with the mask of the mirrored film, at least
      percentile=95.0,  # of the undecided width of labelled validation films
    ),
  )
  return {
    **segmenter,
    **fields,
    'job': 'mine',
    'epochs': 0,
    'steps': fields['steps_per_round'],
    'init_from': {**segmenter['init_from'], 'run': ':segmenter'},
  }


def phantom(config: ConfigDict) -> None:
  """A quarter of the width at 112 pixels; minutes on two cores."""
  presets.phantom(config)
  small_net(config.segmenter)
  config.segmenter.update(steps=400, eval_steps=100)  # ours


def thumbnails(config: ConfigDict) -> None:
  """The same small net, longer: few thumbnails are outlined."""
  presets.thumbnails(config)
  small_net(config.segmenter)
  config.segmenter.update(steps=1500, eval_steps=150)  # ours


def small_net(stage: ConfigDict) -> None:
  """Let a narrow net learn from small films in few steps; ours."""
  stage.input.update(size=112, resize='squash')
  stage.net.width = 0.25
  stage.ema = 0.98
  stage.optimizer = ConfigDict(common.fast_optimizer(learning_rate=4e-3))


VARIANTS = dict()
PRESETS = dict(phantom=phantom, thumbnails=thumbnails)
