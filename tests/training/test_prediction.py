"""Views that final predictions are averaged over, and films of unknown sex."""

import types

from encode import encode
from ml_collections import ConfigDict
import numpy as np
import pytest
import untrained_run

from boneage_jax.core import distributed
from boneage_jax.data import input_pipeline
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import geometry
from boneage_jax.inference import loading
from boneage_jax.runs import run as run_lib
from boneage_jax.training import forward
from boneage_jax.training import prediction
from boneage_jax.training import restore
from configs import common


def config(**changes):
  return types.SimpleNamespace(**common.image_input(**changes))


def section(size=8, **changes):
  made = ConfigDict(common.train_stage(input=common.image_input(size=size)))
  made.tta.update(changes)
  return made


def test_views_are_turns_and_their_mirror_images():
  plain = forward.views(section())
  np.testing.assert_array_equal(plain, [np.eye(3)[:2]])
  found = forward.views(section(9, rotate=(-90.0, 0.0), flip=True))
  corner = np.array([8, 0, 1])  # right, top; the centre is (4, 4)
  expected = [(0, 0), (8, 0), (0, 8), (0, 0)]
  np.testing.assert_allclose([m @ corner for m in found], expected, atol=1e-9)
  (wide,) = forward.views(section((4, 9), rotate=(90.0,)))
  np.testing.assert_allclose(wide @ (4, 1.5, 1), (4, 1.5))  # the centre stays
  with pytest.raises(ValueError, match='one angle or more, got none'):
    forward.views(section(rotate=()))


def test_a_view_moves_films_and_all_their_crops():
  film = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
  mirror = geometry.view_matrix((16, 16), mirror=True)
  turn = geometry.view_matrix((16, 16), 90)  # clockwise
  record = {'id': '1', 'row': 1, 'sex': 1.0, 'age': 1.0, 'image': encode(film)}
  settings = config(size=16)
  for view, expected in ((mirror, film[:, ::-1]), (turn, np.rot90(film, -1))):
    seen = preprocess.make_example(record, settings, view=view)['image']
    np.testing.assert_allclose(seen[..., 0].astype(int), expected, atol=1)
  # A crop with a margin of a quarter: turning it brings the margin in.
  side = np.zeros((24, 24), np.uint8)
  side[:, :12] = 200
  record['regions'] = [encode(side), encode(255 - side)]
  settings = config(size=16, crop_margin=0.25)
  view = geometry.view_matrix((16, 16), 45)
  seen = preprocess.make_example(record, settings, view=view)['regions'][..., 0]
  assert seen.shape == (2, 16, 16)
  np.testing.assert_allclose(seen[0].astype(int) + seen[1], 255, atol=1)
  assert seen[0, 0, 8] == 200 and seen[0, -1, 8] == 0  # left went up


@pytest.fixture
def run(combined):
  return combined / 'run'


@pytest.mark.parametrize('stage', ['assessor', 'whole_image'])
def test_final_predictions_are_means_over_views(run, stage):
  one = run_lib.read_run(f'{run}:{stage}')
  graph, variables = restore.load_net(one.config, stage, str(run))
  net = forward.make_predict(graph)
  films = selection.stage_films(one.config, stage, str(run))
  films = selection.select_split(films, 'test')
  mesh = distributed.make_mesh()
  source = selection.stage_source(one.config, stage, str(run), films)
  settings = one.config[stage]
  each = []
  for mirror in (False, True):
    for degrees in untrained_run.VIEWS['rotate']:
      view = geometry.view_matrix((settings.input.size,) * 2, degrees, mirror)
      batch = input_pipeline.eval_batches(source, settings.input, 8, view=view)
      assert len(batch) == 1
      outputs = net(variables, input_pipeline.to_device(batch[0], mesh))
      each.append(np.asarray(outputs['age'])[: len(films['id'])])
  assert np.ptp(each, axis=0).max() > 0.02  # of untrained nets
  of = one.rows['split'] == 'test'
  stored = one.rows['prediction'][of]
  np.testing.assert_allclose(stored, np.mean(each, axis=0), atol=1e-3)
  split = prediction.Split(one.config, stage, str(run), films, mesh)
  single = split.predict(net, variables)['age']
  np.testing.assert_allclose(single, each[0], atol=1e-3)
  distributions = run_lib.distributions(one, films['id'])
  if distributions is not None:
    months = distributions @ np.arange(240)
    np.testing.assert_allclose(months, stored, atol=0.1)  # stored as float16


def test_one_film_gets_the_mean_too(run):
  one = run_lib.read_run(f'{run}:whole_image')
  predictor = loading.load(str(run), 'whole_image')
  films, _ = selection.split_films(
    one.config, str(run), predictor.builder_config
  )
  films = selection.select_split(films, 'test')
  folder = sources.prepared_folder(str(run), predictor.builder_config)
  record = sources.film_source(folder, films)[0]
  outputs, _ = predictor.outputs([record])
  row = one.rows['id'] == films['id'][0]
  expected = one.rows['prediction'][row]
  np.testing.assert_allclose(outputs['age'], expected, atol=2e-3)


def test_sex_is_dropped_at_its_rate_and_nothing_else_changes():
  film = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
  record = {'id': '1', 'row': 1, 'sex': 1.0, 'age': 1.0, 'image': encode(film)}
  ranges = dict(size=8, rotate=9, zoom=0.1, flip=True, cutout=1, gamma=0.1)
  dropped = 0
  for seed in range(300):
    with_sex, without = (
      preprocess.make_example(
        record,
        config(sex_dropout=share, **ranges),
        np.random.default_rng(seed),
      )
      for share in (0.0, 0.3)
    )
    np.testing.assert_array_equal(without['image'], with_sex['image'])
    assert with_sex['sex'] == 1 and without['sex'] in (0, 1)
    dropped += without['sex'] == 0
  assert 60 < dropped < 120
  always = config(sex_dropout=1.0, **ranges)
  rng = np.random.default_rng(0)
  assert preprocess.make_example(record, always, rng)['sex'] == 0
  assert preprocess.make_example(record, always)['sex'] == 1  # no training
