"""Key points from films to predictions.csv, on a few small phantoms."""

import csv
import json
import zipfile

import cv2
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.imaging import annotations
from boneage_jax.phantom import archive as archive_lib
from boneage_jax.workflow import run as workflow_run
from configs import hand_geometry


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Workdir of a run of a few steps."""
  config = ConfigDict(hand_geometry.get_config('phantom').to_dict())
  config.stages = ('prepare', 'keypoints')
  config.data.update(validation_fraction=0.25, test_fraction=0.25)
  config.phantom.update(films=24, long_side=96)
  config.keypoints.update(batch_size=4, eval_batch_size=4, epochs=0, steps=2)
  config.keypoints.input.size = (16, 12)
  config.keypoints.net.update(width=0.125, levels=2)
  config.keypoints.tta.flip = True
  workdir = tmp_path_factory.mktemp('hand_geometry')
  workflow_run.run(config, str(workdir))
  return workdir


def test_predictions_say_where_points_are_and_lie(run):
  with open(run / 'keypoints' / 'predictions.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert {row['split'] for row in rows} == {'validation', 'test'}
  archive = run / 'phantoms'
  marked = annotations.load(archive / 'annotations')
  place = annotations.POINTS.index
  for row in rows:
    points = marked[row['id']]['keypoints']
    hw = film_hw(archive, row['id'])
    distances = []
    for name in hand_geometry.POINTS:
      found, true = (
        np.array([float(row[f'{name}_{axis}{end}']) for axis in 'xy'])
        for end in ('', '_true')
      )
      np.testing.assert_allclose(true, points[place(name)], atol=2e-5)
      distances.append(np.hypot(*((found - true) * hw[::-1])))
    pixels = float(row['error_px'])
    assert np.mean(distances) == pytest.approx(pixels, rel=1e-3)
    ends = [points[place(name)] for name in ('middle_finger4', 'wrist')]
    length = np.hypot(*(np.subtract(*ends) * hw[::-1]))
    percent = float(row['error_percent'])
    assert 100 * pixels / length == pytest.approx(percent, rel=1e-3)


def film_hw(archive, film):
  """Height and width of a film of the archive."""
  with zipfile.ZipFile(archive / f'{archive_lib.NAME}.zip') as films:
    data = films.read(f'{archive_lib.NAME}/{film}.png')
  return cv2.imdecode(np.frombuffer(data, np.uint8), -1).shape[:2]


def test_the_log_has_the_share_of_the_hand(run):
  lines = (run / 'keypoints' / 'metrics.jsonl').read_text().splitlines()
  last = json.loads(lines[-1])
  assert last['validation_percent_of_hand'] > 0
  assert 'train_mae' not in last
