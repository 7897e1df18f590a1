"""Tiny systems that have, together, every kind of job: `tiny_jobs.py:KIND`."""

import active_run
from ml_collections import ConfigDict
import tiny_cascade
import tiny_registration
import transfer_run

from boneage_jax.core import stages
from configs import guided


def cascade():
  """Jobs prepare, train, locate, ensemble and report."""
  config = tiny_cascade.get_config()
  config.ensemble = ConfigDict(
    dict(job='ensemble', members=('localizer', 'assessor'), weights='mean')
  )
  config.stages = (*config.stages[:-1], 'ensemble', 'report')
  config.report.stage = 'ensemble'
  return config


def features():
  """Jobs features, train and report."""
  config = transfer_run.tiny()
  config.offtheshelf.update(
    epochs=0, steps=12, eval_steps=6, checkpoint_steps=1, log_steps=1
  )
  config.offtheshelf.optimizer.update(learning_rate=1e-3, grad_clip_norm=1.0)
  return config


def classes():
  """Jobs train (of classes) and classes."""
  config = guided.get_config('fracture').unlock()
  config.phantom.update(films=96, long_side=64, seed=1)
  config.data.update(validation_fraction=0.2, test_fraction=0.3)
  config.data.labelled_per_class = 2
  config.classifier.net.backbone = ConfigDict(tiny_cascade.BACKBONE)
  config.classifier.input.size = 32
  config.classifier.update(
    batch_size=8, eval_batch_size=8, steps=12, eval_steps=4
  )
  config.classifier.update(checkpoint_steps=1, log_steps=1)
  return config


KINDS = {
  'cascade': cascade,
  'registration': tiny_registration.get_config,  # mine, register
  'active': active_run.get_config,
  'features': features,
  'classes': classes,
}


def get_config(kind):
  """A kind on phantoms that the run draws."""
  config = KINDS[kind]()
  if kind != 'classes':
    config.phantom.update(films=48, long_side=64)
  config.manual_dir = ''
  for section in stages.sections(config).values():
    if 'input' in section and section.input.get('builder_config'):
      section.input.builder_config = 'original'
  return config
