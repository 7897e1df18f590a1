"""A run whose net of masks learned from a few outlined phantoms."""

import json
import pathlib

from boneage_jax.core import config as config_lib
from boneage_jax.regions import mine
from boneage_jax.training import loop
from configs import hand_geometry


def tiny():
  config = hand_geometry.get_config('phantom').unlock()
  config.data.update(validation_fraction=0.2, test_fraction=0.25)
  section = config.segmenter
  section.update(
    batch_size=4, eval_batch_size=8, steps=40, eval_steps=40, log_steps=40
  )
  section.net.update(width=0.125, levels=3)
  section.input.size, section.ema = 32, 0.0
  section.input.update(masks_count=6, rotate=0.0, zoom=0.0, shift=0.0)
  section.optimizer.update(learning_rate=1e-2, schedule='constant', warmup=0.0)
  config.mine = hand_geometry.mine_stage(section.to_dict())
  config.mine.update(rounds=2, steps_per_round=4, eval_steps=4)
  config.mine.accept.update(mirror_iou=0.6, component=0.9)
  return config


def create(folder: pathlib.Path, prepared: str) -> pathlib.Path:
  """Run the stages segmenter and mine on a prepared data set."""
  (folder / 'prepare').mkdir(parents=True)
  (folder / 'prepare/done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  content = config_lib.to_json(tiny())
  (folder / 'config.json').write_text(json.dumps(content))
  loop.train_and_evaluate(tiny(), 'segmenter', str(folder))
  mine.mine(tiny(), 'mine', str(folder))
  return folder
