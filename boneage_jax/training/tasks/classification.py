"""The task of classes (findings): its error and its predictions."""

from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.training import forward
from boneage_jax.training import prediction

COLUMNS = ('id', 'split', 'study', 'label', 'predicted')


def class_names(config: Any, stage: str) -> list[str]:
  """Name what the net of a stage tells apart: findings, or quarter turns."""
  if config[stage].input.rotate90:
    return ['0', '90', '180', '270']
  return list(config.data.classes)


def check(config: Any, stage: str) -> None:
  """Refuse a net of other classes than the run's, or views that mix them."""
  section, names = config[stage], class_names(config, stage)
  turns = section.input.rotate90
  if section.net.classes != len(names):
    field = f'{stage}.input.rotate90' if turns else 'data.classes'
    raise ValueError(
      f'{stage}.net.classes is {section.net.classes}, but {field} names '
      f'{len(names)}: {", ".join(names) or "none"}.'
    )
  if turns and section.tta.flip:
    raise ValueError(
      f'{stage}.tta.flip mirrors films, and mirrored a quarter turn is '
      f'three: set --config.{stage}.tta.flip=False.'
    )


metric_name = 'error'
reduce = forward.age_or_classes


def format_metric(value: float) -> str:
  """Write a share of wrong answers."""
  return f'error {value:.1%}'


def error(
  outputs: dict[str, np.ndarray], films: dict[str, np.ndarray]
) -> float:
  """Return the share of labelled films with another most probable class."""
  known = films['label'] >= 0
  if not known.any():
    raise ValueError(
      'No validation film has a label, so no checkpoint is the best; raise '
      '--config.data.validation_fraction.'
    )
  wrong = outputs['probability'].argmax(-1) != films['label']
  return float(np.mean(wrong[known]))


def write_predictions(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Any,
  variables: dict[str, Any],
) -> None:
  """Predict validation and test films; process 0 writes predictions.csv.

  Its columns: id, split, study, label ('' unknown), predicted, and the
  probability of each class under `p_<class>`.
  """
  names, rows = class_names(config, stage), []
  for split, part, outputs in prediction.held_out(
    config, stage, workdir, films, predict, variables
  ):
    probability = outputs['probability']
    for i, film in enumerate(part['id'].tolist()):
      label = part['label'][i]
      row = [film, split, part['study'][i], names[label] if label >= 0 else '']
      row.append(names[probability[i].argmax()])
      rows.append([*row, *(f'{p:.5f}' for p in probability[i])])

  def write() -> None:
    path = stages.path(workdir, stage, stages.PREDICTIONS)
    with storage.replacing(path) as file:
      writer = tables.Writer(file)
      writer.writerow([*COLUMNS, *(f'p_{name}' for name in names)])
      writer.writerows(rows)

  distributed.on_main_process(write)
