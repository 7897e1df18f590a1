"""Zhao 2018: masks by active learning, ages by paced transfer of Xception.

Stages
  prepare    archive (or phantoms) to array_record
  active     masks of all films from few outlined ones, active_segmentation.py
  keypoints  three points of the hand, hand_geometry.py
  register   every film to one place, size and turn; black outside of the mask
  head       the last layer of Xception learns
  exit, middle, entry  and so do the last, the middle and the first blocks
  assessor   the whole net
  report     errors with intervals, beside what papers quote

  python -m boneage_jax.main --config=configs/zhao.py:phantom
  python -m boneage_jax.main --config=configs/zhao.py --config.manual_dir=DIR \
    --config.head.pretrained.backbone.path=XCEPTION
  python -m boneage_jax.main --config=configs/zhao.py:half \
    --config.manual_dir=DIR --config.geometry_run=RUN \
    --config.head.pretrained.backbone.path=INCEPTION_V3

The archive needs annotations/, as for hand_geometry.py. Ours: masked hands lie
upright in one size, as `predict` can bring new films there. The authors' code
trains and tests on batches that are drawn at random from all films; here no
film that judges is trained on.

Presets: phantom (minutes on two cores), half (half-size films; masks and points
are those of the nets of RUN, a run of hand_geometry.py:thumbnails with
--config.data.validation_fraction=0.1, and the net is Inception-V3 to mixed7, of
which we have weights); without one, the archive at full size. There are no
variants.
"""

from ml_collections import ConfigDict

from configs import active_segmentation
from configs import common
from configs import hand_geometry
from configs import presets
from configs import registration
from configs import system

# MAE in months, of which films, who says so.
PUBLISHED = (
  (7.7, 'all films, those trained on among them', 'Zhao 2018; from memory'),
)
# Stages, and the rate of each: authors' code.
PACE = dict(head=1e-2, exit=1e-3, middle=5e-4, entry=1e-4, assessor=5e-5)
# What does not yet learn in a stage, by its name. Authors' code: the order;
# ours: which blocks are which, and block1 in the last stage alone.
XCEPTION = dict(
  head='^backbone/',
  exit='^backbone/block([1-9]|1[0-2])/',
  middle='^backbone/block[1-4]/',
  entry='^backbone/block1/',
  assessor='',
)
INCEPTION = dict(
  head='^backbone/',
  exit='^backbone/(stem|mixed[0-5])/',
  middle='^backbone/(stem|mixed[0-2])/',
  entry='^backbone/stem/',
  assessor='',
)


def get_config(variant: str = '') -> ConfigDict:
  """Zhao 2018, or a preset of it."""
  config = system.base('zhao', variant)
  add_hands(config)
  add_ages(config, XCEPTION, ('active', 'keypoints'))
  return presets.apply(config, VARIANTS, PRESETS)


def add_hands(config: ConfigDict) -> None:
  """Describe what masks hands and brings them to one place."""
  config.active = active_segmentation.active_stage()
  config.keypoints = hand_geometry.keypoints_stage()
  config.register = registration.register_stage()
  config.register.update(
    masks_from='active', regions=('hand',), crop_size=((400, 300),)
  )


def add_ages(
  config: ConfigDict, frozen: dict[str, str], geometry: tuple[str, ...]
) -> None:
  """Describe the stages that tell ages, each from the net before; run all.

  Args:
    config: with the stage `register`.
    frozen: what does not learn, by stage.
    geometry: the stages between `prepare` and `register`.
  """
  before = ''
  for seed, (stage, rate) in enumerate(PACE.items()):
    config[stage] = age_stage(seed)
    config[stage].init_from.run = before
    config[stage].optimizer.update(learning_rate=rate, freeze=frozen[stage])
    # Keras: what does not learn keeps its statistics; ours: all of it does.
    config[stage].freeze_statistics = bool(frozen[stage])
    before = f':{stage}'
  config.report = common.report_stage(
    stage='assessor',
    baselines=tuple(PACE)[:-1],
    paper='Zhao 2018',
    published=(('assessor', 'paced transfer', PUBLISHED),),
  )
  config.stages = ('prepare', *geometry, 'register', *PACE, 'report')


def age_stage(seed: int) -> ConfigDict:
  """One pace; they differ in what learns, and how fast."""
  return ConfigDict(
    common.train_stage(
      seed=seed,
      input=common.image_input(
        builder_config='',
        crops_from='register',
        regions=('hand',),
        size=(400, 300),  # ours
        crop_margin=0.1,  # of the stage that cuts the crops
        percentiles=(1.0, 99.0),  # ours
        rotate=10.0,  # ours
        zoom=0.1,  # ours
        shift=0.05,  # ours
        flip=False,  # ours
      ),
      net=common.age_net(
        name='region_channels',  # of one region
        backbone=dict(name='xception', width=1.0),  # authors' code
        pool='gap',  # authors' code
        # Authors' code: ages over 240, and a ReLU. Ours: no ReLU, which gives
        # no gradient where it is 0.
        output='unit',
        sex_features=0,  # authors' code
      ),
      pretrained=dict(backbone=common.weights()),  # authors' code: ImageNet
      loss=dict(name='mse', unit=240.0),  # authors' code
      optimizer=common.optimizer(name='rmsprop', eps=1e-7),  # authors' code
      batch_size=16,  # ours
      epochs=100,  # ours, at most
      early_stopping=dict(patience=5),  # authors' code
    )
  )


def phantom(config: ConfigDict) -> None:
  """Narrow nets on small hands, from random weights; all ours."""
  small_hands(config)
  for stage in PACE:
    section = config[stage]
    section.input.update(size=(128, 96), rotate=5.0, zoom=0.05, shift=0.03)
    section.net.update(bn_momentum=0.9)
    section.net.backbone.update(width=0.25)
    section.update(freeze_statistics=False, ema=0.98)
    section.epochs = 12 if stage == 'assessor' else 2
  # Nothing was learnt before: the last stage does most of the work.
  config.assessor.optimizer.learning_rate = 1e-3


def half(config: ConfigDict) -> None:
  """Inception-V3 from ImageNet weights; nets of a run on thumbnails; ours."""
  hands_of_run(config)
  add_ages(config, INCEPTION, ('mine', 'keypoints'))
  for stage in PACE:
    section = config[stage]
    section.input.size = (256, 192)
    section.net.update(backbone=presets.HALF_BACKBONE, bn_momentum=0.9)
    section.update(batch_size=16, eval_batch_size=16, ema=0.98)
    section.epochs = 8 if stage == 'assessor' else 3


def small_hands(config: ConfigDict) -> None:
  """Mask and register phantoms by nets of minutes."""
  presets.phantom(config)
  active_segmentation.short(config.active)
  config.active.rounds = (10, 20, 40)
  hand_geometry.point_unet(config.keypoints, size=(64, 48))
  config.keypoints.input.update(rotate=7.0, shift=0.04, zoom=0.08)
  config.keypoints.epochs = 8
  config.register.crop_size = ((128, 96),)


def hands_of_run(config: ConfigDict) -> None:
  """Mask and register half-size films by nets of another run."""
  del config.active
  hand_geometry.add_stages(config)
  registration.take_geometry(config)
  config.register.update(masks_from='mine', crop_size=((256, 192),))


VARIANTS = dict()
PRESETS = dict(phantom=phantom, half=half)
