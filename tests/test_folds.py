"""All folds of a run, with nets that know the answer but for their fold."""

import csv
import json
import os
import pathlib

import numpy as np
import pytest
import tiny_cascade

from boneage_jax import data
from boneage_jax import evaluate
from boneage_jax import main
from boneage_jax import runs

FOLDS = 3


def job(ran, fail=()):
  """A train job whose net errs by 10 months times its fold and one."""

  def train(config, stage, workdir):
    fold = config.data.fold
    ran.append((stage, fold))
    if (stage, fold) in fail:
      raise ValueError('stopped')
    films = data.stage_films(config, stage, workdir)
    assert len(data.select(films, 'train')['id'])
    folder = os.path.join(workdir, stage)
    os.makedirs(folder, exist_ok=True)
    keep = films['split'] != 'train'
    ids, probability = films['id'][keep], np.zeros((keep.sum(), 240))
    probability[:, fold] = 1
    np.savez(f'{folder}/distributions.npz', id=ids, probability=probability)
    with open(f'{folder}/predictions.csv', 'w', newline='') as file:
      writer = csv.writer(file)
      writer.writerow(runs.COLUMNS)
      for k in np.flatnonzero(keep):
        film = [films[name][k] for name in runs.COLUMNS[:4]]
        error = 10 * (fold + 1) + 0.01 * (film[0] % 2)
        writer.writerow([*film, film[-1] + error])
    pathlib.Path(folder, 'done.json').write_text('{}')

  return train


def config(archive, prepared, **changes):
  value = tiny_cascade.get_config()
  value.stages = ('prepare', 'localizer', 'report')
  value.manual_dir = archive
  value.data_dir = str(pathlib.Path(prepared).parents[2])
  value.data.update({'folds': FOLDS, **changes})
  value.report.update({'stage': 'localizer', 'regions': ''})
  return value.lock()


@pytest.fixture(scope='module')
def run(archive, prepared, tmp_path_factory):
  """Folder of a run that was stopped in its second fold and went on."""
  folder = tmp_path_factory.mktemp('folds') / 'run'
  with pytest.MonkeyPatch.context() as patch:
    ran = []
    stops = job(ran, fail=[('localizer', 1)])
    patch.setitem(main.JOBS, 'train', stops)
    with pytest.raises(ValueError, match='stopped'):
      main.run(config(archive, prepared), str(folder))
    assert ran == [('localizer', 0), ('localizer', 1)]
    patch.setitem(main.JOBS, 'train', job(ran))
    main.run(config(archive, prepared), str(folder))
    assert ran[2:] == [('localizer', 1), ('localizer', 2)]
  return folder


def test_each_film_is_predicted_by_the_fold_that_did_not_see_it(run):
  joined = runs.read(str(run))
  assert joined.name == 'run:localizer'
  rows, error = joined.rows, joined.rows['prediction'] - joined.rows['age']
  films = data.input_pipeline.load_films(
    data.prepared_folder(str(run), 'original')
  )
  assert sorted(rows['id']) == sorted(films['id'])
  seen = 0
  for fold in range(FOLDS):
    one = runs.read(str(run / f'fold_{fold}'), 'localizer')
    own = one.rows['id'][one.rows['split'] == 'validation']
    assert not set(own.tolist()) & one.train
    of = np.isin(rows['id'], own)
    assert (rows['split'][of] == 'validation').all()
    np.testing.assert_allclose(error[of], 10 * (fold + 1), atol=0.02)
    probability = runs.distributions(joined, rows['id'][of])
    assert (probability.argmax(1) == fold).all()
    seen += of.sum()
    assert f'fold {fold} of 3 (from 0) validates' in one.data['split']
  test = rows['split'] == 'test'
  assert seen + test.sum() == len(rows['id']) and test.sum() > 2
  np.testing.assert_allclose(error[test], 20, atol=0.02)
  probability = runs.distributions(joined, rows['id'][test])
  np.testing.assert_allclose(probability[:, :3], 1 / 3, atol=1e-3)
  assert joined.train == frozenset(rows['id'][~test].tolist())
  assert 'each of 3 folds validates in turn' in joined.data['split']


def test_what_is_joined_is_a_run_to_the_commands(run, tmp_path, capsys):
  evaluate.main(['table', f'{run}:localizer'])
  printed = capsys.readouterr().out
  assert 'run:localizer: phantoms: 48 films' in printed
  evaluate.main(
    ['ensemble', str(run), f'{run}:localizer', f'--out={tmp_path / "both"}']
  )
  assert '2 members; phantoms: 48 films' in capsys.readouterr().out
  evaluate.main(['compare', str(run), str(run / 'fold_0/localizer')])
  assert 'WARNING' not in capsys.readouterr().out


def test_figures_of_folds_and_report(run):
  result = json.loads((run / 'localizer/ensemble.json').read_text())
  assert [m['run'] for m in result['members']] == [
    f'fold_{fold}:localizer' for fold in range(FOLDS)
  ]
  for fold, member in enumerate(result['members']):
    for split in runs.SPLITS:
      assert member[split]['mae'] == pytest.approx(10 * (fold + 1), abs=0.02)
  counts = [member['validation']['n'] for member in result['members']]
  assert result['films']['validation'] == sum(counts)
  report = json.loads((run / 'report/report.json').read_text())
  assert report['splits']['test']['mae'] == pytest.approx(20, abs=0.02)
  mean = np.dot(counts, [10, 20, 30]) / sum(counts)
  found = report['splits']['validation']['mae']
  assert found == pytest.approx(mean, abs=0.02)
  assert not (run / 'fold_0/report').exists()


def test_one_fold_alone(archive, prepared, tmp_path, monkeypatch):
  ran = []
  monkeypatch.setitem(main.JOBS, 'train', job(ran))
  one = config(archive, prepared, fold=2)
  one.stages = ('prepare', 'localizer')
  main.run(one, str(tmp_path))
  assert ran == [('localizer', 2)]
  assert not (tmp_path / 'fold_0').exists()


def test_folds_need_prepared_data(archive, prepared, tmp_path):
  value = config(archive, prepared)
  value.stages = ('localizer',)
  with pytest.raises(ValueError, match="run the 'prepare' stage first"):
    main.run(value, str(tmp_path))
