"""Pan 2020: features of several frozen nets, and regressors that join them.

Stages
  prepare    archive (or phantoms) to array_record
  active     masks of all films from few outlined ones, active_segmentation.py
  keypoints  three points of the hand, hand_geometry.py
  register   every film to one place, size and turn; black outside of the mask
  features_NET  what a net of photographs sees of the hand, computed once, for
             each of six nets
  regressors ridge regression, boosted trees and a random forest on all of that
             and the sex; their mean is the age
  report     errors with intervals, beside what papers quote

  python -m boneage_jax.main --config=configs/pan.py:phantom
  python -m boneage_jax.main --config=configs/pan.py --config.manual_dir=DIR \
    --config.features_NET.pretrained.backbone.path=FILE ...
  python -m boneage_jax.main --config=configs/pan.py:half \
    --config.manual_dir=DIR --config.geometry_run=RUN \
    --config.features_mixed4.pretrained.backbone.path=FILE \
    --config.features_mixed7.pretrained.backbone.path=FILE

The archive needs annotations/, as for hand_geometry.py; docs/how-to/transfer.md
names the file of weights of each net. Features without one are refused but with
--config.allow_random_features=True. Fitting, but not predicting, needs
pip install -e '.[landmarks]'.

Presets: phantom (three narrow nets of random weights; minutes on two cores),
half (half-size films; masks and points are those of the nets of RUN, see
zhao.py, and both sets of features are of Inception-V3, of which we have
weights); without one, the archive at full size. There are no variants.

Pan 2020 could not be read in full: that there are six nets of photographs and
ensembles of regressors is the paper's; which, and how, is ours.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system
from configs import transfer
from configs import zhao

# MAE in months, of which films, who says so.
PUBLISHED = (
  (8.59, 'RSNA', 'Li 2023, introduction'),
  (6.96, 'RSNA, of one sex', 'Pan 2020, abstract'),
  (7.35, 'RSNA, of the other', 'Pan 2020, abstract'),
)
# Paper: six; ours: these.
NETS = ('vgg16', 'inception_v3', 'resnet', 'xception')
NETS += ('mobilenet_v3', 'efficientnet')
BACKBONES = {name: transfer.BACKBONES[name] for name in NETS}
# Not its fully connected layers, which fit squares alone.
BACKBONES['vgg16'] = dict(name='vgg16', width=1.0, endpoint='block5')
SMALL = dict(
  inception_v3=dict(name='inception_v3', width=0.25, endpoint='mixed2'),
  resnet=dict(name='resnet', width=0.25, depth=18, endpoint='stage3'),
  mobilenet_v3=dict(name='mobilenet_v3', width=0.5, endpoint='top'),
)
OF_INCEPTION = {
  end: dict(name='inception_v3', width=1.0, endpoint=end)
  for end in ('mixed4', 'mixed7')
}


def get_config(variant: str = '') -> ConfigDict:
  """Pan 2020, or a preset of it."""
  config = system.base('pan', variant)
  config.allow_random_features = False
  zhao.add_hands(config)
  add_ages(config, BACKBONES, ('active', 'keypoints'), (400, 300))
  return presets.apply(config, VARIANTS, PRESETS)


def add_ages(
  config: ConfigDict,
  backbones: dict[str, dict],
  geometry: tuple[str, ...],
  size: tuple[int, int],
) -> None:
  """Describe the stages that tell ages; run all.

  Args:
    config: with the stage `register`.
    backbones: by what their stages are called.
    geometry: the stages between `prepare` and `register`.
    size: height and width of the hands that nets see.
  """
  for stage in [name for name in config if name.startswith('features_')]:
    del config[stage]
  names = tuple(f'features_{name}' for name in backbones)
  for stage, backbone in zip(names, backbones.values(), strict=True):
    config[stage] = ConfigDict(features_stage(backbone, size))
  config.regressors = ConfigDict(regressors_stage(names, size))
  config.report = ConfigDict(
    common.report_stage(
      stage='regressors',
      paper='Pan 2020',
      published=(('regressors', 'their mean', PUBLISHED),),
    )
  )
  config.stages = (
    *('prepare', *geometry, 'register'),
    *(*names, 'regressors', 'report'),
  )


def hand_input(size: tuple[int, int]) -> dict:
  """Hands as `register` brings them to one place."""
  return common.image_input(
    builder_config='',
    crops_from='register',
    regions=('hand',),
    size=size,
    crop_margin=0.1,  # of the stage that cuts the crops
    percentiles=(1.0, 99.0),
  )


def features_stage(backbone: dict, size: tuple[int, int]) -> dict:
  """What a frozen net sees, averaged over the hand."""
  return dict(
    job='features',
    seed=0,
    input=hand_input(size),
    net=common.age_net(
      name='region_channels',  # of one region
      backbone=backbone,
      pool='gap_map',  # over all of the hand
      output='standardized',
      sex_features=0,
    ),
    pretrained=dict(backbone=common.weights()),
    tta=dict(rotate=(0.0,), flip=False),
    eval_batch_size=16,
  )


def regressors_stage(features: tuple[str, ...], size: tuple[int, int]) -> dict:
  """Ages by all features; all values are ours."""
  return dict(
    job='fit_regressors',
    task='age',
    seed=0,
    features_from=features,  # the stages that compute them
    input=hand_input(size),  # as they read films
    ridge=dict(penalties=(10.0, 100.0, 1e3, 1e4, 1e5)),  # the best, left out
    boosting=dict(
      trees=300,
      depth=4,
      rate=0.05,
      films=0.5,  # share of the training films that a tree is fitted on
      features=0.05,  # share of the numbers that a node draws from
    ),
    random_forest=dict(
      trees=300, leaf=3, features=0.1
    ),  # leaf: films, at least
  )


def phantom(config: ConfigDict) -> None:
  """Three narrow nets of random weights; all ours."""
  zhao.small_hands(config)
  config.allow_random_features = True
  add_ages(config, SMALL, ('active', 'keypoints'), (128, 96))


def half(config: ConfigDict) -> None:
  """Inception-V3 at two depths; nets of a run on thumbnails; ours."""
  zhao.hands_of_run(config)
  add_ages(config, OF_INCEPTION, ('mine', 'keypoints'), (256, 192))


VARIANTS = dict()
PRESETS = dict(phantom=phantom, half=half)
