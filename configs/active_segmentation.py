"""Zhao 2018 and Pan 2020: few outlined films, chosen by a committee of nets.

Stages
  prepare  archive (or phantoms) to array_record
  random   the same as `active` with films chosen at random, to compare with
  active   two U-Nets learn from the labelled films; those on which they differ
           most are labelled next, round by round; then all films are masked

  python -m boneage_jax.main --config=configs/active_segmentation.py:phantom
  python -m boneage_jax.main --config.manual_dir=DIR \
    --config=configs/active_segmentation.py:thumbnails
  python -m boneage_jax.evaluate learning-curve runs/active_segmentation_phantom

The archive's annotations/ answer, see docs/reference/data.md. With
--config.active.oracle=person --config.stages=prepare,active a person does: the
command says which films to outline and ends; the same command goes on. Films
for validation are outlined in annotations/ in either case.

Presets: phantom (minutes on two cores), thumbnails (100 px films); without one,
the archive at full size. There are no variants.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system


def get_config(variant: str = '') -> ConfigDict:
  """Active learning of masks, or a preset of it."""
  config = system.base('active_segmentation', variant)
  config.stages = ('prepare', 'random', 'active')
  config.active = active_stage()
  config.random = active_stage()
  config.random.query = 'random'
  return presets.apply(config, VARIANTS, PRESETS)


def active_stage() -> ConfigDict:
  """A committee of U-Nets, and how films are chosen for them."""
  section = common.train_stage(
    task='segmentation',
    input=common.image_input(
      builder_config='px512',
      size=256,  # authors' code
      resize='letterbox',  # ours
      percentiles=(1.0, 99.0),  # ours
      masks=('hand_polygons',),  # paper
      # Ours, all of it.
      **common.light_augmentation() | dict(rotate=15.0, zoom=0.1, shift=0.05),
    ),
    net=dict(
      name='unet',  # paper
      width=1.0,  # authors' code: 32 filters at the finest level
      levels=5,  # authors' code: four poolings
      bn_momentum=0.0,  # ours: the net's own, 0.9
      dtype='float32',
      remat=False,
    ),
    # Authors' code: cross-entropy and Dice. Theirs is of numbers that a sigmoid
    # has seen already; ours is of logits.
    loss=dict(name='segmentation', overlap='dice'),
    optimizer=common.optimizer(
      name='rmsprop',  # authors' code, as the rest of it
      learning_rate=1e-4,
      eps=1e-7,
      schedule='steps',
      boundaries=(0.5,),
      lr_factors=(0.5,),
    ),
    batch_size=4,  # authors' code
    eval_batch_size=8,  # ours
    epochs=0,
    steps=7500,  # authors' code: 100 epochs, of Pan's 300 films
    eval_steps=750,  # ours
    # Ours: the films that judge a net have no part in it.
    checkpoint_selection='last',
  )
  fields = dict(
    job='active',
    # Labelled films in each round. Pan 2020: 300 at the start; ours: the rest.
    rounds=(300, 400, 500),
    committee=2,  # authors' code
    query='dissimilar',  # or 'random'
    # Ours: of probability maps. Authors' code: 'features', the cosine of the
    # last maps of features, whose channels differ from net to net.
    dissimilarity='maps',
    oracle='annotations',  # or 'person'
    corrected='',  # folder of masks that people corrected, <id>.png
    accept=dict(  # of masks at the end, see imaging/mask_quality.py; all ours
      area_factors=(0.8, 1.25),
      component=0.97,
      mirror_iou=0.9,
      percentile=95.0,
    ),
  )
  return ConfigDict({**section, **fields})


def phantom(config: ConfigDict) -> None:
  """Narrow nets on small films; all ours."""
  presets.phantom(config)
  for name in ('active', 'random'):
    short(config[name])
    config[name].rounds = (10, 20, 40, 80)


def thumbnails(config: ConfigDict) -> None:
  """The same on films of 100 px, of which few are outlined; all ours."""
  presets.thumbnails(config)
  for name in ('active', 'random'):
    short(config[name])
    config[name].rounds = (5, 10, 20)


def short(stage: ConfigDict) -> None:
  """Let narrow nets learn from small films in few steps; ours."""
  stage.input.update(builder_config='original', size=96, resize='squash')
  stage.net.width = 0.25
  stage.update(steps=400, eval_steps=400, ema=0.98)
  stage.optimizer = ConfigDict(common.fast_optimizer(learning_rate=4e-3))


VARIANTS = dict()
PRESETS = dict(phantom=phantom, thumbnails=thumbnails)
