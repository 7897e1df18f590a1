"""Lee 2017, a source of Chirawu 2022: GoogLeNet on masked, upright hands.

Stages
  prepare    archive (or phantoms) to array_record
  segmenter, mine, keypoints  masks and points, as in hand_geometry.py
  register   every film to one place, size and turn; black outside of the mask
  assessor   GoogLeNet on the hand
  report     errors with intervals

  python -m boneage_jax.main --config=configs/lee.py:phantom
  python -m boneage_jax.main --config=configs/lee.py:half \
    --config.manual_dir=DIR --config.geometry_run=RUN \
    --config.assessor.pretrained.backbone.path=GOOGLENET

The archive needs annotations/, as for hand_geometry.py. What the paper says of
its training could not be read, so values are ours, and one net knows the sex.
No mean absolute error of the paper is known to us.

Presets: phantom (minutes on two cores), half (half-size films; masks and points
are those of the nets of RUN, see registration.py); without one, the archive at
full size. There are no variants.
"""

from ml_collections import ConfigDict

from configs import common
from configs import hand_geometry
from configs import presets
from configs import registration
from configs import system


def get_config(variant: str = '') -> ConfigDict:
  """Lee 2017, or a preset of it."""
  config = system.base('lee', variant)
  hand_geometry.add_stages(config)
  config.register = registration.register_stage()
  config.register.update(regions=('hand',), crop_size=((300, 224),))
  config.assessor = assessor()
  config.report = common.report_stage(stage='assessor')
  nets = ('segmenter', 'mine', 'keypoints')
  config.stages = ('prepare', *nets, 'register', 'assessor', 'report')
  return presets.apply(config, VARIANTS, PRESETS)


def assessor() -> ConfigDict:
  """The net that sees the hand."""
  return ConfigDict(
    common.train_stage(
      input=common.image_input(
        builder_config='',
        crops_from='register',
        regions=('hand',),
        size=(300, 224),
        crop_margin=0.1,  # of the stage that cuts the crops
        percentiles=(1.0, 99.0),
        rotate=10.0,
        zoom=0.1,
        shift=0.05,
      ),
      net=common.age_net(
        name='region_channels',  # of one region
        # Paper; ours: without its auxiliary heads.
        backbone=dict(name='googlenet', width=1.0, endpoint='inception5b'),
        pool='gap',  # of GoogLeNet's own paper
        bn_momentum=0.9,
      ),
      pretrained=dict(backbone=common.weights()),  # paper: it is fine-tuned
      loss=common.label_distribution(delta=5.0, kl_weight=1.0),
      optimizer=common.fast_optimizer(learning_rate=4e-4),
      batch_size=16,
      ema=0.98,
      epochs=30,
    )
  )


def phantom(config: ConfigDict) -> None:
  """A net of half the width on small hands; all ours."""
  hand_geometry.phantom(config)
  for name in ('segmenter', 'mine'):
    config[name].input.masks_count = 100  # of 1,206
  config.register.crop_size = ((128, 96),)
  config.assessor.input.update(size=(128, 96), rotate=5.0, zoom=0.05)
  config.assessor.net.backbone.width = 0.5
  config.assessor.optimizer.learning_rate = 2e-3
  config.assessor.epochs = 8


def half(config: ConfigDict) -> None:
  """Nets of a run on thumbnails; all ours."""
  registration.take_geometry(config)
  config.register.crop_size = ((256, 192),)
  config.assessor.input.size = (256, 192)
  config.assessor.epochs = 12
  nets = ('mine', 'keypoints')
  config.stages = ('prepare', *nets, 'register', 'assessor', 'report')


VARIANTS = dict()
PRESETS = dict(phantom=phantom, half=half)
