"""Transfer from nets of photographs (Spampinato 2017, routes 1 and 2).

Stages of the route finetune
  prepare      archive (or phantoms) to array_record
  finetune     the whole net, on crops of films
  report       errors with intervals
and of the route offtheshelf
  prepare
  features     what the net, as it comes, sees in every film, computed once
  offtheshelf  a regression network on that
  report

Whole films validate and test: the net gives an age at each place of its map
where a crop fits, and the film's age is their mean.

  python -m boneage_jax.main --config=configs/transfer.py:googlenet,phantom
  python -m boneage_jax.main --config=configs/transfer.py:vgg16,offtheshelf \
    --config.manual_dir=DIR --config.features.pretrained.backbone.path=FILE
  python -m boneage_jax.main --config=configs/transfer.py:inception_v3,half \
    --config.manual_dir=DIR --config.finetune.pretrained.backbone.path=FILE

docs/how-to/transfer.md names the file of weights of each net. Features without
one are refused but with --config.allow_random_features=True.

Variants: a backbone, googlenet if none is named (overfeat, vgg16, mobilenet_v3,
inception_v3, resnet, xception, convnext, efficientnet), and a route, finetune
or offtheshelf, the first if none is named. Presets: phantom (random weights;
minutes on two cores), half (half-size films); without one, an archive at full
size. The paper's figure of each net is not known to us; that of its own net
stands in bonet.py.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system

# Paper: these three, OxfordNet being VGG-16. Their deepest layer without
# classes, a fully connected one where there is one.
BACKBONES = dict(
  googlenet=dict(name='googlenet', width=1.0, endpoint='inception5b'),
  overfeat=dict(name='overfeat', width=1.0, endpoint='fc7'),
  vgg16=dict(name='vgg16', width=1.0, endpoint='fc7'),
)
# Ours.
BACKBONES |= dict(
  mobilenet_v3=dict(name='mobilenet_v3', width=1.0, endpoint='top'),
  inception_v3=dict(name='inception_v3', width=1.0, endpoint='mixed10'),
  resnet=dict(name='resnet', width=1.0, depth=50, endpoint='stage4'),
  xception=dict(name='xception', width=1.0, endpoint='block14'),
  convnext=dict(name='convnext', width=1.0, variant='tiny', endpoint='norm'),
  efficientnet=dict(
    name='efficientnet', width=1.0, variant='b0', endpoint='top'
  ),
)
ROUTES = ('finetune', 'offtheshelf')
SIZE, CROP = 256, 7 / 8  # ours: of films; of crops, 224 pixels
OVERFEAT_SIZE = 264  # ours: crops have the 231 pixels of its paper
# Ours: where random weights diverge at the paper's rate, the largest that were
# tried and do not, by route.
RATES = dict(
  offtheshelf=dict(overfeat=2e-5, vgg16=2e-7, efficientnet=1e-3),
  finetune=dict(overfeat=2e-4, vgg16=2e-8, convnext=5e-4),
)
SD_AGE = 41.2  # months, of the training films; see heads/age.py


def get_config(variant: str = '') -> ConfigDict:
  """A backbone and a route, or a preset of them."""
  config = system.base('transfer', variant)
  config.allow_random_features = False
  chosen, preset = presets.parse(config, VARIANTS, PRESETS)
  backbone = one_of(chosen, BACKBONES)
  route = one_of(chosen, ROUTES)
  size = OVERFEAT_SIZE if backbone == 'overfeat' else SIZE
  if route == 'offtheshelf':
    config.stages = ('prepare', 'features', route, 'report')
    config.features = features_stage(BACKBONES[backbone], size)
  else:
    config.stages = ('prepare', route, 'report')
  config[route] = age_stage(BACKBONES[backbone], route, size)
  config.report = common.report_stage(stage=route)
  if preset:
    PRESETS[preset](config)
  return presets.lock(config)


def one_of(chosen: list[str], names: tuple[str, ...] | dict) -> str:
  """Return the one of the variants among `names`, the first name if none is.

  Raises:
    ValueError: there are several.
  """
  found = [name for name in chosen if name in names]
  if len(found) > 1:
    raise ValueError(
      f'Expected at most one of {", ".join(names)}, got {", ".join(found)}.'
    )
  return found[0] if found else next(iter(names))


def film_input(size: int) -> dict:
  """Films and crops of them, of one place and tone; ours but for the crops."""
  return common.image_input(
    builder_config='px512',
    size=size,
    crop=CROP,
    percentiles=(1.0, 99.0),
  )


def net(backbone: dict) -> dict:
  """The net: a backbone and the paper's regression network."""
  return common.age_net(
    backbone=backbone,
    pool='gap_map',
    output='standardized',  # ours
    sex_features=0,  # paper
    hidden=2048,  # ours
    fc_layers=1,  # paper: one or two
    bn_momentum=0.99,  # ours
  )


def features_stage(backbone: dict, size: int) -> dict:
  """The stage that computes what a frozen net sees.

  Ours: random nets have BatchNorm statistics of training films.
  """
  return dict(
    job='features',
    seed=0,
    input=film_input(size),
    net=net(backbone),
    pretrained=dict(backbone=common.weights()),
    eval_batch_size=16,
  )


def age_stage(backbone: dict, route: str, size: int) -> dict:
  """The stage that trains, on crops or on features of `features`."""
  section = common.train_stage(
    input=film_input(size),
    net=net(backbone),
    loss=dict(name='mse', unit=SD_AGE),  # paper; ours: of standardized ages
    optimizer=sgd(),
    batch_size=4,  # paper (Chirawu 2022)
    eval_batch_size=16,
    epochs=30,  # ours
  )
  if route == 'offtheshelf':
    section['input']['features_from'] = 'features'
  else:
    section['pretrained'] = dict(backbone=common.weights())
    if backbone['name'] == 'googlenet':
      section['net']['backbone'] = {**backbone, 'auxiliary': True}  # paper's
  return section


def sgd() -> dict:
  """The update rule of all nets of the paper."""
  return common.optimizer(
    name='sgd',  # paper
    b1=0.0,  # ours: no momentum is named
    learning_rate=0.002,  # paper (Chirawu 2022)
    schedule='inverse',  # ours: a reading of "decay"
    lr_decay=0.0002,  # paper (Chirawu 2022)
  )


def phantom(config: ConfigDict) -> None:
  """Random weights; films of 128 pixels, but for OverFeat."""
  presets.phantom(config)
  config.allow_random_features = True
  for section in _with_nets(config):  # ours, as all that follows
    section.net.bn_momentum = 0.9
    backbone = section.net.backbone
    if backbone.name != 'overfeat':
      section.input.size = 128
    if backbone.name == 'vgg16':  # its fc6 does not fit crops of 112 pixels
      backbone.endpoint = 'block5'
    if 'epochs' in section:
      section.epochs = 8
  for route, rates in RATES.items():
    if route in config:
      rule = config[route].optimizer
      rule.learning_rate = rates.get(backbone.name, rule.learning_rate)


def half(config: ConfigDict) -> None:
  """An archive of half-size films."""
  presets.half(config)
  for section in _with_nets(config):  # ours
    if section.net.backbone.name == 'inception_v3':
      section.net.backbone.endpoint = presets.HALF_BACKBONE['endpoint']
    if 'epochs' in section:
      section.epochs = 8


def _with_nets(config: ConfigDict) -> list[ConfigDict]:
  return [config[name] for name in config.stages if 'net' in config[name]]


VARIANTS = (*BACKBONES, *ROUTES)
PRESETS = dict(phantom=phantom, half=half)
