"""Ours, for an archive of half-size films: one larger net and the cascade.

Stages
  prepare      archive to array_record
  orientation  a small net that turns back films on their side or upside down
  baseline_resnet18   a small net from random weights, to compare with
  inception           Inception-V3 on the whole film
  finetune_corrupted  it goes on with films most of which are corrupted
  localizer, regions, assessor  the cascade, configs/cascade.py:half
  ensemble     the weighted mean of `finetune_corrupted`, localizer and assessor
  report       errors with intervals, pictures
Not run unless --config.stages names it
  finetune     `inception` goes on with films as they are

  python -m boneage_jax.main --config=configs/best_half.py \
    --config.manual_dir=DIR \
    --config.inception.pretrained.backbone.path=INCEPTION_V3 \
    --config.localizer.pretrained.backbone.path=INCEPTION_V3 \
    --config.assessor.pretrained.carpal.path=INCEPTION_V3 \
    --config.assessor.pretrained.metacarpal.path=INCEPTION_V3

There are neither variants nor presets. docs/results.md has the figures that
runs of ours reached. All values are ours but those of the cascade.
"""

from ml_collections import ConfigDict

from configs import best
from configs import cascade
from configs import common
from configs import presets
from configs import system


def get_config(variant: str = '') -> ConfigDict:
  """The system for half-size films."""
  config = system.base('best_half', variant)
  presets.parse(config, VARIANTS, PRESETS)
  config.data.crop_borders = True
  best.add_cascade(config)
  presets.half(config)
  cascade.half_nets(config)
  config.baseline_resnet18 = best.baseline_resnet18(
    dict(size=224, rotate=10.0), batch_size=16, epochs=20
  )
  config.inception = best.whole_film(
    # Not corrupted: it has few steps.
    dict(size=320, resize='letterbox', rotate=10.0),
    net=dict(
      backbone=presets.HALF_BACKBONE,
      attention='cbam',
      pool='gmp',
      bn_momentum=0.9,
    ),
    learning_rate=4e-4,
    batch_size=16,
    eval_batch_size=16,
    epochs=8,
  )
  config.inception.optimizer.freeze = presets.HALF_FREEZE
  config.finetune = common.finetune(
    config.inception, run=':inception', learning_rate=2e-4, seed=4
  )
  config.finetune_corrupted = common.finetune(
    config.inception,
    run=':inception',
    input=dict(rotate=30.0, corruption_prob=0.8),
    learning_rate=2e-4,
    checkpoint_selection='last',  # validation films are as they are
    seed=4,
  )
  for stage in (config.localizer, config.assessor):
    stage.tta.update(config.inception.tta)
  best.add_ensemble(
    config,
    nets=('baseline_resnet18', 'inception', 'finetune_corrupted'),
    members=('finetune_corrupted', 'localizer', 'assessor'),
    others=('inception', 'baseline_resnet18'),
  )
  return presets.lock(config)


VARIANTS = dict()
PRESETS = dict()
