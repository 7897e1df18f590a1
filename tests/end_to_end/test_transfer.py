"""Nets of photographs on films: features once, or crops; on small phantoms."""

import json

import jax
import numpy as np
import pytest
import transfer_run

from boneage_jax.core import sizes
from boneage_jax.core import stages
from boneage_jax.data import input_pipeline
from boneage_jax.data import selection
from boneage_jax.inference import net as net_lib
from boneage_jax.inference import predictor as predictor_lib
from boneage_jax.models import layers
from boneage_jax.runs import age_map_file
from boneage_jax.runs import predictions
from boneage_jax.train_compile import programs
from boneage_jax.training import features
from boneage_jax.training import loop
from boneage_jax.training import restore
from boneage_jax.workflow import validate
from configs import bonet


def maps_whose_mean_is_the_age(folder, found):
  """The maps of ages of a stage that predicted `found`."""
  maps = age_map_file.read([str(folder)])
  assert set(maps.ages) == set(found['id'].tolist())
  rows = zip(found['id'].tolist(), found['prediction'], strict=True)
  for film, age in rows:
    assert maps.ages[film].mean() == pytest.approx(age, rel=1e-6, abs=2e-4)
  return maps


def start(config, workdir, prepared):
  (workdir / 'prepare').mkdir()
  done = json.dumps({'folders': {'original': prepared}})
  (workdir / 'prepare' / 'done.json').write_text(done)
  return str(workdir)


@pytest.mark.ci
def test_off_the_shelf(prepared, tmp_path):
  config = transfer_run.tiny()
  workdir = start(config, tmp_path, prepared)
  validate.validate(config, workdir)
  features.write_features(config, 'features', workdir)
  folder = tmp_path / 'features'
  done = json.loads((folder / 'done.json').read_text())
  # 48 pixels give 6 x 6 positions, a crop of 32 has 4 x 4: 3 x 3 windows.
  assert done['shape'] == [3, 3, 16] and done['films'] == 48
  assert done['weights'] == 'random'

  with np.load(folder / 'features.npz') as file:
    stored = {name: file[name] for name in file.files}
  assert stored['features'].dtype == np.float16
  assert stored['weights_hash'] == done['weights_hash']
  net = json.dumps(config.features.net.to_dict())  # tuples become lists
  assert json.loads(str(stored['net'])) == json.loads(net)

  # Statistics of random nets are those of whole batches of training films.
  films = selection.stage_films(config, 'features', workdir)
  train = selection.select_split(films, 'train')
  source = selection.stage_source(config, 'features', workdir, train)
  net = restore.merge(*restore.load_net(config, 'features', workdir))
  means, variances = [], []
  for batch in input_pipeline.eval_batches(source, config.features.input, 8):
    if batch['valid'].all():
      seen = layers.preprocess(
        batch['image'], net.backbone.input_range, net.backbone.in_channels
      )
      first = np.asarray(net.backbone.stem.conv.conv(seen), np.float64)
      means.append(first.mean((0, 1, 2)))
      variances.append(first.var((0, 1, 2)))
  assert 1 < len(means) < 8
  norm = net.backbone.stem.conv.bn
  np.testing.assert_allclose(norm.mean[...], np.mean(means, 0), atol=1e-4)
  np.testing.assert_allclose(norm.var[...], np.mean(variances, 0), rtol=1e-3)

  # A killed job does all of it again, and finds the same.
  (folder / 'done.json').unlink()
  (folder / 'features.npz').unlink()
  features.write_features(config, 'features', workdir)
  with np.load(folder / 'features.npz') as file:
    np.testing.assert_array_equal(file['features'], stored['features'])
  assert json.loads((folder / 'done.json').read_text()) == done

  stage = 'offtheshelf'
  config[stage].update(epochs=0, steps=12, eval_steps=6)
  # Of random nets, features are large.
  config[stage].optimizer.update(learning_rate=1e-3, grad_clip_norm=1.0)
  loop.train_and_evaluate(config, stage, workdir)
  found = predictions.read_predictions(
    str(tmp_path / stage / 'predictions.csv')
  )
  assert np.ptp(found['prediction']) > 0.1

  # The whole net reads films, and says of them what features gave.
  films = selection.stage_films(config, stage, workdir)
  films = selection.select_split(films, 'test')
  source = selection.stage_source(config, stage, workdir, films, features=False)
  options = config[stage].input
  batches = input_pipeline.eval_batches(source, options, len(films['id']))
  batch = batches[0]
  graph, variables = restore.load_net(config, stage, workdir)
  outputs = jax.jit(lambda v, b: restore.merge(graph, v)(b))(
    variables, {'image': batch['image'], 'sex': batch['sex']}
  )
  assert outputs['age_map'].shape[1:] == (3, 3)
  order = {film: i for i, film in enumerate(found['id'].tolist())}
  wanted = [found['prediction'][order[film]] for film in films['id'].tolist()]
  np.testing.assert_allclose(outputs['age'], wanted, rtol=2e-3)
  # The map is of windows, averaged here in NumPy.
  net = restore.merge(graph, variables)
  deep = np.asarray(net.features({'image': batch['image'][:1]}))[0]
  row = stored['id'].tolist().index(films['id'][0])
  for i, j in ((0, 0), (1, 2)):
    mean = deep[i : i + 4, j : j + 4].mean((0, 1))
    np.testing.assert_allclose(
      stored['features'][row, i, j], mean, rtol=2e-3, atol=1e-3
    )
  predicted = net_lib.Net(config, stage, workdir, 2)([source[0], source[1]])
  np.testing.assert_allclose(predicted['age'], wanted[:2], rtol=2e-3)
  maps = maps_whose_mean_is_the_age(tmp_path / stage, found)
  for film, ages in zip(films['id'], predicted['age_map'], strict=False):
    np.testing.assert_allclose(ages, maps.ages[film], rtol=2e-3)
  # Positions lie at 0.5, 8.5, ...; the first window has the first four.
  assert maps.places.grid == [[8, 12.5], [8, 12.5]]


@pytest.mark.ci
@pytest.mark.parametrize('stage', ['finetune', 'bonet'])
def test_crops_train_and_whole_films_judge(prepared, tmp_path, stage):
  if stage == 'bonet':
    config = bonet.get_config('phantom').unlock()
    config.bonet.net.backbone.width = 0.02
    config.bonet.input.size = 128
  else:
    config = transfer_run.tiny('resnet,finetune,phantom')
  section = config[stage]
  config.data.update(validation_fraction=0.2, test_fraction=0.25)
  section.update(epochs=0, steps=4, eval_steps=2, eval_batch_size=8)
  section.net.hidden = 16
  workdir = start(config, tmp_path, prepared)
  validate.validate(config, workdir)
  loop.train_and_evaluate(config, stage, workdir)
  found = predictions.read_predictions(
    str(tmp_path / stage / 'predictions.csv')
  )
  assert np.isfinite(found['prediction']).all()
  maps = maps_whose_mean_is_the_age(tmp_path / stage, found)
  assert len(maps.deformation) == (len(maps.ages) if stage == 'bonet' else 0)
  predictor = predictor_lib.Predictor(config, stage, workdir)
  film = np.random.default_rng(0).integers(0, 255, (90, 70), dtype=np.uint8)
  said = predictor.predict(film, 'F')
  assert said.age_map.shape == maps.ages[found['id'][0]].shape
  assert said.age_predicted == pytest.approx(said.age_map.mean(), abs=1e-3)
  assert (said.deformation is None) == (stage != 'bonet')
  config[stage].tta.flip = True  # a map lies on films as they are
  predictor = predictor_lib.Predictor(config, stage, workdir)
  assert predictor.predict(film, 'F').age_map is None
  # More than one place on a whole film, and in training a crop's alone.
  graph, variables = restore.load_net(config, stage, workdir)
  films = selection.stage_films(config, stage, workdir)
  source = selection.stage_source(config, stage, workdir, films)
  batch = input_pipeline.eval_batches(source, section.input, 4)[0]
  batch = {key: batch[key] for key in ('image', 'sex')}
  look = lambda v, b: restore.merge(graph, v)(b)['age_map']
  shape = jax.eval_shape(look, variables, batch).shape
  assert shape[0] == 4 and shape[1] * shape[2] > 1
  side = sizes.training_hw(section.input)[0]
  crop = batch['image'][:, :side, :side]
  shape = jax.eval_shape(look, variables, batch | {'image': crop}).shape
  assert shape == (4, 1, 1)


def test_a_step_on_features_can_be_lowered_from_shapes():
  lowered = programs.lower_train(
    transfer_run.tiny(), 'offtheshelf', 8, jax.devices()[:1]
  )
  state, batch = lowered.in_avals[0]
  assert batch['features'].shape == (8, 1, 1, 16)
  assert set(state.params) == {'pool', 'age_head'}


def test_random_features_are_asked_for():
  config = transfer_run.tiny()
  config.allow_random_features = False
  stage = stages.Stage(config, 'features', '/nowhere')
  with pytest.raises(ValueError, match=r'--config\.allow_random_features=True'):
    features.check(stage)
  config.features.net.pool = 'gap'
  with pytest.raises(ValueError, match="the pool 'gap_map', got age_net with"):
    features.check(stage)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('input.size', 64, r'offtheshelf\.input\.size=48, as features reads'),
    ('input.crops_from', 'register', r"input\.crops_from='', as features"),
    ('input.regions', ('carpal',), r'input\.regions=\(\), as features reads'),
    ('net.backbone.width', 0.25, r'offtheshelf\.net\.backbone to be that of'),
    ('tta.flip', True, r'Expected no views in offtheshelf\.tta'),
  ],
)
def test_features_are_of_the_same_net_and_films(field, value, message):
  config = transfer_run.tiny()
  stage = stages.Stage(config, 'offtheshelf', '/nowhere')
  features.check_reader(stage)
  config.offtheshelf.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=message):
    features.check_reader(stage)
