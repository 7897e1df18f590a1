"""Forests from films to landmarks, rounds and ages, on small phantoms."""

import csv
import json
import pathlib

from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax import evaluate
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import annotations
from boneage_jax.imaging import boxes
from boneage_jax.inference import loading
from boneage_jax.workflow import run as workflow_run
from configs import forest as forest_config

pytestmark = pytest.mark.ci


def tiny(variant='phantom'):
  config = ConfigDict(forest_config.get_config(variant).to_dict())
  config.data.update(validation_fraction=0.2, test_fraction=0.2)
  for name in ('forest', 'rounds'):
    config[name].update(trees=2, depth=6, pixels_per_film=100, features=60)
    config[name].update(candidates=20, thresholds=4)
    config[name].update(pixels_per_landmark=20)
    config[name].input.size = 32
  config.rounds.update(rounds=3, train_films=12, test_films=5)
  return config


def prepare(folder, prepared):
  (folder / 'prepare').mkdir(parents=True)
  done = json.dumps({'folders': {'original': prepared}})
  (folder / 'prepare/done.json').write_text(done)


def rows(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


@pytest.mark.parametrize('kind', ['', 'ossification,'])
def test_landmarks_of_held_out_films(archive, prepared, tmp_path, kind):
  prepare(tmp_path, prepared)
  config = tiny(f'{kind}phantom')
  config.stages = ('prepare', 'forest', 'rounds')
  workflow_run.run(config, str(tmp_path))
  found = rows(tmp_path / 'forest/predictions.csv')
  assert {row['split'] for row in found} == {'validation', 'test'}
  marked = annotations.load(pathlib.Path(archive) / 'annotations')
  for row in found:
    if not kind:
      true = marked[row['id']]['keypoints'][0]
      said = [float(row[f'wrist_{axis}_true']) for axis in 'xy']
      np.testing.assert_allclose(said, true, atol=2e-5)
  percent = np.array([float(row['error_percent']) for row in found])
  assert np.median(percent) < 20  # half a hand is chance
  assert (tmp_path / 'forest/votes.jpg').stat().st_size > 1000
  judged = rows(tmp_path / 'rounds/rounds.csv')
  assert len(judged) == 3 * 5 * (17 if kind else 21) * 2 * 3
  figures = json.loads((tmp_path / 'rounds/rounds.json').read_text())
  assert len(figures) == 6
  means = [
    np.mean(
      [
        float(row['error_percent'])
        for row in judged
        if (row['round'], row['weighting'], row['passes'])
        == (str(k), 'none', '1')
      ]
    )
    for k in range(3)
  ]
  mean = figures['none, pass 1']['all']['mean'][0]
  assert mean == pytest.approx(np.mean(means), abs=1e-3)


def test_rounds_that_are_cut_short_go_on(prepared, tmp_path):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  config = tiny()
  config.stages = ('prepare', 'rounds')
  for folder in (whole, cut):
    prepare(folder, prepared)
    workflow_run.run(config, str(folder))
    if folder == cut:
      for name in ('done.json', 'round_1.csv', 'rounds.csv'):
        (cut / 'rounds' / name).unlink()
      workflow_run.run(config, str(cut))
  for name in ('rounds.csv', 'rounds.json', 'round_1.csv'):
    pair = [(folder / 'rounds' / name).read_bytes() for folder in (whole, cut)]
    assert pair[0] == pair[1]


def test_it_ends_in_months(prepared, tmp_path, capsys):
  prepare(tmp_path, prepared)
  config = tiny('age,phantom')
  config.patches.crop_size = config.assessor.input.size = 32
  config.assessor.net.backbone.update(width=0.125, endpoint='stem')
  config.assessor.update(batch_size=8, eval_batch_size=8, epochs=0, steps=4)
  workflow_run.run(config, str(tmp_path))
  found = rows(tmp_path / 'assessor/predictions.csv')
  assert all(0 < float(row['age_predicted']) < 240 for row in found)
  regions = boxes.read_regions(str(tmp_path / 'patches/regions.csv'))
  assert len(regions) == 48
  for film in regions.values():
    assert set(film) == set(config.patches.regions)
    for region in film.values():
      x0, y0, x1, y1 = region.box
      assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
  assert (tmp_path / 'report/report.html').exists()
  evaluate.main(['errors', str(tmp_path)])
  assert 'MAE' in capsys.readouterr().out
  # A film at hand gets the age that the run predicted.
  films, _ = selection.split_films(config, str(tmp_path), 'original')
  row = next(r for r in found if r['split'] == 'test')
  index = films['id'].tolist().index(row['id'])
  source = sources.whole_films(config, str(tmp_path), 'original', films, {})
  image = preprocess.decode(source[index])
  said = loading.load(str(tmp_path)).predict(image, row['sex'])
  assert said.age_predicted == pytest.approx(
    float(row['age_predicted']), abs=0.05
  )
