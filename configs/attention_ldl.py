"""Chen et al. 2020: attention-guided regions, label distribution, expectation.

Stages
  prepare         archive (or phantoms) to array_record
  hand_localizer  Inception-V3 on whole films, 240 soft labels
  hand            its class activation map, cut at a threshold: the hand
  r1_localizer    the same on larger films, maximum pooling; at half size
                  hand_localizer finds both
  r1              its map: the carpal region
  r2_localizer    the same again, on films with R1 painted over in one grey
  r2              its map: the metacarpal region; crops of the original film
  assessor        Xception with the regions as channels, and sex: 240 bins,
                  L1 of the expectation and divergence from a Gaussian; of the
                  whole table nine of them, `row_o` to `row_h_r1_r2`
  report          errors with intervals, beside the paper's

  python -m boneage_jax.main --config=configs/attention_ldl.py:phantom
  python -m boneage_jax.main --config=configs/attention_ldl.py \
    --config.manual_dir=DIR_OF_THE_RSNA_ARCHIVE --config.data.split=chen500

Variants
  o, h, r1, r2, h+r1, r1+r2, o+h+r1, h+r1+e, h+r1+r2: one row of the paper's
         table: the channels, of film, hand, R1, R2 and the film with R1 erased;
         without one: h+r1+r2
  table  all these rows, on one run of the localizers
  v1     the first version of the paper: one number and its absolute error
Presets: phantom (a row in minutes on two cores), thumbnails (100 px films),
half (half-size films, a quarter of an hour a row); without one, the paper's.
New layers start He uniform, which is ours; Keras' start Glorot uniform. What
the paper leaves open: docs/explanation/attention_ldl.md; figures of ours:
docs/results.md.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system

PICTURES = dict(o='film', h='hand', r1='r1', e='erased', r2='r2')
# MAE in months, of the first version and of the second where known.
PUBLISHED = {
  'o': (7.3,),
  'h': (6.3,),
  'r1': (6.1,),
  'r2': (7.0,),
  'h+r1': (5.4,),
  'r1+r2': (5.6,),
  'o+h+r1': (5.4,),
  'h+r1+e': (4.7, 4.3),
  'h+r1+r2': (4.8, 4.3),
}
# Of which films, and who says so.
FILMS = 'RSNA, 500 films held out of its 12,611 training films'
SOURCES = ('first version, Table 3', 'second version, Table V; second hand')
# Paper, as are the steps; authors' code: the eps, Keras' own.
ADAM = dict(learning_rate=3e-4, schedule='steps', eps=1e-7)
LOCALIZERS = ('hand_localizer', 'r1_localizer', 'r2_localizer')


def get_config(variant: str = '') -> ConfigDict:
  """Chen 2020 with its variants and presets."""
  config = system.base('attention_ldl', variant)
  variants, preset = presets.parse(config, VARIANTS, PRESETS)
  rows = [name for name in variants if name != 'v1']
  if len(rows) > 1:
    raise ValueError(
      'Expected one row in --config=configs/attention_ldl.py:ROW, got '
      f"{variant!r}; train all of them with 'table'."
    )
  parts = paper()
  if 'v1' in variants:
    v1(parts)
  if preset:
    PRESETS[preset](config, parts)
  # Paper: ImageNet; Keras' no-top files of all nets of a kind, '' is none.
  config.weights = dict(localizers='', assessors='')
  if rows == ['table']:
    stages = {'row_' + name.replace('+', '_'): name for name in PUBLISHED}
  else:
    stages = {'assessor': rows[0] if rows else 'h+r1+r2'}
  train(config, parts, stages)
  return presets.lock(config)


def paper() -> ConfigDict:
  """All sections of the second version, of which a config takes some."""
  return ConfigDict(
    dict(
      hand_localizer=localizer(size=300, pool='gap'),  # paper
      hand=region('hand', threshold=20 / 255),  # paper: Table I
      r1_localizer=localizer(size=560, pool='gmp'),  # paper
      r1=region('r1', threshold=50 / 255, erase=('r1',)),  # paper: Table I
      r2_localizer=localizer(size=560, pool='gmp', erase_from='r1'),  # paper
      r2=region('r2', threshold=50 / 255, erase=('r1',)),  # ours: that of R1
      assessor=assessor(),
    )
  )


def localizer(size: int, pool: str, erase_from: str = '') -> dict:
  """Phase I: a linear net whose map says where the age is read."""
  return common.train_stage(
    input=common.image_input(
      builder_config='px768', size=size, erase_from=erase_from
    ),
    net=common.age_net(
      # Paper.
      backbone=dict(name='inception_v3', width=1.0, endpoint='mixed10'),
      pool=pool,
      output='bins',  # paper
      readout='argmax',  # paper
      sex_features=0,  # authors' code: sex does not reach the output
    ),
    pretrained=dict(backbone=common.weights()),
    loss=dict(name='soft_label', half_width=50.0),  # paper: l = 50
    optimizer=common.optimizer(
      **ADAM, boundaries=(50 / 70,), lr_factors=(1 / 3,)
    ),
    batch_size=32,  # paper
    epochs=70,  # paper; the authors' code has 60 and 30
    checkpoint_selection='best',  # ours
  )


def region(name: str, threshold: float, erase: tuple[str, ...] = ()) -> dict:
  """From the map of `<name>_localizer` to a box of every film."""
  return common.locate_stage(
    localizer=f'{name}_localizer',
    previous='',  # set by the row
    input=dict(builder_config='original'),  # paper: crops are cut from these
    target='window',  # authors' code: the 10 bins in [t - 5, t + 5)
    # Behind either pooling and a linear layer this is the paper's CAM.
    method='grad_cam',
    regions=(name,),
    threshold=(threshold,),
    component='largest',  # authors' code
    minimum_side=(0.1,),  # ours
    fill='random_constant',  # authors' code
    erase=erase,
    crops=(),  # set by the row
    crop_size=560,  # paper
  )


def assessor() -> dict:
  """Phase II: the regions as channels of one net."""
  return common.train_stage(
    input=common.image_input(builder_config='', size=560),  # paper
    net=dict(
      name='region_channels',
      backbone=dict(name='xception', width=1.0),  # paper
      pool='conv_pool',  # paper
      output='bins',  # paper: second version
      readout='expectation',  # paper
      sex_features=32,  # paper
      joint_features=0,
      extra_inputs=(),
      extra_outputs=(),
      dropout=0.0,
      bn_momentum=0.0,
      dtype='float32',
      remat=False,
    ),
    pretrained=dict(backbone=common.weights()),
    loss=common.label_distribution(
      delta=15.0,  # paper
      kl_weight=0.5,  # ours: the lambda, of which 0.1 to 1 were best
    ),
    optimizer=common.optimizer(
      **ADAM, boundaries=(60 / 120, 90 / 120), lr_factors=(1 / 3, 1 / 10)
    ),
    batch_size=16,  # paper
    epochs=120,  # paper, without augmentation
    checkpoint_selection='best',  # ours
  )


def train(config: ConfigDict, parts: ConfigDict, rows: dict[str, str]) -> None:
  """Find the pictures of some rows and train on them.

  `parts` are sections as variants and presets have changed them; `rows` has the
  row of each assessor's stage. E is the rest of the whole film; ours.
  """
  shown = {
    stage: tuple(PICTURES[part] for part in name.split('+'))
    for stage, name in rows.items()
  }
  needed = set().union(*shown.values())
  last = find(config, parts, [p for p in PICTURES.values() if p in needed])
  for stage, chosen in shown.items():
    config[stage] = ConfigDict(parts.assessor.to_dict())
    config[stage].pretrained.backbone.path = config.weights.get_ref('assessors')
    if chosen == ('film',):  # no crop of anything
      whole = parts.hand_localizer.input.builder_config
      config[stage].input.builder_config = whole
    else:
      config[stage].input.update(crops_from=last, regions=chosen)
  *others, stage = rows
  config.stages = (*config.stages, *rows, 'report')
  config.report = common.report_stage(
    stage=stage,
    regions_from=last,
    baselines=tuple(others),
    paper='Chen 2020',
    published=tuple((s, name, figures(name)) for s, name in rows.items()),
  )


def figures(row: str) -> tuple[tuple[float, str, str], ...]:
  """What the paper reached with a row, of which films, and who says so."""
  both = zip(PUBLISHED[row], SOURCES, strict=False)
  return tuple((mae, FILMS, source) for mae, source in both)


def find(config: ConfigDict, parts: ConfigDict, pictures: list[str]) -> str:
  """Add the stages that find these pictures; return the last, which cuts."""
  serves = dict(hand={'hand'}, r1={'r1', 'erased', 'r2'}, r2={'r2'})
  config.stages, last = ('prepare',), ''
  for stage in [s for s in serves if serves[s] & set(pictures)]:
    name = parts[stage].localizer
    if name not in config.stages:
      config[name] = parts[name]
      path = config.weights.get_ref('localizers')
      config[name].pretrained.backbone.path = path
      config.stages = (*config.stages, name)
    config[stage] = parts[stage]
    config[stage].previous = last
    config.stages = (*config.stages, stage)
    last = stage
  if last:
    config[last].crops = tuple(pictures)
  return last


def v1(parts: ConfigDict) -> None:
  """The first version: one number, its absolute error, longer, augmented.

  Of the augmentation the ranges are the authors'. They augment in the first 350
  epochs only, all regions as one picture, zoom each axis by its own factor and
  fill with the nearest pixel. Ours: all epochs, each region by itself, both
  axes alike, filled with the film around the crop.
  """
  parts.assessor.net.output = 'scalar'  # paper; ours: starts at the mean age
  parts.assessor.loss = ConfigDict(dict(name='mae'))  # paper
  parts.assessor.epochs = 480  # authors' code, as the rest of it
  parts.assessor.optimizer.boundaries = (430 / 480, 460 / 480)
  parts.assessor.input.update(rotate=20.0, shift=0.15, zoom=0.2, flip=True)
  cut(parts, size=560, margin=0.15)  # ours: room for the augmentation


def phantom(config: ConfigDict, parts: ConfigDict) -> None:
  """A row in minutes on two cores; all ours."""
  presets.phantom(config)
  small_nets(parts, size=128, crop=96, batch_size=16)
  parts.hand_localizer.epochs = 6
  parts.r1_localizer.epochs = 12
  parts.r2_localizer.epochs = 8
  parts.assessor.epochs = 10


def thumbnails(config: ConfigDict, parts: ConfigDict) -> None:
  """The regions have few pixels left; all ours."""
  presets.thumbnails(config)
  small_nets(parts, size=100, crop=64, batch_size=32)
  for name in (*LOCALIZERS, 'assessor'):
    parts[name].input.update(zoom=0.05, shift=0.03, flip=True)
    parts[name].epochs = 4 if name == 'hand_localizer' else 8


def half(config: ConfigDict, parts: ConfigDict) -> None:
  """A quarter of an hour a row on two cores; all ours.

  All nets are presets.HALF_BACKBONE, with one file of weights. One localizer
  finds hand and R1: with so few films an average pool reads the empty part of
  the film, too.
  """
  presets.half(config)
  for name in (*LOCALIZERS, 'assessor'):
    presets.half_training(parts[name])
  read_bins(parts)
  for name in ('hand_localizer', 'r2_localizer'):
    parts[name].input.size = 224
    parts[name].net.pool = 'gmp'
  parts.hand.update(  # by `evaluate box-thresholds` on training films
    mirror=True, threshold=(50 / 255,), minimum_side=(0.7,)
  )
  for stage in (parts.r1, parts.r2):
    stage.update(method='hires_cam', mirror=True)  # behind maximum pooling
  parts.r1.localizer = 'hand_localizer'
  parts.r1.update(threshold=(0.5,), minimum_side=(0.3,))
  parts.r2.update(threshold=(0.2,), minimum_side=(0.5,))
  cut(parts, size=160, margin=0.15)


def small_nets(
  parts: ConfigDict, size: int, crop: int, batch_size: int
) -> None:
  """Nets of a quarter of the width on small inputs, from random weights."""
  for name in (*LOCALIZERS, 'assessor'):
    presets.short_training(parts[name], batch_size=batch_size)
    parts[name].eval_batch_size = batch_size
    parts[name].input.rotate = 5.0
  read_bins(parts)
  for name in LOCALIZERS:
    parts[name].net.backbone.update(width=0.25, endpoint='mixed2')
    parts[name].input.update(size=size, cutout=2)
  parts.assessor.net.backbone.width = 0.25
  for stage in (parts.r1, parts.r2):
    stage.update(target='age', method='hires_cam', smooth=0.1, component='peak')
  parts.r1.update(threshold=(0.3,), minimum_side=(0.3,))
  parts.r2.update(threshold=(0.1,), minimum_side=(0.55,))
  cut(parts, crop, margin=0.15)


def read_bins(parts: ConfigDict) -> None:
  """Let localizers know the sex, and read films as they are, which are small.

  The label distribution of phase II is theirs, too: soft labels do not converge
  in so few steps.
  """
  for name in LOCALIZERS:
    parts[name].input.builder_config = 'original'
    parts[name].net.update(readout='expectation', sex_features=32)
  parts.assessor.net.pool = 'gap'


def cut(parts: ConfigDict, size: int, margin: float) -> None:
  """Set the side of the crops, and what is kept around them."""
  parts.assessor.input.update(size=size, crop_margin=margin)
  for stage in (parts.hand, parts.r1, parts.r2):
    stage.update(crop_size=size, crop_margin=margin)


VARIANTS = ('v1', *PUBLISHED, 'table')
PRESETS = dict(phantom=phantom, thumbnails=thumbnails, half=half)
