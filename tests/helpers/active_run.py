"""A tiny run of active learning, with nets that are trained or made up."""

import csv
import json
import pathlib

from boneage_jax.core import stages
from boneage_jax.data import selection
from configs import active_segmentation


def tiny():
  config = active_segmentation.get_config('phantom').unlock()
  config.data.update(validation_fraction=0.2, test_fraction=0.25)
  for name in ('active', 'random'):
    section = config[name]
    section.update(rounds=(4, 6, 9), steps=6, eval_steps=6, log_steps=6)
    section.update(ema=0.0)
    section.net.update(width=0.125, levels=3)
    section.input.update(size=32, rotate=0.0, zoom=0.0, shift=0.0)
    section.optimizer.update(schedule='constant', warmup=0.0)
  return config


def get_config():
  """The config of a run of two rounds, in seconds."""
  config = tiny()
  config.stages = ('prepare', 'active')
  config.active.update(rounds=(4, 6), steps=8, eval_steps=4, log_steps=1)
  return config


def begin(folder: pathlib.Path, prepared: str) -> str:
  """Make a run of a prepared data set; return its folder."""
  (folder / 'prepare').mkdir(parents=True)
  (folder / 'prepare/done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  return str(folder)


class FakeNets:
  """Takes the place of `loop.train_and_evaluate`.

  Attributes:
    trained: ids of the training films by stage.
  """

  def __init__(self, killed_at: str = ''):
    self.trained: dict[str, set[str]] = {}
    self.killed_at = killed_at

  def __call__(self, config, stage, workdir):
    if stage == self.killed_at:
      raise KeyboardInterrupt
    films = selection.stage_films(config, stage, workdir)
    train = films['id'][films['split'] == 'train']
    self.trained[stage] = set(train.tolist())
    write(workdir, stage, films, dice=0.5 + len(train) / 100)


def write(workdir, stage, films, dice):
  """Write the files of a net whose masks of all films are alike."""
  folder = pathlib.Path(stages.path(workdir, stage))
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / stages.PREDICTIONS, 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['id', 'split', 'dice', 'jaccard'])
    for film, split in zip(films['id'], films['split'], strict=True):
      if split != 'train':
        writer.writerow([film, split, dice, dice / (2 - dice)])
  (folder / stages.DONE).write_text(json.dumps({'best_step': 1}))
