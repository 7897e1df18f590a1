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
                  L1 of the expectation and divergence from a Gaussian
  report          errors with intervals, beside the paper's

  python -m boneage_jax.main --config=configs/attention_ldl.py:phantom
  python -m boneage_jax.main --config=configs/attention_ldl.py \
    --config.manual_dir=DIR_OF_THE_RSNA_ARCHIVE --config.data.split=chen500

Variants, joined by commas as in `:half,h+r1`:
  size   none (the paper's), half, thumbnails, phantom
  row    o, h, r1, r2, h+r1, r1+r2, o+h+r1, h+r1+e, h+r1+r2: the channels, of
         film, hand, R1, R2 and the film with R1 erased; or table, all of these
         on one run of the localizers. Without one: h+r1+r2
  v1     the first version of the paper: one number and its absolute error

docs/attention_ldl.md says what the paper leaves open and what we read into it.
"""

import functools

from ml_collections import ConfigDict

from configs import common

PICTURES = dict(o='film', h='hand', r1='r1', e='erased', r2='r2')
# Test MAE in months, of the first version and of the second where known.
PUBLISHED = {
  'o': (7.3, None),
  'h': (6.3, None),
  'r1': (6.1, None),
  'r2': (7.0, None),
  'h+r1': (5.4, None),
  'r1+r2': (5.6, None),
  'o+h+r1': (5.4, None),
  'h+r1+e': (4.7, 4.3),
  'h+r1+r2': (4.8, 4.3),
}


def get_config(variant: str = '') -> ConfigDict:
  """Chen 2020 as docs/attention_ldl.md reads it, or one of its variants."""
  rows = set(variant.split(',')) & {*PUBLISHED, 'table'}
  if len(rows) > 1:
    raise ValueError(
      f'configs/attention_ldl.py takes one row, got {sorted(rows)}; train all '
      "of them with 'table'."
    )
  config = common.base('attention_ldl', variant)
  # Paper: ImageNet; Keras' no-top files of all nets of a kind, '' is none.
  config.weights = dict(localizers='', assessors='')
  config.hand_localizer = localizer(size=300, pool='gap')  # paper
  config.hand = region('hand', threshold=20 / 255)  # paper: Table I
  config.r1_localizer = localizer(size=560, pool='gmp')  # paper
  config.r1 = region('r1', threshold=50 / 255)  # paper: Table I
  config.r2_localizer = localizer(size=560, pool='gmp', erase='r1')  # paper
  config.r2 = region('r2', threshold=50 / 255)  # ours: that of R1
  config.assessor = common.train_stage(
    input=common.image_input(
      builder_config='',
      crops_from='r2',
      size=560,  # paper
    ),
    net=dict(
      name='region_channels',
      backbone=dict(name='xception', width=1.0),  # paper
      pool='conv_pool',  # paper
      output='bins',  # paper: second version
      readout='expectation',  # paper
      sex_features=32,  # paper
      dropout=0.0,
      bn_momentum=0.0,
      dtype='float32',
    ),
    pretrained=dict(backbone=common.weights()),
    loss=dict(
      name='label_distribution',  # paper
      delta=15.0,  # paper
      kl_weight=0.5,  # ours: the lambda, of which 0.1 to 1 were best
    ),
    optimizer=common.optimizer(
      learning_rate=3e-4,  # paper, as the rest of it
      schedule='steps',
      boundaries=(60 / 120, 90 / 120),
      lr_factors=(1 / 3, 1 / 10),
    ),
    batch_size=16,  # paper
    epochs=120,  # paper, without augmentation
  )
  config.report = dict(
    job='report',
    stage='assessor',
    regions_from='r2',
    baselines=(),
    published=(),
  )
  common.choose(
    config,
    dict(v1=v1, half=half, thumbnails=thumbnails, phantom=phantom)
    | {name: functools.partial(row, name=name) for name in PUBLISHED}
    | dict(table=table),
  )
  if not rows:
    row(config, 'h+r1+r2')
  for name, section in config.items():
    if hasattr(section, 'pretrained'):
      kind = 'localizers' if name.endswith('_localizer') else 'assessors'
      section.pretrained.backbone.path = config.weights.get_ref(kind)
  return config


def localizer(size: int, pool: str, erase: str = '') -> dict:
  """Phase I: a linear net whose map says where the age is read."""
  return common.train_stage(
    input=common.image_input(
      builder_config='px768', size=size, erase_from=erase
    ),
    net=dict(
      name='age_net',
      backbone=dict(
        name='inception_v3', width=1.0, endpoint='mixed10'
      ),  # paper
      attention='none',
      pool=pool,
      output='bins',  # paper
      readout='argmax',  # paper
      sex_features=0,  # authors' code: sex does not reach the output
      dropout=0.0,
      bn_momentum=0.0,
      dtype='float32',
    ),
    pretrained=dict(backbone=common.weights()),
    loss=dict(name='soft_label', half_width=50.0),  # paper: l = 50
    optimizer=common.optimizer(
      learning_rate=3e-4,  # paper, as the rest of it
      schedule='steps',
      boundaries=(50 / 70,),
      lr_factors=(1 / 3,),
    ),
    batch_size=32,  # paper
    epochs=70,  # paper; the authors' code has 60 and 30
  )


def region(name: str, threshold: float) -> dict:
  """From the map of `<name>_localizer` to a box of every film."""
  return dict(
    job='locate',
    localizer=f'{name}_localizer',
    previous='',  # the stage whose regions come first
    input=dict(builder_config='original'),  # paper: crops are cut from these
    target='window',  # paper: the logits within 5 months of the estimate
    # Behind either pooling and a linear layer this is the paper's CAM.
    method='grad_cam',
    mirror=False,
    regions=(name,),
    threshold=(threshold,),
    component='largest',  # authors' code
    minimum_side=(0.1,),  # ours, of the film
    margin=0.0,  # paper
    smooth=0.0,
    fill='random_constant',  # authors' code
    erase=() if name == 'hand' else ('r1',),
    crops=(),  # set by the row
    crop_size=560,  # paper
    crop_margin=0.0,
    batch_size=16,
  )


def row(config: ConfigDict, name: str) -> None:
  """Train on one choice of channels, and find no region that it does not need.

  The paper does not say of what E is the rest; here of the whole film.
  """
  chosen = [PICTURES[part] for part in name.split('+')]
  find(config, chosen)
  show(config, config.assessor, chosen)
  config.stages = (*config.stages, 'assessor', 'report')
  config.report.published = (('assessor', name, *PUBLISHED[name]),)


def find(config: ConfigDict, pictures: list[str]) -> None:
  """Chain the stages that find these pictures; the last one cuts them."""
  needs = dict(hand={'hand'}, r1={'r1', 'erased', 'r2'}, r2={'r2'})
  chain = [stage for stage in needs if needs[stage] & set(pictures)]
  config.stages, before = ('prepare',), ''
  for stage in chain:
    config[stage].previous = before
    config[stage].crops = tuple(pictures) if stage == chain[-1] else ()
    if config[stage].localizer not in config.stages:
      config.stages = (*config.stages, config[stage].localizer)
    config.stages = (*config.stages, stage)
    before = stage
  config.report.regions_from = before


def show(config: ConfigDict, assessor: ConfigDict, pictures: list[str]) -> None:
  """Give an assessor some of the pictures that the last stage cuts."""
  if pictures == ['film']:  # no crop of anything
    whole = config.hand_localizer.input.builder_config
    assessor.input.update(dict(builder_config=whole, crops_from='', regions=()))
    return
  last = config.report.regions_from
  assessor.input.update(dict(crops_from=last, regions=tuple(pictures)))


def table(config: ConfigDict) -> None:
  """Train every row on the regions of one run of the localizers."""
  find(config, list(PICTURES.values()))
  stages = {name: 'row_' + name.replace('+', '_') for name in PUBLISHED}
  for name, stage in stages.items():
    config[stage] = ConfigDict(config.assessor.to_dict())
    show(config, config[stage], [PICTURES[part] for part in name.split('+')])
  del config.assessor
  *others, last = stages.values()
  config.stages = (*config.stages, *others, last, 'report')
  config.report.update(dict(stage=last, baselines=tuple(others)))
  config.report.published = tuple(
    (stages[name], name, *figures) for name, figures in PUBLISHED.items()
  )


def v1(config: ConfigDict) -> None:
  """The first version: one number, its absolute error, longer, augmented.

  The authors' code augments in the first 350 of these epochs only.
  """
  config.assessor.net.output = 'scalar'
  config.assessor.loss = ConfigDict(dict(name='mae'))
  config.assessor.epochs = 480  # authors' code, as the rest of it
  config.assessor.optimizer.boundaries = (430 / 480, 460 / 480)
  config.assessor.input.update(
    dict(rotate=20.0, shift=0.15, zoom=0.2, flip=True)
  )
  cut(config, 560, margin=0.15)  # ours: room for the augmentation


def cut(config: ConfigDict, size: int, margin: float) -> None:
  """Set the side of the crops, and what is kept around them."""
  config.assessor.input.update(dict(size=size, crop_margin=margin))
  for stage in ('hand', 'r1', 'r2'):
    config[stage].update(dict(crop_size=size, crop_margin=margin))


def short(config: ConfigDict) -> None:
  """For little time: averaged nets, a fast rule, labels that converge; ours."""
  for name in ('hand_localizer', 'r1_localizer', 'r2_localizer', 'assessor'):
    stage = config[name]
    stage.update(dict(batch_size=16, eval_batch_size=16, ema=0.98))
    stage.net.bn_momentum = 0.9
    stage.optimizer = ConfigDict(common.fast_optimizer())
    stage.input.percentiles = (1.0, 99.0)
    if stage.loss.name != 'mae':  # v1 keeps its own
      stage.loss = ConfigDict(
        dict(name='label_distribution', delta=10.0, kl_weight=1.0)
      )
    if name != 'assessor':
      stage.input.builder_config = 'original'
      stage.net.update(dict(readout='expectation', sex_features=32))
  config.assessor.net.pool = 'gap'


def half(config: ConfigDict) -> None:
  """Films at half size, a quarter of an hour a row on two cores.

  All nets are Inception-V3 up to mixed7, so that one file of weights does. One
  localizer finds hand and R1: with so few films an average pool reads the empty
  part of the film, too, and its map shows it (docs/attention_ldl.md).
  """
  short(config)
  config.data.update(dict(validation_fraction=0.10, test_fraction=0.15))
  config.r1.localizer = 'hand_localizer'
  del config.r1_localizer
  for name in ('hand_localizer', 'r2_localizer', 'assessor'):
    stage = config[name]
    stage.net.backbone = ConfigDict(
      dict(name='inception_v3', width=1.0, endpoint='mixed7')
    )
    stage.optimizer.update(
      dict(learning_rate=4e-4, freeze='backbone/(stem|mixed[012])/')
    )
    stage.input.update(dict(rotate=10.0, zoom=0.1, flip=True))
    stage.epochs = 8
  config.hand_localizer.input.size = 224
  config.hand_localizer.net.pool = 'gmp'
  config.r2_localizer.input.size = 224
  config.hand.update(  # by `evaluate boxes` on training films
    dict(mirror=True, threshold=(50 / 255,), minimum_side=(0.7,))
  )
  hires = dict(method='hires_cam', mirror=True)  # behind maximum pooling
  config.r1.update(hires | dict(threshold=(0.5,), minimum_side=(0.3,)))
  config.r2.update(hires | dict(threshold=(0.2,), minimum_side=(0.5,)))
  cut(config, 160, margin=0.15)


def small_nets(config: ConfigDict, size: int, crop: int) -> None:
  """Nets of a quarter of the width on small inputs, from random weights."""
  short(config)
  for name in ('hand_localizer', 'r1_localizer', 'r2_localizer'):
    config[name].net.backbone.update(dict(width=0.25, endpoint='mixed2'))
    config[name].input.update(dict(size=size, rotate=5.0, cutout=2))
  config.assessor.net.backbone.width = 0.25
  config.assessor.input.rotate = 5.0
  hires = dict(target='age', method='hires_cam', smooth=0.1, component='peak')
  config.r1.update(hires | dict(threshold=(0.3,), minimum_side=(0.3,)))
  config.r2.update(hires | dict(threshold=(0.1,), minimum_side=(0.55,)))
  cut(config, crop, margin=0.15)


def thumbnails(config: ConfigDict) -> None:
  """Films squashed to 100 px: the regions have few pixels left."""
  small_nets(config, size=100, crop=64)
  config.data.update(dict(validation_fraction=0.05, test_fraction=0.15))
  for name in ('hand_localizer', 'r1_localizer', 'r2_localizer', 'assessor'):
    config[name].input.update(dict(zoom=0.05, shift=0.03, flip=True))
    config[name].update(dict(batch_size=32, eval_batch_size=32, epochs=8))
  config.hand_localizer.epochs = 4


def phantom(config: ConfigDict) -> None:
  """Synthetic films: a row in minutes on two cores."""
  config.phantom.films = 1600
  config.data.update(dict(validation_fraction=0.08, test_fraction=0.15))
  small_nets(config, size=128, crop=96)
  config.hand_localizer.epochs = 6
  config.r1_localizer.epochs = 12
  config.r2_localizer.epochs = 8
  config.assessor.epochs = 10
