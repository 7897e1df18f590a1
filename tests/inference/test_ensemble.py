"""An ensemble of nets reads a film as its stage did."""

import numpy as np
import pytest
import untrained_run

from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import codec
from boneage_jax.inference import loading
from boneage_jax.runs import run as run_lib


@pytest.fixture
def run(combined):
  return str(combined / 'run')


def test_stage_writes_the_mean_of_its_members(run):
  one = run_lib.read_run(run)
  assert one.name == 'run:ensemble' and one.train
  by_folder = run_lib.read_run(f'{run}/ensemble')
  assert by_folder.name == one.name and by_folder.config == one.config
  each = [run_lib.read_run(run, stage).rows for stage in untrained_run.MEMBERS]
  for rows in each:
    np.testing.assert_array_equal(rows['id'], one.rows['id'])
  mean = np.mean([rows['prediction'] for rows in each], axis=0)
  np.testing.assert_allclose(one.rows['prediction'], mean, atol=1e-3)


def test_films_get_the_age_of_the_stage(run):
  one = run_lib.read_run(run)
  predictor = loading.load(run, batch_size=2)
  assert predictor.builder_config == 'original' and predictor.inverted
  films, _ = selection.split_films(one.config, run, predictor.builder_config)
  films = selection.select_split(films, 'test')
  folder = sources.prepared_folder(run, predictor.builder_config)
  source = sources.film_source(folder, films)
  records = [source[0], source[1]]
  outputs, found = predictor.outputs(records)
  rows = dict(zip(one.rows['id'], one.rows['prediction'], strict=True))
  expected = [rows[i] for i in films['id'][:2]]
  np.testing.assert_allclose(outputs['age'], expected, atol=2e-3)
  assert 'probability' not in outputs  # `whole_image` has no bins
  assert set(found[0].regions) == {'carpal', 'metacarpal'}
  image = codec.read(records[0]['image']).image
  sex = 'M' if records[0]['sex'] > 0 else 'F'
  result = loading.load(run).predict(image, sex)
  np.testing.assert_allclose(result.age_predicted, expected[0], atol=2e-3)
  assert set(result.regions) == {'carpal', 'metacarpal'}


def test_of_folds_films_get_the_mean_of_all(large_archive, tmp_path):
  def change(settings):
    settings.data.folds = 2
    settings.stages = ('prepare', 'localizer', 'whole_image')
    untrained_run.combine(settings, ('localizer', 'whole_image'))

  run = str(untrained_run.create(tmp_path, large_archive, change) / 'run')
  each = [
    run_lib.read_run(f'{run}/fold_{k}:whole_image').rows for k in range(2)
  ]
  joined = run_lib.read_run(f'{run}:whole_image').rows
  test = joined['id'][joined['split'] == 'test']
  of = lambda rows: rows['prediction'][np.searchsorted(rows['id'], test[0])]
  by_id = [{n: v[np.argsort(r['id'])] for n, v in r.items()} for r in each]
  assert abs(of(by_id[0]) - of(by_id[1])) > 0.1
  for stage in ('whole_image', 'localizer', 'ensemble'):
    one = run_lib.read_run(f'{run}:{stage}').rows
    age = dict(zip(one['id'].tolist(), one['prediction'], strict=True))
    predictor = loading.load(run, '' if stage == 'ensemble' else stage)
    for film in test[:2].tolist():
      path = tmp_path / 'films' / f'{film}.png'
      image = codec.read(path.read_bytes()).image
      sex = 'M' if one['sex'][one['id'] == film][0] > 0 else 'F'
      found = predictor.predict(image, sex).age_predicted
      np.testing.assert_allclose(found, age[film], atol=2e-3)


@pytest.mark.parametrize('stage', ['regions', 'orientation', 'stages', 'no'])
def test_stages_without_an_age_net_are_refused(run, stage):
  with pytest.raises(ValueError, match='trains or combines age nets') as error:
    loading.load(run, stage)
  said = str(error.value)
  assert f"got '{stage}'; choose one with --stage: " in said
  assert said.endswith(': assessor, ensemble, localizer, whole_image.')
