"""The task of bone age: its error in months and its predictions."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.imaging import age_maps
from boneage_jax.runs import age_map_file
from boneage_jax.runs import predictions
from boneage_jax.training import forward
from boneage_jax.training import prediction

# Of losses that fit one readout of bins: which, and why.
_FLAT = 'the place of the highest bin has no gradient, so nothing is learned'
READOUTS = {
  'mae': ('expectation', _FLAT),
  'mse': ('expectation', _FLAT),
  'smooth_l1': ('expectation', _FLAT),
  'soft_label': (
    'argmax',
    'its outputs are no logits, and their expectation is near the middle of '
    'all ages',
  ),
}
metric_name = 'mae'
reduce = forward.age_or_classes


def format_metric(value: float) -> str:
  """Write a mean absolute error."""
  return f'MAE {value:.2f} months'


def check(config: Any, stage: str) -> None:
  """Refuse a net that says no age, or one whose loss and readout do not fit."""
  if config[stage].net.get('output') == 'classes':
    raise ValueError(
      f"Expected a net that says an age, got {stage}.net.output='classes'; set "
      f'--config.{stage}.task=classification.'
    )
  net, loss = config[stage].net, config[stage].loss.name
  if net.get('output') != 'bins' or loss not in READOUTS:
    return
  wanted, why = READOUTS[loss]
  if net.readout != wanted:
    raise ValueError(
      f'Expected {stage}.net.readout={wanted!r} with the loss {loss!r}, got '
      f'{net.readout!r}: {why}. Change --config.{stage}.net.readout or '
      f'--config.{stage}.loss.name.'
    )


def error(
  outputs: dict[str, np.ndarray], films: dict[str, np.ndarray]
) -> float:
  """Mean absolute error in months of `age` in the outputs."""
  return float(np.mean(np.abs(outputs['age'] - films['age'])))


def write_predictions(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Callable,
  variables: dict[str, Any],
) -> None:
  """Predict validation and test films; process 0 writes the stage's files.

  Ages and probabilities are averaged over the views of `tta`.
  `predictions.csv` (id, split, sex, age, prediction; months; further numbers
  that the net tells, by their names) and, for nets with bins,
  `distributions.npz` (id [N], probability float16 [N,240]); with a map of ages,
  `age_maps.npz`, see `age_map_file`.
  """
  parts, order = [], ('validation', 'test')
  places = forward.places(config[stage])
  for _, part, outputs in prediction.held_out(
    config, stage, workdir, films, predict, variables, order
  ):
    rows = {column: part[column] for column in ('id', 'split', 'sex', 'age')}
    rows['prediction'] = outputs['age'].astype(np.float64)
    if 'probability' in outputs:
      rows['probability'] = outputs['probability']
    if places is not None:
      rows |= {
        name: outputs[name] for name in age_maps.NAMES if name in outputs
      }
    rows['extra'] = forward.extra(outputs)
    parts.append(rows)
  if distributed.is_main_process():
    rows = jax.tree.map(lambda *columns: np.concatenate(columns), *parts)
    folder = stages.path(workdir, stage)
    if places is not None:
      age_map_file.write(folder, rows, places)
    predictions.write_predictions(folder, rows)
