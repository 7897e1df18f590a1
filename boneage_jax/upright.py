"""Films that lie on a side or upside down: a net that tells, to turn them back.

A stage with `input.quarter_turns` trains it: films are shown turned by 0 to 3
quarters. That presumes that nearly all films of the archive stand upright.
Stages that name it in `input.upright` see films as it turns them, those of the
archive as well as new ones.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import os
from typing import Any

import jax
import numpy as np

from boneage_jax import classify
from boneage_jax import evaluate
from boneage_jax import examples
from boneage_jax import files
from boneage_jax import processes
from boneage_jax import train_step
from boneage_jax import trained

METRIC, SHOWN, error = classify.METRIC, classify.SHOWN, classify.error
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
  quarters as its id has over multiples of four. turned.csv (id, split, turned
  in degrees, probability) names films of all splits that, as they are, will be
  turned back.
  """
  classify.write_predictions(config, stage, workdir, films, predict, variables)
  films = films | {'label': np.zeros(len(films['id']), np.int32)}
  source = evaluate.Split(
    config, stage, workdir, films, train_step.make_mesh(), final=True
  )
  probability = source.predict(predict, variables)['probability']
  turns = quarters(probability)
  lying = np.flatnonzero(turns)

  def write() -> None:
    path = os.path.join(workdir, stage, 'turned.csv')
    with files.replacing(path) as file:
      writer = csv.writer(file, lineterminator='\n')
      writer.writerow(['id', 'split', 'turned', 'probability'])
      for i in lying.tolist():
        row = films['id'][i], films['split'][i], 90 * turns[i]
        writer.writerow([*row, f'{probability[i].max():.5f}'])
    print(found(stage, np.sort(films['id'][lying]), len(turns)))

  processes.on_lead(write)


def found(stage: str, ids: np.ndarray, count: int) -> str:
  """Say which films lie turned."""
  some = ', '.join(map(str, ids[:5].tolist())) + (
    ', ...' if ids[5:].size else ''
  )
  return f'{stage}: {len(ids)} of {count} films lie turned' + (
    f' and are turned back: {some}.' if len(ids) else '.'
  )


class Upright:
  """Turns films of a run upright, as its stage `stage` tells."""

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load the net; at most `batch_size` films are looked at together."""
    self._input, self._batch_size = config[stage].input, batch_size
    graph, variables = trained.load_net(config, stage, workdir)
    self._variables = jax.device_put(variables, jax.local_devices()[0])
    self._predict = evaluate.make_predict(graph)
    self._views = evaluate.views(config[stage])

  def __call__(
    self, records: Sequence[Mapping[str, Any]]
  ) -> list[dict[str, Any]]:
    """Return records as of `input_pipeline.film_source`, films upright."""
    probability = np.mean(
      [self._look(records, view) for view in self._views], axis=0
    )
    turns = quarters(probability[: len(records)]).tolist()
    return list(map(examples.turn_back, records, turns))

  def _look(
    self, records: Sequence[Mapping[str, Any]], view: np.ndarray
  ) -> np.ndarray:
    as_it_lies = {'label': 0}
    rows = [
      examples.make_example({**record, **as_it_lies}, self._input, view=view)
      for record in records
    ]
    rows += rows[-1:] * (self._batch_size - len(rows))
    batch = jax.tree.map(lambda *values: np.stack(values), *rows)
    return jax.device_get(self._predict(self._variables, batch)['probability'])
