"""Liao et al. 2022: a net told by human masks where in the film to look.

Stages
  prepare      archive (or phantoms) to array_record
  guided_net   ResNet-50, one map per output pooled by its own attention; where
               a reader marked the film, attention outside the mask costs
  report       errors with intervals
The variant `fracture` has `classifier` in the place of `guided_net`: its report
has the accuracy of films and of hands.

  python -m boneage_jax.main --config=configs/guided.py:fracture
  python -m boneage_jax.main --config=configs/guided.py:phantom
  python -m boneage_jax.main --config=configs/guided.py \
    --config.manual_dir=DIR_OF_THE_RSNA_ARCHIVE_WITH_annotations/

Variant: fracture (the paper's task: which bone is broken; on phantoms of its
own, so that it takes no preset). Otherwise the net tells bone age, guided by
boxes of the joints or else the outline or box of the hand.
Presets: phantom, thumbnails (100 px films); without one, the archive at full
size. docs/results.md has the figures that runs of ours reached.

The sweep of the paper's tables, fewer films and weaker or stronger guidance:

  for n in 5 10 20 0; do for w in 0 0.01 0.1 1; do
    python -m boneage_jax.main --config=configs/guided.py:fracture \
      --config.data.labelled_per_class=$n \
      --config.classifier.guidance.weight=$w --workdir=runs/fracture_${n}_$w
  done; done

With `--config.classifier.net.pool=cam_mean` the maps are averaged, as the paper
does without guidance. Any age net can be guided, e.g. the cascade's localizer:
`--config.localizer.guidance.weight=0.1
--config.localizer.guidance.mask="('wrist_box',)"`. docs/explanation/guided.md
says more.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system


def get_config(variant: str = '') -> ConfigDict:
  """Liao 2022, its variant or a preset of it."""
  config = system.base('guided', variant)
  variants, preset = presets.parse(config, VARIANTS, PRESETS)
  if variants and preset:
    raise ValueError(
      'Expected --config=configs/guided.py:fracture without a preset, as it '
      f'makes phantoms of its own, got {variant!r}.'
    )
  if variants:
    fracture(config)
    return presets.lock(config)
  config.stages = ('prepare', 'guided_net', 'report')
  config.guided_net = guided_stage()
  config.report = common.report_stage(stage='guided_net')
  return presets.apply(config, VARIANTS, PRESETS)


def guided_stage() -> ConfigDict:
  """The paper's net and rule, for bone age."""
  section = common.train_stage(
    input=common.image_input(
      builder_config='px768',
      # Paper. Its code of birds trains on random crops of 448 pixels
      # (RandomResizedCrop) and judges the middle 448 of films resized to 512
      # (CenterCrop), which would cut off fingers.
      size=512,
      rotate=10.0,  # ours, in the place of the random crop
      zoom=0.1,  # ours
      shift=0.05,  # ours
      flip=True,  # authors' code
    ),
    net=common.age_net(
      # Paper; authors' code: torchvision's form, which strides in the 3x3.
      backbone=dict(name='resnet', depth=50, width=1.0, variant='v1.5'),
      pool='cam',  # paper: logits weighted by attention; or 'cam_mean'
      output='bins',  # ours: the paper has classes of fractures
      sex_features=32,  # ours: the paper knows no sex
    ),
    pretrained=dict(backbone=common.weights()),  # paper: ImageNet
    loss=common.label_distribution(delta=15.0, kl_weight=0.5),  # ours
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
      nesterov=False,
      weight_decay=1e-4,
      weight_decay_on='all',
      schedule='steps',
      boundaries=(30 / 95, 60 / 95, 90 / 95),
      lr_factors=(0.1, 0.1, 0.1),
    ),
    batch_size=32,  # authors' code
    epochs=95,  # authors' code
    checkpoint_selection='last',  # authors' code
  )
  return ConfigDict(section)


def fracture(config: ConfigDict) -> None:
  """The paper's task on phantoms: which bone is broken, if any.

  Two films of each hand vote (paper: study-wise accuracy). Few training films
  keep their label and mask; validation and test films keep theirs.
  """
  config.stages = ('prepare', 'classifier', 'report')
  config.data.update(
    classes=('none', 'phalanx', 'metacarpal', 'radius'),  # ours
    labelled_per_class=20,  # authors' code: 5, 10, 15 or 20
    validation_fraction=0.15,  # ours
    test_fraction=0.45,  # ours
  )
  config.phantom.update(films=800, fractures=0.75, views=2)  # ours
  config.classifier = guided_stage()
  config.classifier.loss = ConfigDict(dict(name='cross_entropy'))  # paper
  config.classifier.update(
    task='classification',
    steps=600,  # ours
    eval_steps=200,  # ours
    epochs=0,
    checkpoint_selection='best',  # ours
  )
  config.classifier.input.update(builder_config='original', size=256)  # ours
  config.classifier.net.update(
    output='classes',  # paper
    classes=4,
    sex_features=0,  # paper: no sex
  )
  presets.short_training(config.classifier)
  config.classifier.net.backbone = ConfigDict(
    dict(name='resnet', depth=18, width=0.5, endpoint='stage2')  # ours
  )
  config.classifier.guidance.update(
    weight=1.0,  # paper: 0.1 to 1
    mask=('fracture_boxes',),  # paper
  )
  config.report = common.report_stage(job='classes', stage='classifier')


def phantom(config: ConfigDict) -> None:
  """A small net, guided by boxes of the joints; all ours."""
  presets.phantom(config)
  presets.short_training(config.guided_net)
  config.guided_net.update(epochs=16, checkpoint_selection='best')
  config.guided_net.input.update(
    size=128, rotate=5.0, zoom=0.0, shift=0.0, flip=False
  )
  config.guided_net.net.backbone = ConfigDict(
    dict(name='inception_v3', width=0.25, endpoint='mixed2')
  )
  config.guided_net.guidance.mask = ('ossification_boxes',)


def thumbnails(config: ConfigDict) -> None:
  """A small net from random weights; few thumbnails carry masks; all ours."""
  presets.thumbnails(config)
  config.guided_net.update(epochs=36, ema=0.99, checkpoint_selection='best')
  config.guided_net.input.update(size=100, rotate=7.0, zoom=0.05, shift=0.03)
  config.guided_net.net.bn_momentum = 0.95
  config.guided_net.net.backbone = ConfigDict(
    dict(name='inception_v3', width=0.4, endpoint='mixed7')
  )
  config.guided_net.loss.update(delta=5.0, kl_weight=1.0)
  config.guided_net.optimizer = ConfigDict(common.fast_optimizer())


VARIANTS = dict(fracture=fracture)
PRESETS = dict(phantom=phantom, thumbnails=thumbnails)
