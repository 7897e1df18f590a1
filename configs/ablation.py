"""Li 2023, its parts one by one: what does each do for the age?

Stages
  prepare           archive (or phantoms) to array_record
  localizer, regions  of the cascade, cascade.py
  assessor          the cascade's own net: two streams with exchange, and sex
  exchange_none     its streams do not exchange; by algebra `whole` is the same
  exchange_mid      they exchange half-way up (Wang 2020), not before the heads
  no_sex            the net does not know the sex
  carpal_alone      one stream, on the carpal region
  metacarpal_alone  one stream, on the metacarpal region
  whole_film        ResNet-50 on the whole film, without regions
  other_localizer, other_regions, other_assessor
                    the cascade with CBAM in its localizer where the preset has
                    none, and without it where it has
  report            errors of all with intervals

  python -m boneage_jax.main --config=configs/ablation.py:phantom
  python -m boneage_jax.main --config=configs/ablation.py:half \
    --config.manual_dir=DIR --config.weights.inception_v3=INCEPTION_V3
  python -m boneage_jax.evaluate compare runs/ablation_phantom:assessor \
    runs/ablation_phantom:no_sex

`evaluate published` prints all rows and what differs from the paper, `evaluate
heat-maps` compares where localizer and whole_film look. Li 2023 has such rows,
but its tables could not be read: their figures are not known.
`weights` names files of ImageNet weights, by net.

Presets: phantom (minutes on two cores; the cascade's preset has no CBAM), half
(half-size films: both streams are Inception-V3, there is no exchange, one
localizer serves all rows, and whole_film is from random weights, as is
whole_film_inception beside it); without one, the archive at full size. There
are no variants.
"""

from ml_collections import ConfigDict

from configs import cascade
from configs import common
from configs import presets
from configs import system

NETS = ('inception_v3', 'xception', 'resnet')


def get_config(variant: str = '') -> ConfigDict:
  """All rows, or a preset of them."""
  config = system.base('ablation', variant)
  config.weights = {name: '' for name in NETS}
  cascade.add_stages(config)
  del config.orientation
  config.stages, config.report = (), ConfigDict(dict(baselines=()))
  _, preset = presets.parse(config, (), PRESETS)
  if preset:
    PRESETS[preset](config)
  add_rows(config)
  if preset != 'half':
    add_other_localizer(config)
  rows = [name for name in config.stages if name not in FOUND]
  config.report = common.report_stage(
    stage='assessor',
    regions_from='regions',
    baselines=tuple(
      name for name in rows if name not in ('assessor', 'prepare')
    ),
    paper='Li 2023',
    published=published(config, rows),
    differs=differs(config, preset),
  )
  config.stages = (*config.stages, 'report')
  take_weights(config)
  return presets.lock(config)


FOUND = ('regions', 'other_regions')  # they find regions, and tell no age


def add_rows(config: ConfigDict) -> None:
  """Add a stage for each change of the assessor."""
  config.stages = ('prepare', 'localizer', 'regions', 'assessor')
  own = config.assessor
  if own.net.exchange != 'none':
    for exchange in ('none', 'mid'):
      config[f'exchange_{exchange}'] = changed(own, exchange=exchange)
  config.no_sex = changed(own, sex_features=0)
  for region in ('carpal', 'metacarpal'):
    config[f'{region}_alone'] = alone(own, region)
  whole = resnet(config)
  config.whole_film = whole
  if own.net.metacarpal.name == 'inception_v3':  # there are weights of no other
    config.whole_film_inception = changed(whole, backbone=own.net.metacarpal)
  config.stages += tuple(
    name
    for name in (
      *('exchange_none', 'exchange_mid', 'no_sex', 'carpal_alone'),
      *('metacarpal_alone', 'whole_film', 'whole_film_inception'),
    )
    if name in config
  )


def add_other_localizer(config: ConfigDict) -> None:
  """Add the cascade with CBAM, if it has none, or without."""
  had = config.localizer.net.attention == 'cbam'
  config.other_localizer = changed(
    config.localizer, attention='none' if had else 'cbam'
  )
  config.other_regions = ConfigDict(config.regions.to_dict())
  config.other_regions.localizer = 'other_localizer'
  config.other_assessor = ConfigDict(config.assessor.to_dict())
  config.other_assessor.input.crops_from = 'other_regions'
  config.stages += ('other_localizer', 'other_regions', 'other_assessor')


def changed(stage: ConfigDict, **net) -> ConfigDict:
  """Return a stage with another net."""
  stage = ConfigDict(stage.to_dict())
  for name, value in net.items():
    stage.net[name] = value
  return stage


def alone(assessor: ConfigDict, region: str) -> ConfigDict:
  """Return the assessor with one of its streams."""
  stage = ConfigDict(assessor.to_dict())
  stage.input.regions = (region,)
  stage.net = ConfigDict(
    common.age_net(
      name='region_channels',  # of one region
      backbone=assessor.net[region].to_dict(),
      pool=assessor.net.pool,
      sex_features=assessor.net.sex_features,
      dropout=assessor.net.dropout,
      bn_momentum=assessor.net.bn_momentum,
      dtype=assessor.net.dtype,
    )
  )
  stage.pretrained = ConfigDict(dict(backbone=common.weights()))
  return stage


def resnet(config: ConfigDict) -> ConfigDict:
  """Return a net of the whole film, trained as the assessor; ours."""
  stage = ConfigDict(config.assessor.to_dict())
  stage.input = ConfigDict(config.localizer.input.to_dict())
  own = config.assessor.net
  width = own.metacarpal.width
  stage.net = ConfigDict(
    common.age_net(
      backbone=dict(name='resnet', depth=50, width=width),
      pool='gap',
      sex_features=own.sex_features,
      bn_momentum=own.bn_momentum,
      dtype=own.dtype,
    )
  )
  stage.pretrained = ConfigDict(dict(backbone=common.weights()))
  stage.optimizer.freeze = ''  # what starts at random must learn
  return stage


def published(config: ConfigDict, stages: list[str]) -> tuple:
  """Say what each row changes; the paper's figures of rows are not known."""
  own = config.assessor.net.exchange
  has = config.localizer.net.attention == 'cbam'
  same = 'assessor' if own == 'none' else 'exchange_none'
  rows = (
    ('assessor', f'the cascade, exchange {own}', cascade.PUBLISHED),
    ('exchange_none', 'exchange none', ()),
    (same, 'exchange whole: equals none by algebra', ()),
    ('exchange_mid', 'exchange mid', ()),
    ('other_assessor', 'without CBAM' if has else 'with CBAM', ()),
    ('no_sex', 'without sex', ()),
    ('carpal_alone', 'carpal region alone', ()),
    ('metacarpal_alone', 'metacarpal region alone', ()),
    ('whole_film', 'whole film, ResNet-50', ()),
    ('whole_film_inception', 'whole film, Inception-V3', ()),
    ('localizer', 'whole film, the localizer itself', ()),
  )
  return tuple(row for row in rows if row[0] in stages)


def differs(config: ConfigDict, preset: str) -> tuple:
  """What is not as Li 2023 has it, of the cascade and of the rows."""
  whole = cascade.in_words(config.whole_film.net.backbone)
  rows = (('net of whole films', 'ResNet-50', whole),)
  if 'whole_film_inception' in config:
    rows = (
      ('nets of whole films', 'ResNet-50', f'{whole} and Inception-V3'),
      ('their weights', 'not said', 'random'),
    )
  other = tuple(row for row in rows if row[1] != row[2])
  return (*cascade.differs(config, preset), *other)


def take_weights(config: ConfigDict) -> None:
  """Let each net with a file in `weights` start from it."""
  for name in config.stages:
    if name == 'whole_film_inception':
      continue
    for part, of in config[name].get('pretrained', {}).items():
      net = config[name].net
      of.path = config.weights.get_ref(net.get(part, net.get('backbone')).name)


def phantom(config: ConfigDict) -> None:
  """The nets of cascade.py:phantom; all ours."""
  cascade.phantom(config)


def half(config: ConfigDict) -> None:
  """The nets of cascade.py:half; all ours."""
  cascade.half(config)


PRESETS = dict(phantom=phantom, half=half)
VARIANTS = dict()
