"""A tiny run of features once and ages on them, in seconds."""

from boneage_jax.core import stages
from configs import transfer


def tiny(variant='resnet,offtheshelf,phantom'):
  config = transfer.get_config(variant).unlock()
  config.data.update(validation_fraction=0.2, test_fraction=0.25)
  for section in stages.sections(config).values():
    if 'net' in section:
      section.net.backbone.update(depth=18, width=0.125, endpoint='stage2')
      section.net.hidden = 16
      section.input.update(size=48, crop=2 / 3)
      section.eval_batch_size = 8
  return config


def get_config():
  """The config of the stages that compute features and train on them."""
  config = tiny()
  config.stages = ('prepare', 'features', 'offtheshelf')
  config.offtheshelf.update(epochs=0, steps=12, eval_steps=4, log_steps=1)
  config.offtheshelf.optimizer.learning_rate = 1e-3
  return config
