"""Crops as a stage `register` writes them, of films that exist on paper."""

import json

import numpy as np

from boneage_jax.core import stages
from boneage_jax.data import crops as crops_lib
from boneage_jax.data import film_table
from boneage_jax.regions import placement


def write(folder, films, size_hw, margin):
  """Write the folder of a finished stage: one region, a bar as long as the age.

  Args:
    folder: of the stage.
    films: columns of films.csv, with their split.
    size_hw: of the net's input.
    margin: kept all round.
  """
  folder.mkdir(parents=True)
  height, width = placement.stored_hw(size_hw, margin)
  rng, crops = np.random.default_rng(0), []
  for age in films['age'].tolist():
    crop = rng.integers(40, 80, (height, width), dtype=np.uint8)
    length = round((0.2 + 0.6 * age / 240) * height)
    crop[-length:, width // 4 : -width // 4] += 120
    crops.append([crop])
  crops_lib.write(str(folder / stages.CROPS), crops)
  film_table.write_films(str(folder / stages.FILMS), films)
  done = {
    'crops': ['carpal'],
    'crop_size': [list(size_hw)],
    'crop_margin': margin,
    'crop_hw': [[height, width]],
    'black_outside': True,
  }
  (folder / stages.DONE).write_text(json.dumps(done))
