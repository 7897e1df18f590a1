"""The task of key points: their error and their predictions.

Everything is judged in pixels of the film. As every view of a film brings its
own way back there, points may be averaged over mirrored views, too.
"""

from collections.abc import Callable
from collections.abc import Mapping
import csv
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.training import forward
from boneage_jax.training import prediction

metric_name = 'percent_of_hand'


def format_metric(value: float) -> str:
  """Write an error."""
  return f'error {value:.2f} % of the hand'


def check(config: Any, stage: str) -> None:
  """Refuse a net of other points than the input has, or films without any."""
  section = config[stage]
  names, count = tuple(section.input.points), section.net.get('points')
  if not names or count != len(names):
    raise ValueError(
      f'Expected a net of as many points as {stage}.input.points names, '
      f'{len(names)} ({", ".join(names) or "none"}), got {section.net.name} of '
      f'{count}: change --config.{stage}.net.points.'
    )


reduce = forward.points_of_film


def errors(rows: Mapping[str, np.ndarray]) -> np.ndarray:
  """Return the mean distance of each film's marked points, [N], in pixels.

  Args:
    rows: what `reduce` returns of all films. A film without a mark gives NaN.
  """
  known = np.isfinite(rows['points_true']).all(-1)
  distance = np.linalg.norm(rows['points'] - rows['points_true'], axis=-1)
  total = np.where(known, distance, 0).sum(-1)
  return np.where(known.any(-1), total / np.maximum(known.sum(-1), 1), np.nan)


def percent_of_hand(rows: Mapping[str, np.ndarray]) -> np.ndarray:
  """Return `errors` in % of the hand's length, [N], NaN without either."""
  return 100 * errors(rows) / rows['hand_length']


def error(
  outputs: dict[str, np.ndarray], films: dict[str, np.ndarray]
) -> float:
  """Return the mean over films of `percent_of_hand`; NaN of a net that is NaN.

  Raises:
    ValueError: no film has both a marked point and a length.
  """
  judged = np.isfinite(percent_of_hand(outputs | {'points': 0.0}))
  if not judged.any():
    raise ValueError(
      f'No film among the {len(films["id"])} that judge key points shows how '
      "long its hand is: mark 'middle_finger4', and 'wrist' or 'capitate', in "
      'annotations/hand_keypoints.csv.'
    )
  return float(np.mean(percent_of_hand(outputs)[judged]))


def write_predictions(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Callable,
  variables: dict[str, Any],
) -> None:
  """Predict validation and test films; process 0 writes predictions.csv.

  Points are averaged over the views of `tta`. Columns: id, split, sex;
  error_percent, of the hand's length, and error_px, in pixels of the film, both
  means over the film's points; for each point <name>_x, <name>_y, fractions of
  the film, and the marked <name>_x_true, <name>_y_true, '' where not marked.
  """
  names, rows = tuple(config[stage].input.points), []
  for split, part, outputs in prediction.held_out(
    config, stage, workdir, films, predict, variables
  ):
    rows += table(part, outputs, names)
    distributed.print_once(f'{stage}: {summary(outputs, split)}')

  def write() -> None:
    path = stages.path(workdir, stage, stages.PREDICTIONS)
    with storage.replacing(path) as file:
      writer = csv.DictWriter(file, rows[0], lineterminator='\n')
      writer.writeheader()
      writer.writerows(rows)

  distributed.on_main_process(write)


def table(
  films: dict[str, np.ndarray],
  outputs: dict[str, np.ndarray],
  names: tuple[str, ...],
) -> list[dict[str, Any]]:
  """Make the rows of predictions.csv."""
  wh = outputs['film_hw'][:, None, ::-1]
  found, true = ((outputs[n] + 0.5) / wh for n in ('points', 'points_true'))
  pixels, percent = errors(outputs), percent_of_hand(outputs)
  write = lambda value: f'{value:.5f}' if np.isfinite(value) else ''
  rows = []
  for i, film in enumerate(films['id'].tolist()):
    row = {'id': film, 'split': films['split'][i]}
    row['sex'] = groups.sex_text(films['sex'][i : i + 1])[0]
    row['error_percent'] = write(percent[i])
    row['error_px'] = write(pixels[i])
    for k, name in enumerate(names):
      for axis, letter in enumerate('xy'):
        row[f'{name}_{letter}'] = write(found[i, k, axis])
        row[f'{name}_{letter}_true'] = write(true[i, k, axis])
    rows.append(row)
  return rows


def summary(outputs: dict[str, np.ndarray], split: str) -> str:
  """Say how large the errors of a split are."""
  pixels, percent = errors(outputs), percent_of_hand(outputs)
  return (
    f'key points of {len(pixels)} {split} films: median error '
    f"{np.nanmedian(percent):.2f} % of the hand's length "
    f'({np.nanmedian(pixels):.2f} pixels), mean {np.nanmean(percent):.2f} %.'
  )
