"""Films that lie on a side or upside down: a net that tells, to turn them back.

A stage with `input.rotate90` trains it: films are shown turned by 0 to 3
quarters. That presumes that nearly all films of the archive stand upright.
Stages that name it in `input.orientation_from` see films as it turns them,
those of the archive as well as new ones.
"""

import csv
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.training import prediction
from boneage_jax.training.tasks import classification

METRIC, SHOWN, error = (
  classification.METRIC,
  classification.SHOWN,
  classification.error,
)
SURE = 0.9  # less probable turns are left alone: most films stand upright


def quarters(probability: np.ndarray) -> np.ndarray:
  """Return by how many quarters to turn films back, [N], clockwise.

  Args:
    probability: [N, 4], that a film lies turned by 0 to 3 quarters
      counter-clockwise.
  """
  return np.where(probability.max(-1) >= SURE, probability.argmax(-1), 0)


def write_predictions(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Any,
  variables: dict[str, Any],
) -> None:
  """Write what `classify` writes, and which films of the archive lie turned.

  predictions.csv is of test and validation films, each turned by as many
  quarters as its id has over multiples of four. rotated.csv (id, split,
  rotation_deg, probability) names films of all splits that, as they are, will
  be turned back.
  """
  classification.write_predictions(
    config, stage, workdir, films, predict, variables
  )
  films = films | {'label': np.zeros(len(films['id']), np.int32)}
  source = prediction.Split(
    config, stage, workdir, films, distributed.make_mesh(), final=True
  )
  probability = source.predict(predict, variables)['probability']
  turns = quarters(probability)
  lying = np.flatnonzero(turns)

  def write() -> None:
    path = stages.path(workdir, stage, stages.ROTATED)
    with storage.replacing(path) as file:
      writer = csv.writer(file, lineterminator='\n')
      writer.writerow(['id', 'split', 'rotation_deg', 'probability'])
      for i in lying.tolist():
        row = films['id'][i], films['split'][i], 90 * turns[i]
        writer.writerow([*row, f'{probability[i].max():.5f}'])
    print(found(stage, np.sort(films['id'][lying]), len(turns)))

  distributed.on_main_process(write)


def found(stage: str, ids: np.ndarray, count: int) -> str:
  """Say which films lie turned."""
  some = ', '.join(map(str, ids[:5].tolist())) + (
    ', ...' if ids[5:].size else ''
  )
  return f'{stage}: {len(ids)} of {count} films lie turned' + (
    f' and are turned back: {some}.' if len(ids) else '.'
  )
