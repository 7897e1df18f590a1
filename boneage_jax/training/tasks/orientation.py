"""Films that lie on a side or upside down: a net that tells, to turn them back.

A stage with `input.rotate90` trains it: films are shown rotated by 0 to 3
quarters. That presumes that nearly all films of the archive stand upright.
Stages that name it in `input.orientation_from` see films as it turns them,
those of the archive as well as new ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import ids
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import preprocess
from boneage_jax.training import prediction
from boneage_jax.training.tasks import classification

metric_name = classification.metric_name
format_metric = classification.format_metric
reduce, check = classification.reduce, classification.check
error = classification.error


def write_predictions(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Any,
  variables: dict[str, Any],
) -> None:
  """Write what `classification` writes, and which films are rotated.

  predictions.csv is of test and validation films, each rotated by as many
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
  turns = preprocess.quarter_turns(probability)
  lying = np.flatnonzero(turns)

  def write() -> None:
    path = stages.path(workdir, stage, stages.ROTATED)
    with storage.replacing(path) as file:
      writer = tables.Writer(file)
      writer.writerow(['id', 'split', 'rotation_deg', 'probability'])
      for i in lying.tolist():
        row = films['id'][i], films['split'][i], 90 * turns[i]
        writer.writerow([*row, f'{probability[i].max():.5f}'])
    print(found(stage, films['id'][lying].tolist(), len(turns)))

  distributed.on_main_process(write)


def found(stage: str, films: Sequence[str], count: int) -> str:
  """Say which films are rotated."""
  some = ', '.join(sorted(films, key=ids.sort_key)[:5])
  some += ', ...' if films[5:] else ''
  return f'{stage}: {len(films)} of {count} films are rotated' + (
    f' and are turned back: {some}.' if films else '.'
  )
