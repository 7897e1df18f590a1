"""Pan 2020 on registered phantoms: features, regressors, report, new films."""

import json
import shutil
import sys

from ml_collections import ConfigDict
import numpy as np
import pytest
import registered_run
import untrained_run

from boneage_jax.core import stages
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.inference import loading
from boneage_jax.models import regressors
from boneage_jax.runs import run as run_lib
from boneage_jax.workflow import run as workflow_run
from configs import common
from configs import pan


def tiny():
  config = registered_run.tiny()
  backbones = {
    'first': untrained_run.BACKBONE,
    'second': {**untrained_run.BACKBONE, 'endpoint': 'stage2'},
  }
  config.allow_random_features = True
  pan.add_ages(config, backbones, (), registered_run.SIZES[0])
  config.features_second.seed = 7
  config.regressors.boosting.update(trees=20, features=0.5)
  config.regressors.random_forest.update(trees=20, features=0.5)
  config.report = ConfigDict(common.report_stage(stage='regressors'))
  return config


@pytest.mark.ci
def test_hands_become_features_and_features_ages(
  registered, tmp_path, monkeypatch
):
  pytest.importorskip('sklearn', reason='scikit-learn is not installed')
  folder = tmp_path / 'run'
  shutil.copytree(registered, folder)
  config = tiny()
  workflow_run.run(config, str(folder))
  done = json.loads((folder / 'regressors/done.json').read_text())
  widths = [
    json.loads((folder / name / 'done.json').read_text())['shape']
    for name in config.regressors.features_from
  ]
  assert [shape[:2] for shape in widths] == [[1, 1], [1, 1]]
  assert done['numbers'] == sum(shape[2] for shape in widths) + 1

  run = run_lib.read_run(str(folder), 'regressors')
  errors = json.loads((folder / 'regressors/regressors.json').read_text())
  report = json.loads((folder / 'report/report.json').read_text())
  for split in ('validation', 'test'):
    of = run.rows['split'] == split
    mae = np.abs(run.rows['prediction'] - run.rows['age'])[of].mean()
    assert errors[split][regressors.MEAN] == pytest.approx(mae, abs=1e-3)
    assert report['splits'][split]['mae'] == pytest.approx(mae, abs=1e-3)

  # A killed job starts over and ends with the same files.
  kept = (folder / 'regressors/predictions.csv').read_bytes()
  (folder / 'regressors/done.json').unlink()
  (folder / 'regressors/predictions.csv').unlink()
  workflow_run.run(config, str(folder))
  assert (folder / 'regressors/predictions.csv').read_bytes() == kept

  # New films need no scikit-learn, and get the run's ages.
  for name in [n for n in sys.modules if n.partition('.')[0] == 'sklearn']:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, 'sklearn', None)
  films, _ = selection.split_films(config, str(folder), 'original')
  films = selection.select_split(films, 'test')
  source = sources.whole_films(config, str(folder), 'original', films, {})
  nets = loading.load(str(folder), batch_size=4)
  outputs, _ = nets.outputs([source[k] for k in range(4)])
  ages = dict(zip(run.rows['id'], run.rows['prediction'], strict=True))
  wanted = [ages[film] for film in films['id'][:4].tolist()]
  np.testing.assert_allclose(outputs['age'], wanted, atol=0.05)
  assert np.ptp(wanted) > 1
  with pytest.raises(ValueError, match='run the stage'):
    (folder / 'regressors' / stages.REGRESSORS).unlink()
    loading.load(str(folder))
