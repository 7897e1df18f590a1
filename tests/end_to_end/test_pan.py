"""Pan 2020 on made-up hands: features, regressors, new films."""

import json
import sys

import made_up_crops
import numpy as np
import pytest
import untrained_run

from boneage_jax.core import stages
from boneage_jax.data import selection
from boneage_jax.inference import predictor
from boneage_jax.inference import regression
from boneage_jax.models import regressors
from boneage_jax.runs import predictions
from boneage_jax.training import features
from boneage_jax.training import fit_regressors
from configs import pan

SIZE = (40, 30)


def tiny():
  config = pan.get_config('phantom').unlock()
  second = {**untrained_run.BACKBONE, 'endpoint': 'stage2'}
  backbones = {'first': untrained_run.BACKBONE, 'second': second}
  pan.add_ages(config, backbones, (), SIZE)
  for name in (*config.regressors.features_from, 'regressors'):
    config[name].input.regions = ('carpal',)  # as made_up_crops calls it
  config.regressors.boosting.update(trees=60, features=0.5)
  config.regressors.random_forest.update(trees=20, features=0.5)
  return config


def films(count=80):
  rng = np.random.default_rng(0)
  splits = np.repeat(['train', 'validation', 'test'], (count - 24, 12, 12))
  return {
    'id': np.array([f'film{k}' for k in range(count)]),
    'position': np.arange(count),
    'split': splits,
    'sex': rng.choice([-1.0, 1.0], count).astype(np.float32),
    'age': rng.uniform(20, 220, count).astype(np.float32),
  }


@pytest.mark.ci
def test_hands_become_features_and_features_ages(tmp_path, monkeypatch):
  pytest.importorskip('sklearn', reason='scikit-learn is not installed')
  config, workdir = tiny(), str(tmp_path)
  made_up_crops.write(tmp_path / 'register', films(), SIZE, 0.1)
  names, widths = config.regressors.features_from, []
  for name in names:
    features.check(stages.Stage(config, name, workdir))
    features.write_features(config, name, workdir)
    done = json.loads((tmp_path / name / 'done.json').read_text())
    assert done['shape'][:2] == [1, 1] and done['weights'] == 'random'
    widths.append(done['shape'][2])
  fit_regressors.check(stages.Stage(config, 'regressors', workdir))
  fit_regressors.fit_regressors(config, 'regressors', workdir)
  folder = tmp_path / 'regressors'
  done = json.loads((folder / 'done.json').read_text())
  assert done == {'films': 56, 'numbers': sum(widths) + 1}

  rows = predictions.read_predictions(str(folder / 'predictions.csv'))
  errors = json.loads((folder / 'regressors.json').read_text())
  for split in ('validation', 'test'):
    of = rows['split'] == split
    mae = np.abs(rows['prediction'] - rows['age'])[of].mean()
    assert errors[split][regressors.MEAN] == pytest.approx(mae, abs=1e-3)
    median = np.abs(rows['age'][of] - np.median(rows['age'])).mean()
    assert mae < 0.7 * median  # the bars tell

  # A killed job starts over and ends with the same files.
  kept = {
    n: (folder / n).read_bytes() for n in ('predictions.csv', 'done.json')
  }
  for name in kept:
    (folder / name).unlink()
  fit_regressors.fit_regressors(config, 'regressors', workdir)
  assert kept == {name: (folder / name).read_bytes() for name in kept}

  # New films need no scikit-learn, and get the run's ages.
  for name in [n for n in sys.modules if n.partition('.')[0] == 'sklearn']:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, 'sklearn', None)
  part = selection.select_split(films(), 'test')
  source = selection.stage_source(config, 'regressors', workdir, part)
  read = predictor.NETS[config.regressors.job]
  assert read is regression.Regression
  nets = read(config, 'regressors', workdir, 4)
  found = nets([source[k] for k in range(3)])['age']
  ages = dict(zip(rows['id'], rows['prediction'], strict=True))
  wanted = [ages[film] for film in part['id'][:3].tolist()]
  np.testing.assert_allclose(found, wanted, atol=0.05)
  (folder / stages.REGRESSORS).unlink()
  with pytest.raises(ValueError, match='run the stage'):
    read(config, 'regressors', workdir, 4)
