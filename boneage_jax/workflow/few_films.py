"""A few films of a run's data, prepared as the run would prepare all."""

import copy
import dataclasses
import os
from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.data import prepare as prepare_lib
from boneage_jax.data import splits


def prepare(config: Any, folder: str, count: int) -> Any:
  """Prepare a few films in a folder, and return the config that reads them.

  Args:
    config: of a run; its table, its archive or its phantoms.
    folder: empty; becomes that of a run.
    count: training films, or those that there are.

  Raises:
    ValueError: there are no films.
  """
  prepare_lib.check_source(config)
  config = copy.deepcopy(config).unlock()
  config.data_dir = os.path.join(folder, 'data')
  config.data.allow_bad_films = count  # what all films lack is not the question
  # Those that are few may not have films of every split by their ids.
  config.data.update(split='hash', folds=0, fold=-1)
  config.data.update(validation_fraction=0.25, test_fraction=0.0)
  whole = prepare_lib.read_archive(config)
  if whole is None:
    config.phantom.films = min(count, config.phantom.films)
    prepare_lib.prepare(config, stages.PREPARE, folder)
    return config
  films = whole.films.get('train', [])
  # Drawn by their ids: the first of a table may all be of one patient.
  chosen = splits.some(np.array([film.id for film in films]), count)
  films = {'train': [films[k] for k in chosen]}
  few = dataclasses.replace(whole, films=films, bad=[], notes=[])
  prepare_lib.write(config, stages.PREPARE, folder, few)
  return config
