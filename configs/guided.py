"""Liao et al. 2022: a net told by human masks where in the film to look.

Stages
  prepare    archive (or phantoms) to array_record
  net        ResNet-50, one map per output pooled by its own attention; where a
             reader marked the film, attention outside the mask costs
  report     errors with intervals; of fractures, accuracy of films and hands

  python -m boneage_jax.main --config=configs/guided.py:fracture
  python -m boneage_jax.main --config=configs/guided.py \
    --config.manual_dir=DIR_OF_THE_RSNA_ARCHIVE_WITH_annotations/

Variants: none (bone age on real films, guided by boxes of the joints or
else the outline or box of the hand), phantom (the same on phantoms), thumbnails
(100 px films), fracture (the paper's task, on phantoms: which bone is broken).

The sweep of the paper's tables, fewer films and weaker or stronger guidance:

  for n in 5 10 20 0; do for w in 0 0.01 0.1 1; do
    python -m boneage_jax.main --config=configs/guided.py:fracture \
      --config.data.labelled_per_class=$n --config.net.guidance.weight=$w \
      --workdir=runs/fracture_${n}_$w
  done; done

With `--config.net.net.pool=cam_mean` the maps are averaged, as the paper does
without guidance. Any age net can be guided, e.g. the cascade's localizer:
`--config.localizer.guidance.weight=0.1
--config.localizer.guidance.mask="('wrist_box',)"`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = '') -> ConfigDict:
  """Liao 2022 as docs/guided.md reads it, or one of its variants."""
  config = common.base('guided', variant)
  config.stages = ('prepare', 'net', 'report')
  config.net = common.train_stage(
    input=common.image_input(
      builder_config='px768',
      size=512,  # paper
      rotate=10.0,  # ours; the authors crop at random (RandomResizedCrop)
      zoom=0.1,  # ours
      shift=0.05,  # ours
      flip=True,  # authors' code
    ),
    net=dict(
      name='age_net',
      backbone=dict(name='resnet', depth=50, width=1.0),  # paper
      attention='none',
      pool='cam',  # paper: logits weighted by attention; or 'cam_mean'
      output='bins',  # ours: the paper has classes of fractures
      readout='expectation',
      classes=0,
      sex_features=32,  # ours: the paper knows no sex
      dropout=0.0,
      bn_momentum=0.0,
      dtype='float32',
    ),
    pretrained=dict(backbone=common.weights()),  # paper: ImageNet
    loss=dict(name='label_distribution', delta=15.0, kl_weight=0.5),  # ours
    guidance=common.guidance(
      weight=0.1,  # paper: best between 0.1 and 1, by data set
      mask=('ossification_boxes', 'hand_polygons', 'hand_box'),  # ours
      normalise='per_pixel',  # authors' code
      resample='nearest',  # authors' code
    ),
    optimizer=common.optimizer(
      name='sgd',  # authors' code, as the rest of it
      learning_rate=1e-3,
      b1=0.9,
      weight_decay=1e-4,
      schedule='steps',
      boundaries=(30 / 95, 60 / 95, 90 / 95),
      lr_factors=(0.1, 0.1, 0.1),
    ),
    batch_size=32,  # authors' code
    epochs=95,  # authors' code
  )
  config.report = dict(job='report', stage='net', regions_from='', baselines=())
  return common.choose(
    config,
    dict(phantom=phantom, thumbnails=thumbnails, fracture=fracture),
  )


def small(config: ConfigDict, **backbone) -> None:
  """A small net from random weights, and little time; all ours."""
  config.net.update(dict(batch_size=16, ema=0.98))
  config.net.net.bn_momentum = 0.9
  config.net.net.backbone = ConfigDict(backbone)
  config.net.input.update(
    dict(builder_config='original', percentiles=(1.0, 99.0))
  )
  config.net.optimizer = ConfigDict(common.fast_optimizer())


def phantom(config: ConfigDict) -> None:
  """Bone age of phantoms, guided by boxes of the joints."""
  config.phantom.films = 1600
  config.data.update(dict(validation_fraction=0.08, test_fraction=0.15))
  small(config, name='inception_v3', width=0.25, endpoint='mixed2')
  config.net.epochs = 16
  config.net.input.update(dict(size=128, rotate=5.0, zoom=0.0, shift=0.0))
  config.net.input.flip = False
  config.net.loss.update(dict(delta=10.0, kl_weight=1.0))
  config.net.guidance.mask = ('ossification_boxes',)


def thumbnails(config: ConfigDict) -> None:
  """Films squashed to 100 px; few of them carry masks."""
  config.data.update(dict(validation_fraction=0.05, test_fraction=0.15))
  small(config, name='inception_v3', width=0.4, endpoint='mixed7')
  config.net.update(dict(batch_size=32, epochs=36, ema=0.99))
  config.net.input.update(dict(size=100, rotate=7.0, zoom=0.05, shift=0.03))
  config.net.input.percentiles = ()
  config.net.loss.update(dict(delta=5.0, kl_weight=1.0))
  config.net.net.bn_momentum = 0.95


def fracture(config: ConfigDict) -> None:
  """The paper's task on phantoms: which bone is broken, if any.

  Two films of each hand vote (paper: study-wise accuracy). Few training films
  keep their label and mask; validation and test films keep theirs.
  """
  config.data.classes = ('none', 'phalanx', 'metacarpal', 'radius')
  config.data.labelled_per_class = 20  # authors' code: 5, 10, 15 or 20
  config.data.update(dict(validation_fraction=0.15, test_fraction=0.45))
  config.phantom.update(dict(films=800, long_side=512, fractures=0.75, views=2))
  small(config, name='resnet', depth=18, width=0.5, endpoint='stage2')
  config.net.input.update(dict(size=256, rotate=10.0, shift=0.05))
  config.net.net.update(
    dict(output='classes', classes=4, sex_features=0)  # paper: no sex
  )
  config.net.loss = ConfigDict(dict(name='cross_entropy'))  # paper
  config.net.guidance.update(
    dict(weight=1.0, mask=('fracture_boxes',))  # paper: 0.1 to 1, box
  )
  config.net.update(dict(steps=600, eval_steps=200, epochs=0))
  config.report = ConfigDict(dict(job='classes', stage='net', baselines=()))
