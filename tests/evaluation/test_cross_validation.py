"""What folds of made-up nets of one sex predicted, joined."""

import json
import shutil

import fake_run
import numpy as np
import pytest

from boneage_jax.core import config as config_lib
from boneage_jax.data import splits
from boneage_jax.evaluation import cross_validation
from boneage_jax.runs import predictions

FOLDS = 2


@pytest.fixture
def run(tmp_path):
  """Two folds of a net of boys, each film predicted as 10 or 20 too old."""
  films = fake_run.films(120)
  folder = fake_run.write(tmp_path / 'run', films, stage='boys')
  path = folder / 'config.json'
  config = json.loads(path.read_text())
  config['data'] |= {'folds': FOLDS, 'fold': -1}
  config['boys']['input']['sex'] = 'M'
  path.write_text(json.dumps(config))
  shutil.rmtree(folder / 'boys')
  names, _ = splits.assign(films, 'auto', **fake_run.FRACTIONS)
  for fold in range(FOLDS):
    own = folder / f'fold_{fold}'
    (own / 'boys').mkdir(parents=True)
    shutil.copytree(folder / 'prepare', own / 'prepare')
    config['data']['fold'] = fold
    (own / 'config.json').write_text(json.dumps(config))
    split = splits.fold(films, names, FOLDS, fold)
    of = (films['sex'] == 1) & (split != 'train')
    rows = {name: films[name][of] for name in ('id', 'sex', 'age')}
    rows |= {'split': split[of], 'prediction': rows['age'] + 10 * (fold + 1)}
    predictions.write_predictions(str(own / 'boys'), rows)
  return folder, films


def test_films_of_the_stage_are_those_of_its_sex(run):
  folder, films = run
  config = config_lib.read_config(str(folder / 'config.json'))
  result = cross_validation.join_folds(config, 'boys', str(folder))
  rows = predictions.read_predictions(str(folder / 'boys/predictions.csv'))
  assert sorted(rows['id']) == sorted(films['id'][films['sex'] == 1])
  assert sum(result['films'].values()) == len(rows['id'])
  error = rows['prediction'] - rows['age']
  test = rows['split'] == 'test'
  np.testing.assert_allclose(error[test], 15, atol=1e-3)
  assert set(error[~test].round()) == {10, 20}
  config.boys.input.sex = ''
  with pytest.raises(ValueError, match='films lost, moved or twice'):
    cross_validation.join_folds(config, 'boys', str(folder))
