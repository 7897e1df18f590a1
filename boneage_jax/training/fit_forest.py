"""The `fit_forest` job: a forest that finds landmarks (Ebner 2014).

It is fitted on the marked films of the training split alone, and finds the
landmarks of those that are held out. A killed job starts over and ends with the
same files.
"""

from typing import Any

import cv2
import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.imaging import geometry
from boneage_jax.imaging import overlay
from boneage_jax.models import forest as forest_lib
from boneage_jax.training import forest
from boneage_jax.training import landmarks as landmarks_lib
from boneage_jax.training import validate
from boneage_jax.training.tasks import keypoints

HELD_OUT = ('validation', 'test')
SHOWN = 6  # films whose votes are drawn
WHOLE = ('passes', 'step')  # whole numbers of section.votes


def fit_forest(config: Any, stage: str, workdir: str) -> None:
  """Fit a forest; write it, predictions.csv and a picture of votes."""
  section, path = config[stage], stages.Stage(config, stage, workdir).path
  storage.make_folder(stages.path(workdir, stage))
  marked = landmarks_lib.read(config, stage, workdir)
  train = marked.select(marked.films['split'] == 'train')
  if not np.isin(marked.films['split'], HELD_OUT).any():
    raise ValueError(
      f'{stage}: expected films with landmarks that are held out, got none '
      f'among {len(marked.points)}: raise --config.data.validation_fraction.'
    )
  finder, arrays = fit(train, section, [config.seed, section.seed])
  with storage.replacing(path(stages.FOREST), 'wb') as file:
    np.savez_compressed(file, hand=finder.hand, **arrays)
  rows, pictures = [], []
  for split in HELD_OUT:
    part = marked.select(marked.films['split'] == split)
    if not len(part.points):
      continue
    found = [finder(image) for image in part.images]
    outputs = _outputs([one['points'] for one in found], part, section)
    names = landmarks_lib.LANDMARKS[section.landmarks]
    rows += keypoints.table(part.films, outputs, names)
    print(f'{stage}: {keypoints.summary(outputs, split)}')
    pairs = zip(part.images[:SHOWN], found[:SHOWN], strict=True)
    pictures = [_picture(*pair) for pair in pairs]
  with storage.replacing(path(stages.PREDICTIONS)) as file:
    tables.write_dicts(file, rows)
  with storage.replacing(path(stages.VOTES), 'wb') as file:
    file.write(overlay.jpeg(np.concatenate(pictures, 1)))
  done = {'films': len(train.points), 'hand_px': finder.hand}
  storage.write_json(path(stages.DONE), done, indent=2)


def fit(
  train: landmarks_lib.Marked, section: Any, seed: list[int]
) -> tuple[landmarks_lib.Finder, dict[str, np.ndarray]]:
  """Fit a forest.

  Raises:
    ValueError: there are no films to train on.
  """
  if not len(train.points):
    raise ValueError(
      'Expected training films with landmarks, got none: mark some, or lower '
      '--config.data.validation_fraction and test_fraction.'
    )
  hand = landmarks_lib.hand_length(train.points, section.landmarks).mean()
  near = section.votes.near * hand
  arrays = forest.fit(train.images, train.points, section, near, seed)
  return landmarks_lib.Finder(arrays, hand, section), arrays


def _outputs(
  found: list[np.ndarray], part: landmarks_lib.Marked, section: Any
) -> dict[str, np.ndarray]:
  """Return what the task of key points judges: after the last pass."""
  found = np.stack(found)[:, -1]
  true = landmarks_lib.on_film(part.points, part)
  return {
    'points': landmarks_lib.on_film(found, part),
    'points_true': true,
    'film_hw': part.film_hw,
    'hand_length': landmarks_lib.hand_length(true, section.landmarks),
  }


def _picture(image: np.ndarray, found: dict[str, np.ndarray]) -> np.ndarray:
  """Draw the votes of each pass, one below the other, and their maxima."""
  rows = []
  for maps, points in zip(found['maps'], found['points'], strict=True):
    heat = (maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-9)).max(0)
    picture = overlay.overlay(image, heat)
    matrix = geometry.fit_matrix(image.shape, picture.shape[:2])
    for x, y in points @ matrix[:, :2].T + matrix[:, 2]:
      centre = (round(float(x)), round(float(y)))
      cv2.circle(picture, centre, 4, overlay.OUTLINE, 1, cv2.LINE_AA)
    rows.append(picture)
  return np.concatenate(rows)


def check(stage: stages.Stage) -> None:
  """Check the settings of a forest, or of rounds of it, before it runs.

  Raises:
    ValueError: a value that the job cannot use; names the field.
  """
  section, name = stage.section, stage.name
  validate.check_builder_config(section.input, f'{name}.input')
  validate.choose(section, name, 'landmarks', landmarks_lib.LANDMARKS)
  validate.choose(
    section.votes, f'{name}.votes', 'weighting', forest_lib.WEIGHTINGS
  )
  counts = ('trees', 'depth', 'pixels_per_film', 'pixels_per_landmark')
  counts += ('features', 'candidates', 'thresholds')
  counts += ('least_pixels', 'split_pixels')
  if section.job == 'forest_rounds':
    counts += ('rounds', 'train_films', 'test_films')
  counts = {field: section[field] for field in counts}
  counts |= {f'votes.{field}': section.votes[field] for field in WHOLE}
  for field, value in counts.items():
    if value < 1:
      raise ValueError(
        f'Expected {name}.{field} of 1 or more, got {value}: change '
        f'--config.{name}.{field}.'
      )
  positive = {f'votes.{f}': section.votes[f] for f in ('sigma', 'smooth')}
  positive |= {'votes.near': section.votes.near, 'reach': section.reach}
  for field, value in positive.items():
    if value <= 0:
      raise ValueError(
        f'Expected {name}.{field} above 0, got {value}: change '
        f'--config.{name}.{field}.'
      )
  size = section.input.size
  if not isinstance(size, int) or not 8 <= size <= 1000:
    raise ValueError(
      f'Expected {name}.input.size of 8 to 1000 pixels, one side of a square, '
      f'got {size}: change --config.{name}.input.size.'
    )
