"""Li et al. 2023: annotation-free cascade of critical regions with sex.

Stages
  prepare    archive (or phantoms) to array_record
  localizer  Inception-V3 + CBAM on whole films, 240 soft labels
  regions    Grad-CAM peak: carpal box; blacked out, the same net again:
             metacarpal/phalanx box; both crops cut from the film
  assessor   Xception (carpal) + ResNet50 (metacarpal), exchanged, with sex
  report     errors with intervals, regions, pictures

  python -m boneage_jax.main --config=configs/cascade.py:phantom
  python -m boneage_jax.main --config=configs/cascade.py \
    --config.manual_dir=DIR_OF_THE_RSNA_ARCHIVE

Variant: strict (Li to the letter: mean squared error on one number, whole
exchange).
Presets: phantom (minutes on two cores), thumbnails (100 px films; a net on the
whole film, `whole_image`, is trained, too, to compare with), half (half-size
films); without one, the archive at full size. docs/results.md has the figures
that runs of ours reached.
"""

from ml_collections import ConfigDict

from configs import common
from configs import orientation_net
from configs import presets
from configs import system
from configs import whole_image

# MAE in months, of which films, who says so.
PUBLISHED = (
  (5.45, 'RSNA, which films is not said', 'Li 2023, abstract'),
  (3.34, 'a hospital (CQJTJ), which films is not said', 'Li 2023, abstract'),
)
NAMES = dict(inception_v3='Inception-V3', xception='Xception', resnet='ResNet')


def get_config(variant: str = '') -> ConfigDict:
  """The cascade of Li 2023, a variant or a preset of it."""
  config = system.base('cascade', variant)
  config.stages = ('prepare', 'localizer', 'regions', 'assessor', 'report')
  add_stages(config)
  config.report = common.report_stage(
    stage='assessor',
    regions_from='regions',
    paper='Li 2023',
    published=(('assessor', 'the cascade', PUBLISHED),),
  )
  _, preset = presets.parse(config, VARIANTS, PRESETS)
  presets.apply(config, VARIANTS, PRESETS)
  config.report.differs = differs(config, preset)
  return config


def add_stages(config: ConfigDict) -> None:
  """Describe the stages of the cascade, and `orientation` for its inputs."""
  # Li names "resampling", rotation, contrast and brightness, without ranges. We
  # read the first as the resize to the net's input; nothing is drawn for it.
  augmentation = dict(
    rotate=20.0,  # authors' code (Chen)
    brightness=0.2,  # ours
    contrast=0.2,  # ours
  )
  # Ours: Adam, its constant rate and the net that is best on validation. Li
  # names the rate alone; Chen's code has Adam, too.
  training = dict(
    optimizer=common.optimizer(
      name='adam',
      learning_rate=3e-4,  # paper
      schedule='constant',
    ),
    batch_size=32,  # authors' code (Chen)
    epochs=30,  # paper
    checkpoint_selection='best',
  )
  config.localizer = common.train_stage(
    input=common.image_input(
      builder_config='px768',
      size=300,  # paper
      **augmentation,
    ),
    net=common.age_net(
      # Paper, without the auxiliary classifier that it mentions: Keras' form
      # without top, whose weights we take, has none.
      backbone=dict(name='inception_v3', width=1.0, endpoint='mixed10'),
      attention='cbam',  # paper: after the backbone
      pool='gap',  # ours
      output='bins',  # ours: soft labels of Chen 2020
      readout='argmax',  # ours, as is the next (Chen)
      sex_features=0,
    ),
    pretrained=dict(backbone=common.weights()),  # paper: ImageNet
    loss=dict(name='soft_label', half_width=50.0),  # paper (Chen, eq. 5)
    **training,
  )
  config.regions = common.locate_stage(
    localizer='localizer',
    target='window',  # ours
    method='grad_cam',  # paper (Li)
    regions=('carpal', 'metacarpal'),  # paper
    # Carpal: paper (Chen, Table I). Metacarpal: ours, that of the carpal.
    threshold=(50 / 255, 50 / 255),
    component='peak',  # paper (Li): the peak-attention area
    minimum_side=(0.2, 0.2),  # ours
    fill='black',  # paper (Li)
    crops=('carpal', 'metacarpal'),  # paper
    crop_size=300,  # paper
    crop_margin=0.15,  # ours: room for rotation
  )
  config.assessor = common.train_stage(
    input=common.image_input(
      builder_config='',
      crops_from='regions',
      size=300,  # paper
      crop_margin=0.15,
      **augmentation,
    ),
    net=dict(
      name='two_stream',
      carpal=dict(name='xception', width=1.0),  # paper
      metacarpal=dict(name='resnet', depth=50, width=1.0),  # paper
      exchange='channel',  # ours; Li exchanges whole maps, see :strict
      threshold=2e-2,  # authors' code (Wang 2020)
      penalty=2e-4,  # authors' code (Wang 2020), on disjoint halves
      # Paper (Fig. 7) on the Xception stream; ours on the ResNet stream.
      pool='conv_pool',
      output='bins',  # ours
      readout='expectation',  # ours
      sex_features=32,  # authors' code (Chen)
      joint_features=0,
      extra_inputs=(),
      extra_outputs=(),
      dropout=0.0,
      bn_momentum=0.0,
      dtype='float32',
      remat=False,
    ),
    pretrained=dict(carpal=common.weights(), metacarpal=common.weights()),
    loss=common.label_distribution(delta=15.0, kl_weight=0.5),  # ours
    **training,
  )
  # For input.orientation_from; no paper has it.
  config.orientation = orientation_net.stage()
  config.orientation.input.builder_config = 'px768'


def strict(config: ConfigDict) -> None:
  """Li 2023 to the letter: one number, mean squared error, whole exchange."""
  for stage in (config.localizer, config.assessor):
    stage.net.output = 'scalar'  # paper; ours: its bias starts at the mean age
    stage.loss = ConfigDict(dict(name='mse'))  # paper
  config.assessor.net.exchange = 'whole'  # paper
  config.regions.target = 'age'  # ours: one number has no bins


def phantom(config: ConfigDict) -> None:
  """Small nets: the whole cascade in minutes on two cores."""
  presets.phantom(config)
  small_nets(config)


def thumbnails(config: ConfigDict) -> None:
  """The small nets, and one net on the whole film.

  So few pixels leave the regions little to add. The net on the whole film is of
  the kind that finds the regions; configs/whole_image.py has a better one.
  """
  presets.thumbnails(config)
  small_nets(config)
  for stage in (config.localizer, config.assessor):
    stage.input.update(zoom=0.05, shift=0.03, flip=True)  # ours
  baseline = whole_image.get_config().unlock()
  whole_image.thumbnails_inception(baseline)
  config.whole_image = baseline.whole_image
  config.stages = (*config.stages[:-1], 'whole_image', 'report')
  config.report.baselines = ('whole_image',)


def half(config: ConfigDict) -> None:
  """Sizes and lengths that two cores manage in an hour."""
  presets.half(config)
  half_nets(config)
  config.report.baselines = ('localizer',)  # also a net on the whole film


def small_nets(config: ConfigDict) -> None:
  """Nets of a quarter of the width on small inputs, from random weights; ours.

  Without CBAM: at this size its spatial gate narrows the map to one bone.
  """
  for stage in (config.localizer, config.assessor):
    presets.short_training(stage)
    stage.input.rotate = 5.0
  config.localizer.epochs = 16
  config.localizer.input.update(size=128, cutout=2)
  config.localizer.net.update(
    readout='expectation', sex_features=32, pool='gmp', attention='none'
  )
  config.localizer.net.backbone.update(width=0.25, endpoint='mixed2')
  config.regions.update(
    target='age',
    method='hires_cam',  # behind maximum pooling, see gradcam.py
    mirror=True,
    threshold=(0.3, 0.1),
    minimum_side=(0.3, 0.55),
    smooth=0.1,
    crop_size=96,
  )
  config.assessor.epochs = 10
  config.assessor.input.size = 96
  config.assessor.net.pool = 'gap'
  config.assessor.net.carpal.width = 0.25
  config.assessor.net.metacarpal.width = 0.25


def half_nets(config: ConfigDict) -> None:
  """All three backbones are presets.HALF_BACKBONE, with one file of weights."""
  for stage in (config.localizer, config.assessor):
    presets.half_training(stage)
    stage.net.sex_features = 32  # ours, as the rest of it
  config.localizer.input.update(size=224, shift=0.05)
  config.localizer.net.update(readout='expectation', pool='gmp')
  config.regions.update(
    method='hires_cam',  # behind maximum pooling, see gradcam.py
    mirror=True,
    threshold=(0.5, 0.2),
    minimum_side=(0.3, 0.5),
    crop_size=160,
  )
  config.assessor.input.size = 160
  config.assessor.net.pool = 'gap'
  if config.assessor.net.exchange == 'channel':  # strict keeps its own
    config.assessor.net.exchange = 'none'


def differs(config: ConfigDict, preset: str) -> tuple[tuple[str, ...], ...]:
  """What is not as Li 2023 has it: (what, the paper's, here)."""
  finder, age = config.localizer, config.assessor
  sides = f'{finder.input.size}, {age.input.size} px'
  rate = f'{age.optimizer.learning_rate:g}, {age.optimizer.schedule}'
  rows = (
    ('films', 'full size', presets.FILMS.get(preset, 'full size')),
    ('inputs: film, crops', '300, 300 px', sides),
    ('localizer', 'Inception-V3', in_words(finder.net.backbone)),
    ('its attention', 'cbam', finder.net.attention),
    ('its map', 'grad_cam', config.regions.method),
    ('carpal stream', 'Xception', in_words(age.net.carpal)),
    ('metacarpal stream', 'ResNet-50', in_words(age.net.metacarpal)),
    ('exchange', 'whole', age.net.exchange),
    ('output', 'scalar', age.net.output),
    ('loss', 'mse', age.loss.name),
    ('learning rate', '0.0003, constant', rate),
    ('epochs', '30, 30', f'{finder.epochs}, {age.epochs}'),
  )
  return tuple(row for row in rows if row[1] != row[2])


def in_words(backbone: ConfigDict) -> str:
  """Name a backbone, its width and where it ends, as far as unusual."""
  name = NAMES[backbone.name]
  if 'depth' in backbone:
    name += f'-{backbone.depth}'
  if backbone.width != 1:
    name += f', width {backbone.width:g}'
  if backbone.get('endpoint', 'mixed10') != 'mixed10':
    name += f', to {backbone.endpoint}'
  return name


VARIANTS = dict(strict=strict)
PRESETS = dict(phantom=phantom, thumbnails=thumbnails, half=half)
