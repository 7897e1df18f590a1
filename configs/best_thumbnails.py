"""Ours, for an archive of 100 px films: one net that goes on three times.

Regions have no more detail at this size, and an ensemble of the nets gains
nothing.

Stages
  prepare      archive to array_record
  orientation  a small net that turns back films on their side or upside down
  baseline_resnet18   a small net from random weights, to compare with
  inception           Inception-V3 on the whole film
  finetune            it goes on, in a new film order and at a low rate
  finetune_140px      it goes on, on larger inputs
  finetune_corrupted  it goes on with films most of which are corrupted
  report       errors with intervals, pictures

  python -m boneage_jax.main --config=configs/best_thumbnails.py \
    --config.manual_dir=DIR \
    --config.inception.pretrained.backbone.path=INCEPTION_V3

There are neither variants nor presets. docs/results.md has the figures that
runs of ours reached. All values are ours. Borders stay on the films: cutting
them off has no effect that is told apart from none.
"""

from ml_collections import ConfigDict

from configs import best
from configs import common
from configs import orientation_net
from configs import presets
from configs import system


def get_config(variant: str = '') -> ConfigDict:
  """The system for thumbnails."""
  config = system.base('best_thumbnails', variant)
  presets.parse(config, VARIANTS, PRESETS)
  nets = ('inception', 'finetune', 'finetune_140px', 'finetune_corrupted')
  config.stages = (
    *('prepare', 'orientation', 'baseline_resnet18', *nets, 'report'),
  )
  config.orientation = orientation_net.stage()
  config.baseline_resnet18 = best.baseline_resnet18(dict(size=108), epochs=12)
  config.inception = best.whole_film(
    # Not 100, as the films: those in step would be sharper than rotated ones.
    dict(size=124),
    net=dict(
      backbone=dict(name='inception_v3', width=1.0, endpoint='mixed7'),
      bn_momentum=0.95,
    ),
    learning_rate=4e-4,
    epochs=10,
    seed=2,
  )
  config.finetune = common.finetune(
    config.inception, run=':inception', learning_rate=2e-4, epochs=5, seed=3
  )
  config.finetune_140px = common.finetune(
    config.finetune,
    run=':finetune',
    input=dict(size=140),
    learning_rate=2e-4,
    epochs=6,
    seed=4,
  )
  config.finetune_corrupted = common.finetune(
    config.finetune_140px,
    run=':finetune_140px',
    input=dict(rotate=25.0, corruption_prob=0.8),
    learning_rate=2e-4,
    epochs=3,
    checkpoint_selection='last',  # validation films are as they are
    seed=5,
  )
  config.report = common.report_stage(
    stage='finetune_corrupted', baselines=(*nets[:-1], 'baseline_resnet18')
  )
  presets.thumbnails(config)
  return presets.lock(config)


VARIANTS = dict()
PRESETS = dict()
