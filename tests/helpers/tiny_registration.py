"""Masks, points and registered regions of phantoms, in seconds."""

import mined_run

from configs import registration


def get_config():
  """The config of a run that ends with the job `register`."""
  config = registration.get_config('phantom').unlock()
  small = mined_run.tiny()
  config.data, config.segmenter, config.mine = (
    *(small.data, small.segmenter, small.mine),
  )
  config.segmenter.update(steps=24, eval_steps=8, log_steps=2)
  config.mine.update(steps_per_round=8, eval_steps=4, log_steps=1)
  config.keypoints.update(
    batch_size=8, eval_batch_size=8, epochs=0, steps=8, log_steps=1
  )
  config.keypoints.input.update(size=(16, 12), resize='squash')
  config.keypoints.net.update(width=0.125, levels=2)
  config.register.crop_size = ((40, 30), (32, 32), (32, 32))
  config.stages = ('prepare', 'segmenter', 'mine', 'keypoints', 'register')
  return config
