"""Ebner 2014: landmarks of the hand by regression forests.

Stages
  prepare   archive (or phantoms) to array_record
  forest    8 trees, fitted on the marked films of the training split, find the
            landmarks of those that are held out
With the variant age
  patches   squares about landmarks, cut from all films
  assessor  one net on these patches, stacked as channels, that tells ages; ours
  report    errors with intervals, pictures
Not run unless --config.stages names it
  rounds    20 times anew, 43 films train and 17 judge (Chirawu 2022): it only
            measures, with weighted votes and without, after either pass

  python -m boneage_jax.main --config=configs/forest.py:phantom
  python -m boneage_jax.main --config=configs/forest.py:ossification,phantom
  python -m boneage_jax.main --config=configs/forest.py:age,phantom
  python -m boneage_jax.main --config=configs/forest.py:thumbnails \
    --config.manual_dir=DIR --config.stages=prepare,rounds

Variants: ossification (17 middles of boxes about joints, among them radius and
ulna, in the place of 21 key points), age (ages by patches at landmarks).
Presets: phantom, thumbnails (100 px films); without one, the archive at full
size. The archive needs annotations/, see docs/reference/data.md.

Ebner 2014 could not be read in full: `# paper` are the numbers that Chirawu
2022 quotes of it.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system

# About these the patches are cut; ours: wrist, knuckles, joints of a finger.
PATCHES = {
  'keypoints': (
    *('wrist', 'thumb2', 'middle_finger1'),
    *('middle_finger2', 'middle_finger3', 'pinky_finger2'),
  ),
  'ossification': (
    *('Wrist', 'Radius', 'middle_finger_MCP'),
    *('middle_finger_PIP', 'middle_finger_DIP', 'pinky_finger_PIP'),
  ),
}


def get_config(variant: str = '') -> ConfigDict:
  """The forest, and what its variants add; or a preset of them."""
  config = system.base('forest', variant)
  config.forest = ConfigDict(forest_stage())
  config.rounds = ConfigDict(rounds_stage())
  config.stages = ('prepare', 'forest')
  return presets.apply(config, VARIANTS, PRESETS)


def forest_stage() -> dict:
  """A forest that finds landmarks."""
  return dict(
    job='fit_forest',
    seed=0,  # beside that of the config
    landmarks='keypoints',  # 21 points; or 'ossification', 17 boxes' middles
    input=dict(
      builder_config='px512',
      orientation_from='',  # or the stage whose net turns films upright first
      size=200,  # pixels, the side of a square; ours
      resize='letterbox',  # ours; or 'squash'
      polarity='keep',  # or 'invert', for MONOCHROME1 archives
      percentiles=(1.0, 99.0),  # ours
    ),
    trees=8,  # paper
    depth=14,  # paper
    candidates=100,  # paper: features drawn at a node
    thresholds=10,  # paper: drawn for each of them
    features=1000,  # of a tree, which its nodes draw from; ours
    pixels_per_film=500,  # drawn for each tree of all landmarks; ours
    pixels_per_landmark=40,  # of a film, for each tree of one landmark; ours
    reach=0.3,  # of the offsets of boxes, +- share of the input's side; ours
    least_pixels=10,  # of a leaf; ours
    split_pixels=1000,  # at most, by which a node chooses its split; ours
    votes=dict(
      # Paper: votes over a long way count less, exp(-r / sigma); or 'none'.
      weighting='distance',
      sigma=0.1,  # share of the mean length of a hand; ours
      smooth=0.015,  # of the maps of votes, share of that length; ours
      passes=3,  # paper: global, then about the estimate; ours: that twice
      near=0.3,  # half the side of that square, share of that length; ours
      step=3,  # every third row and column of pixels votes at first; ours
    ),
  )


def rounds_stage() -> dict:
  """Rounds that measure such forests."""
  return {
    **forest_stage(),
    'job': 'forest_rounds',
    'rounds': 20,  # ours: Chirawu 2022 does not give the number
    'train_films': 43,  # Chirawu 2022
    'test_films': 17,  # Chirawu 2022
  }


def ossification(config: ConfigDict) -> None:
  """Find the middles of boxes about joints, radius, ulna and wrist."""
  for name in ('forest', 'rounds'):
    config[name].landmarks = 'ossification'


def age(config: ConfigDict) -> None:
  """Tell ages by patches at landmarks; all ours."""
  names = PATCHES[config.forest.landmarks]
  config.patches = ConfigDict(
    dict(
      job='patches',
      forest='forest',  # the stage whose forest finds landmarks
      input=dict(builder_config='original'),  # patches are cut from these films
      regions=names,
      patch=0.25,  # side, share of the hand's length
      crop_size=128,
      crop_margin=0.1,
    )
  )
  config.assessor = ConfigDict(
    common.train_stage(
      input=common.image_input(
        builder_config='',
        crops_from='patches',
        regions=names,
        size=128,
        crop_margin=0.1,
        percentiles=(1.0, 99.0),
        rotate=7.0,
        zoom=0.05,
        shift=0.03,
        brightness=0.1,
        contrast=0.1,
        gamma=0.1,
      ),
      net=common.age_net(
        name='region_channels',
        backbone=dict(
          name='inception_v3',
          width=1.0,
          endpoint='mixed7',
          in_channels=len(names),
        ),
        bn_momentum=0.9,
      ),
    )
  )
  config.report = ConfigDict(
    common.report_stage(stage='assessor', regions_from='patches')
  )
  config.stages = ('prepare', 'forest', 'patches', 'assessor', 'report')


def phantom(config: ConfigDict) -> None:
  """A forest on small phantoms; all ours."""
  presets.phantom(config)
  small(config)


def thumbnails(config: ConfigDict) -> None:
  """A forest on 100 px films as they were squashed; all ours."""
  presets.thumbnails(config)
  small(config)


def small(config: ConfigDict) -> None:
  """Forests and nets of films of 100 px; ours."""
  for name in ('forest', 'rounds'):
    config[name].input.update(
      builder_config='original', size=100, resize='squash'
    )
  # All marked phantoms would be 1,200 films.
  config.forest.update(pixels_per_film=50, pixels_per_landmark=4)
  if 'assessor' in config:
    config.patches.crop_size = config.assessor.input.size = 64
    presets.short_training(config.assessor)
    config.assessor.net.backbone.update(width=0.25, endpoint='mixed2')
    config.assessor.epochs = 6


VARIANTS = dict(ossification=ossification, age=age)
PRESETS = dict(phantom=phantom, thumbnails=thumbnails)
