"""Iglovikov 2017: from films to ages by regions of registered hands.

Stages
  prepare    archive (or phantoms) to array_record
  segmenter, mine, keypoints  as in hand_geometry.py
  register   every film by its key points, or else by its mask, to one place,
             size and turn; hand, carpal and metacarpal region, black outside of
             the mask
  hand_both_regression, ..., metacarpal_girls_expectation  eighteen age nets
  hand_nets, carpal_nets, metacarpal_nets, regression_nets, expectation_nets,
  ensemble   means of them: of a region, of a kind, of all
  report     errors with intervals, pictures
Not run unless --config.stages names it
  control        as in hand_geometry.py
  hand_resnet50  one more net on the hand; the paper's abstract alone names it

  python -m boneage_jax.main --config=configs/registration.py:phantom
  python -m boneage_jax.main --config=configs/registration.py \
    --config.manual_dir=DIR
  python -m boneage_jax.main --config=configs/registration.py:half \
    --config.manual_dir=DIR --config.geometry_run=RUN

The archive needs annotations/, as for hand_geometry.py.

Presets: phantom (narrow nets, for two cores), half (half-size films; masks and
points are those of the nets of RUN, a run of hand_geometry.py:thumbnails with
--config.data.validation_fraction=0.1, which held out the same films); without
one, the archive at full size. There are no variants.
"""

from ml_collections import ConfigDict
from ml_collections import FieldReference

from configs import common
from configs import hand_geometry
from configs import presets
from configs import regional_nets
from configs import system

GEOMETRY = ('segmenter', 'mine', 'keypoints')
# MAE in months, of which films, who says so.
PUBLISHED = (
  (6.3, 'RSNA, boys', 'Li 2023, introduction'),
  (6.49, 'RSNA, girls', 'Li 2023, introduction'),
  (6.4, 'RSNA, which films is not said', 'Chen 2020, Table 3'),
  (6.1, 'RSNA, 1,000 validation films', 'second hand'),
  (4.97, 'RSNA, its 200 test films', 'second hand'),
)


def get_config(variant: str = '') -> ConfigDict:
  """The whole system, or a preset of it."""
  config = system.base('registration', variant)
  hand_geometry.add_stages(config)
  config.register = register_stage()
  add_ages(config, GEOMETRY)
  return presets.apply(config, VARIANTS, PRESETS)


def register_stage() -> dict:
  """The stage that registers films and cuts their regions."""
  return dict(
    job='register',
    keypoints='keypoints',  # the stage whose net says where points are
    masks_from='mine',  # or '', without masks
    input=dict(builder_config='original'),  # crops are cut from these films
    background='black',  # paper; or 'keep', what lies outside of the mask
    # Names in imaging/registration.py, and the paper's A, B and C.
    regions=tuple(regional_nets.SIZES),
    crop_size=tuple(regional_nets.SIZES.values()),
    crop_margin=regional_nets.CROP_MARGIN,
    batch_size=16,
  )


def add_ages(
  config: ConfigDict,
  geometry: tuple[str, ...],
  sizes: dict[str, tuple[int, int]] = regional_nets.SIZES,
  width: float = 1.0,
  from_both: bool = False,
) -> None:
  """Describe the age nets and their means; run all stages.

  Args:
    config: with the stage `register`.
    geometry: the stages between `prepare` and `register`.
    sizes, width, from_both: as of `regional_nets.age_stages`.
  """
  config.register.crop_size = tuple(sizes.values())
  nets = regional_nets.age_stages(sizes, width, from_both)
  means = regional_nets.ensembles()
  config.update(nets)
  config.update(means)
  config.hand_resnet50 = regional_nets.resnet50_stage(sizes['hand'], width)
  config.report = common.report_stage(
    stage='ensemble',
    baselines=tuple(name for name in means if name != 'ensemble'),
    paper='Iglovikov 2017',
    published=(('ensemble', 'mean of all nets', PUBLISHED),),
  )
  config.stages = (
    *('prepare', *geometry, 'register'),
    *(*nets, *means, 'report'),
  )


def phantom(config: ConfigDict) -> None:
  """Narrow nets on small regions; those of one sex go on; all ours.

  Nets of a quarter of the width: a step takes half the time of half the width.
  """
  hand_geometry.phantom(config)
  for name in ('segmenter', 'mine'):
    config[name].input.masks_count = 100  # of 1,206
  add_ages(config, GEOMETRY, SMALL, width=0.25, from_both=True)
  train_ages(config, regression=2e-3, expectation=5e-4)  # at 2e-3 one died
  for section in age_nets(config):
    # So few steps need no dropout, and averages of their last ones alone.
    section.net.dropout = 0.0
    section.update(epochs=0, steps=300, eval_steps=100, ema=0.95)
    if section.input.sex:
      section.optimizer.learning_rate /= 2
      section.update(steps=120, eval_steps=60)


def half(config: ConfigDict) -> None:
  """Nets of a run on thumbnails, and age nets on half their sides; ours."""
  take_geometry(config)
  add_ages(config, ('mine', 'keypoints'), HALF, width=0.5)
  train_ages(config, regression=1e-3, expectation=5e-4)
  for section in age_nets(config):
    section.epochs = 40


def take_geometry(config: ConfigDict) -> None:
  """Read half-size films; masks and points are of the nets of another run."""
  hand_geometry.thumbnails(config)
  presets.half(config)
  config.geometry_run = run = FieldReference('')  # the folder of that run
  for name in ('mine', 'keypoints'):
    config[name].init_from.run = run + f':{name}'
    config[name].update(epochs=0, steps=0)
  config.mine.rounds = 0
  del config.segmenter, config.control


def train_ages(
  config: ConfigDict, regression: float, expectation: float
) -> None:
  """Let age nets learn in little time, at the rates of their kind."""
  for section in age_nets(config):
    rate = expectation if section.net.output == 'bins' else regression
    section.optimizer = ConfigDict(common.fast_optimizer(rate))
    section.update(batch_size=16, eval_batch_size=16, ema=0.98)


def age_nets(config: ConfigDict) -> list[ConfigDict]:
  """Return the sections of the nets that tell ages."""
  sections = (value for value in config.values() if hasattr(value, 'task'))
  return [section for section in sections if section.task == 'age']


# Ours. m46 needs sides of 127 pixels, and nets of one size are compiled once.
SMALL = dict(hand=(176, 132), carpal=(132, 132), metacarpal=(132, 132))
# Half of each side of the input of the whole system; ours.
HALF = dict(hand=(250, 188), carpal=(188, 188), metacarpal=(150, 350))
VARIANTS = dict()
PRESETS = dict(phantom=phantom, half=half)
