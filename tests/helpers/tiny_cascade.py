"""The cascade with nets of a few layers on pictures of 32 pixels."""

from ml_collections import ConfigDict

from configs import cascade

BACKBONE = {'name': 'resnet', 'depth': 18, 'width': 0.125, 'endpoint': 'stage1'}


def get_config() -> ConfigDict:
  config = cascade.get_config('phantom').unlock()
  config.data.update(validation_fraction=0.15, test_fraction=0.15)
  config.regions.update(crop_size=32, batch_size=8)
  for stage in (config.localizer, config.assessor):
    stage.update(batch_size=8, eval_batch_size=8, epochs=4)
    stage.update(checkpoint_steps=1, log_steps=1)
    stage.input.size = 32
  config.localizer.net.backbone = ConfigDict(BACKBONE)
  config.localizer.net.readout = 'expectation'
  config.assessor.net.carpal = ConfigDict(BACKBONE)
  config.assessor.net.metacarpal = ConfigDict(BACKBONE)
  config.assessor.net.pool = 'gap'
  return config
