"""Cross-validation of nets of masks and points: what the folds found, joined.

Ages have a join of their own, see cross_validation.py.
"""

from typing import Any

import numpy as np

from boneage_jax.core import ids
from boneage_jax.core import stages
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.core import tables

# The figure of a film, by task.
FIGURES = {'segmentation': 'dice', 'keypoints': 'error_percent'}


def join(config: Any, stage: str, workdir: str) -> dict[str, Any]:
  """Join the rows of films that each fold was not trained on.

  Writes them to predictions.csv of the stage in `workdir`, with a column
  `fold`.

  Args:
    config: of all folds.
    stage: that every fold has trained, of a task of FIGURES.
    workdir: of all folds.

  Returns:
    films, the number; under the name of the figure its mean and, of enough
    films, the 95 % interval; median. Films without the figure are left out.
  """
  rows = []
  for fold, folder in enumerate(stages.fold_folders(config, workdir)):
    path = stages.path(folder, stage, stages.PREDICTIONS)
    with storage.reading(path) as file:
      read = tables.read_dicts(file, path, ('id', 'split'))
    found = [row for row in read if row['split'] == 'validation']
    rows += [{**row, 'fold': fold} for row in found]
  rows.sort(key=lambda row: ids.sort_key(row['id']))
  storage.make_folder(stages.path(workdir, stage))
  path = stages.path(workdir, stage, stages.PREDICTIONS)
  with storage.replacing(path) as file:
    tables.write_dicts(file, rows)
  name = FIGURES[config[stage].task]
  values = np.array([float(row[name]) for row in rows if row[name]])
  figures = statistics.mean(values, name)
  return {'films': len(values), **figures, 'median': float(np.median(values))}


def line(stage: str, name: str, figures: dict[str, Any]) -> str:
  """Say how well the folds found masks or points."""
  ends = figures.get(f'{name}_ci95')
  interval = ' ({:.4f} to {:.4f})'.format(*ends) if ends else ''
  return (
    f'{stage}: {name} of {figures["films"]} films, each by the fold that was '
    f'not trained on it: mean {figures[name]:.4f}{interval}, median '
    f'{figures["median"]:.4f}.'
  )
