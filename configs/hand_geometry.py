"""Iglovikov 2017: where the hand lies. Its mask and three key points.

Stages
  prepare    archive (or phantoms) to array_record
  segmenter  U-Net on the films that people outlined
  mine       it goes on with its own good masks of other films, round by round
  keypoints  a small VGG net, in presets a U-Net: tip of the middle finger,
             capitate, tip of the thumb
Not run unless --config.stages names it
  control    the segmenter goes on without other films, for as many steps

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
from configs import system

# Tips of the middle finger and the thumb, and the capitate: paper.
POINTS = ('middle_finger4', 'capitate', 'thumb4')


def get_config(variant: str = '') -> ConfigDict:
  """The nets that say where a hand lies, or a preset of them."""
  config = system.base('hand_geometry', variant)
  config.stages = ('prepare', 'segmenter', 'mine', 'keypoints')
  add_stages(config)
  return presets.apply(config, VARIANTS, PRESETS)


def add_stages(config: ConfigDict) -> None:
  """Describe the nets, and the control of mining."""
  config.segmenter = segmenter_stage()
  config.mine = mine_stage(config.segmenter.to_dict())
  config.control = control_stage(config)
  config.keypoints = keypoints_stage()


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
      # Ours, all of it; the paper names no range. The wide tones are for films
      # whose background is bright.
      **common.light_augmentation()
      | dict(rotate=20.0, zoom=0.1, shift=0.05)
      | dict(brightness=0.2, contrast=0.4, gamma=0.2),
    ),
    net=dict(
      name='unet',  # paper, with batch norm
      width=1.0,  # ours: 32 to 512 channels
      levels=5,  # of the U-Net's own paper
      bn_momentum=0.0,  # the net's own, 0.9
      dtype='float32',
      remat=False,
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
    # Ours. Masks of nets alone grow from round to round, by 1 to 2 % each on
    # phantoms.
    'input': {**segmenter['input'], 'drawn_share': 0.5},
    'init_from': {**segmenter['init_from'], 'run': ':segmenter'},
  }


def control_stage(config: ConfigDict) -> ConfigDict:
  """The segmenter goes on as long as `mine` does, on drawn masks alone."""
  return common.finetune(
    config.segmenter,
    run=':segmenter',
    learning_rate=config.mine.optimizer.learning_rate,
    steps=config.mine.rounds * config.mine.steps_per_round,
  )


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
      remat=False,
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
  """Narrow nets on small films; eight phantoms are outlined; all ours."""
  presets.phantom(config)
  small_unet(config.segmenter)
  config.segmenter.update(steps=400, eval_steps=100)
  config.segmenter.input.masks_count = 8
  short_mining(config, rounds=3, steps_per_round=100)
  point_unet(config.keypoints, size=(64, 48))
  # Phantoms are turned and placed at random by themselves.
  config.keypoints.input.update(rotate=7.0, shift=0.04, zoom=0.08)
  config.keypoints.epochs = 20


def thumbnails(config: ConfigDict) -> None:
  """Narrow nets for longer: few thumbnails are annotated; all ours."""
  presets.thumbnails(config)
  small_unet(config.segmenter)
  config.segmenter.update(steps=400, eval_steps=100)
  short_mining(config, rounds=6, steps_per_round=100)
  point_unet(config.keypoints, size=(64, 64))
  config.keypoints.input.resize = 'squash'  # as they were before
  config.keypoints.epochs = 40


def small_unet(stage: ConfigDict) -> None:
  """Let a narrow net learn from small films in few steps; ours."""
  stage.input.update(size=112, resize='squash')
  stage.net.width = 0.25
  stage.ema = 0.98
  stage.optimizer = ConfigDict(common.fast_optimizer(learning_rate=4e-3))


def point_unet(stage: ConfigDict, size: tuple[int, int]) -> None:
  """Let a narrow U-Net find points in few steps; ours.

  After 1,500 steps on phantoms its median error is 0.6 % of the hand; that of
  the paper's net at half width is 3.8 % (results/landmarks.csv).
  """
  stage.input.size = size
  stage.net = ConfigDict(
    dict(
      name='point_unet',
      points=len(POINTS),
      width=0.25,
      levels=4,
      bn_momentum=0.0,
      dtype='float32',
      remat=False,
    )
  )
  stage.update(batch_size=16, ema=0.98)
  stage.optimizer = ConfigDict(common.fast_optimizer(learning_rate=4e-3))


def short_mining(config: ConfigDict, rounds: int, steps_per_round: int) -> None:
  """Let mining follow the segmenter of a preset."""
  config.mine = mine_stage(config.segmenter.to_dict())
  config.mine.update(
    rounds=rounds, steps_per_round=steps_per_round, eval_steps=steps_per_round
  )
  config.mine.optimizer.learning_rate = 1e-3  # it goes on, it does not begin
  config.control = control_stage(config)


VARIANTS = dict()
PRESETS = dict(phantom=phantom, thumbnails=thumbnails)
