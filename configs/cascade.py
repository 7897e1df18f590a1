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

Variants: phantom (minutes on a laptop), strict (Li to the letter: mean squared
error on one number, whole exchange), thumbnails (100 px films), half
(half-size films). Figures that runs of ours reached stand in docs/results.md.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = '') -> ConfigDict:
  """The cascade of Li 2023, or one of its variants."""
  config = common.base('cascade', variant)
  config.stages = ('prepare', 'localizer', 'regions', 'assessor', 'report')

  augmentation = dict(
    rotate=20.0,  # authors' code (Chen); Li names rotation without a range
    brightness=0.2,  # ours; Li names it without a range
    contrast=0.2,  # ours
  )
  config.localizer = common.train_stage(
    input=common.image_input(
      builder_config='px768',
      size=300,
      **augmentation,  # 300: paper
    ),
    net=dict(
      name='age_net',
      backbone=dict(
        name='inception_v3', width=1.0, endpoint='mixed10'
      ),  # paper
      attention='cbam',  # paper: after the backbone
      pool='gap',
      output='bins',  # ours: soft labels of Chen 2020
      readout='argmax',
      sex_features=0,
      dropout=0.0,
      bn_momentum=0.0,
      dtype='float32',
    ),
    pretrained=dict(backbone=common.weights()),  # paper: ImageNet
    loss=dict(name='soft_label', half_width=50.0),  # paper (Chen, eq. 5)
    optimizer=common.optimizer(learning_rate=3e-4),  # paper
    batch_size=32,  # authors' code (Chen)
    epochs=30,  # paper
  )
  config.regions = dict(
    job='locate',
    localizer='localizer',  # the stage whose net looks
    input=dict(builder_config='original'),  # crops are cut from these films
    # Grad-CAM of the mean logit near the estimate; or 'probability', 'age'.
    target='window',
    method='grad_cam',  # paper (Li); or 'hires_cam'
    mirror=False,  # average with the map of the mirrored film; ours
    regions=('carpal', 'metacarpal'),
    threshold=(50 / 255, 50 / 255),  # paper (Chen, Table I)
    component='peak',  # paper (Li): the peak-attention area
    minimum_side=(0.2, 0.2),  # ours, of the film
    margin=0.0,
    smooth=0.0,
    fill='black',  # paper (Li)
    crop_size=300,  # paper
    crop_margin=0.15,  # ours: room for rotation
    batch_size=16,
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
      threshold=2e-2,  # paper (Wang 2020)
      penalty=2e-4,  # paper (Wang 2020)
      pool='conv_pool',  # paper (Fig. 7)
      output='bins',
      readout='expectation',
      sex_features=32,  # authors' code (Chen)
      dropout=0.0,
      bn_momentum=0.0,
      dtype='float32',
    ),
    pretrained=dict(carpal=common.weights(), metacarpal=common.weights()),
    loss=dict(name='label_distribution', delta=15.0, kl_weight=0.5),  # ours
    optimizer=common.optimizer(learning_rate=3e-4),  # paper
    batch_size=32,  # authors' code (Chen)
    epochs=30,  # paper
  )
  config.upright = (
    common.upright_stage()
  )  # for input.orientation_from; no paper has it
  config.upright.input.builder_config = 'px768'
  config.report = dict(
    job='report', stage='assessor', regions_from='regions', baselines=()
  )
  return common.choose(
    config,
    dict(strict=strict, phantom=phantom, half=half, thumbnails=thumbnails),
  )


def strict(config: ConfigDict) -> None:
  """Li 2023 to the letter: one number, mean squared error, whole exchange."""
  for net in (config.localizer.net, config.assessor.net):
    net.output = 'scalar'
  config.localizer.loss = ConfigDict(dict(name='mse'))
  config.assessor.loss = ConfigDict(dict(name='mse'))
  config.assessor.net.exchange = 'whole'
  config.regions.target = 'age'


def phantom(config: ConfigDict) -> None:
  """Synthetic films, small nets: the whole cascade in minutes on two cores."""
  config.phantom.films = 1600
  config.data.update(dict(validation_fraction=0.08, test_fraction=0.15))
  small_nets(config)


def small_nets(config: ConfigDict) -> None:
  """Nets of a quarter of the width on small inputs, from random weights."""
  for stage in (config.localizer, config.assessor):
    stage.update(dict(batch_size=16, ema=0.98))
    stage.net.bn_momentum = 0.9
    stage.loss = ConfigDict(
      dict(name='label_distribution', delta=10.0, kl_weight=1.0)
    )
    stage.optimizer = ConfigDict(common.fast_optimizer())
    stage.input.update(dict(percentiles=(1.0, 99.0), rotate=5.0))
  config.upright.input.builder_config = 'original'
  config.localizer.epochs = 16
  config.assessor.epochs = 10
  config.localizer.input.update(
    dict(builder_config='original', size=128, cutout=2)
  )
  config.localizer.net.update(
    # Without CBAM: at this size its spatial gate narrows the map to one bone.
    dict(readout='expectation', sex_features=32, pool='gmp', attention='none')
  )
  config.localizer.net.backbone.update(dict(width=0.25, endpoint='mixed2'))
  config.regions.update(
    dict(
      target='age',
      method='hires_cam',  # behind maximum pooling, see gradcam.py
      mirror=True,
      threshold=(0.3, 0.1),
      minimum_side=(0.3, 0.55),
      smooth=0.1,
      crop_size=96,
    )
  )
  config.assessor.input.size = 96
  config.assessor.net.pool = 'gap'
  config.assessor.net.carpal.width = 0.25
  config.assessor.net.metacarpal.width = 0.25


def half(config: ConfigDict) -> None:
  """Films at half size: sizes and lengths that two cores manage in an hour.

  All three backbones are Inception-V3 up to mixed7 (17 x 17 at 300 px keeps
  more of the place than 8 x 8), so that one file of ImageNet weights serves
  them; the localizer is also the whole-film net to compare with.
  """
  config.data.update(dict(validation_fraction=0.10, test_fraction=0.15))
  frozen = '(backbone|carpal|metacarpal)/(stem|mixed[012])/'
  inception = ConfigDict(
    dict(name='inception_v3', width=1.0, endpoint='mixed7')
  )
  for stage in (config.localizer, config.assessor):
    stage.update(dict(batch_size=16, eval_batch_size=16, epochs=8, ema=0.98))
    stage.net.update(dict(bn_momentum=0.9, sex_features=32))
    stage.loss = ConfigDict(
      dict(name='label_distribution', delta=10.0, kl_weight=1.0)
    )
    stage.optimizer = ConfigDict(common.fast_optimizer())
    stage.optimizer.update(dict(learning_rate=4e-4, freeze=frozen))
    stage.input.update(
      dict(percentiles=(1.0, 99.0), rotate=10.0, zoom=0.1, flip=True)
    )
  config.localizer.input.update(
    dict(builder_config='original', size=224, shift=0.05)
  )
  config.localizer.net.update(dict(readout='expectation', pool='gmp'))
  config.localizer.net.backbone = inception
  config.regions.update(
    dict(
      method='hires_cam',  # behind maximum pooling, see gradcam.py
      mirror=True,
      threshold=(0.5, 0.2),
      minimum_side=(0.3, 0.5),
      crop_size=160,
    )
  )
  config.assessor.input.size = 160
  config.assessor.net.update(dict(pool='gap', exchange='none'))
  config.assessor.net.carpal = inception
  config.assessor.net.metacarpal = inception
  config.upright.input.builder_config = 'original'
  config.report.baselines = ('localizer',)


def thumbnails(config: ConfigDict) -> None:
  """Films squashed to 100 px: the small cascade and one net on the whole film.

  So few pixels leave the regions little to add: the whole-film net is the one
  to use: `--config.stages="('prepare','whole')" --config.report.stage=whole`
  trains it alone, for `predict` too.
  """
  small_nets(config)
  config.data.update(dict(validation_fraction=0.05, test_fraction=0.15))
  for stage in (config.localizer, config.assessor):
    stage.input.update(dict(zoom=0.05, shift=0.03, flip=True))
  config.whole = common.train_stage(
    input=common.image_input(
      builder_config='original', size=100, **common.light_augmentation()
    ),
    net=common.age_net(
      backbone=dict(name='inception_v3', width=0.4, endpoint='mixed7'),
      pool='gmp',
      bn_momentum=0.95,
    ),
    loss=dict(name='label_distribution', delta=5.0, kl_weight=1.0),
    optimizer=common.fast_optimizer(),
    epochs=36,
    ema=0.99,
  )
  config.stages = (*config.stages[:-1], 'whole', 'report')
  config.report.baselines = ('whole',)
