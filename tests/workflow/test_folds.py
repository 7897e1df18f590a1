"""All folds of a run, with nets that know the answer but for their fold."""

import csv
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tiny_cascade

from boneage_jax import evaluate
from boneage_jax.data import groups
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import cross_validation
from boneage_jax.imaging import boxes
from boneage_jax.runs import predictions
from boneage_jax.runs import run as run_lib
from boneage_jax.workflow import folds
from boneage_jax.workflow import jobs
from boneage_jax.workflow import run as workflow_run

FOLDS = 3


def job(ran, fail=()):
  """A train job whose net errs by 10 months times its fold and one."""

  def train(config, stage, workdir):
    fold = config.data.fold
    ran.append((stage, fold))
    if (stage, fold) in fail:
      raise ValueError('stopped')
    films = selection.stage_films(config, stage, workdir)
    assert len(selection.select_split(films, 'train')['id'])
    folder = os.path.join(workdir, stage)
    os.makedirs(folder, exist_ok=True)
    keep = films['split'] != 'train'
    ids, probability = films['id'][keep], np.zeros((keep.sum(), 240))
    probability[:, fold] = 1
    np.savez(f'{folder}/distributions.npz', id=ids, probability=probability)
    with open(f'{folder}/predictions.csv', 'w', newline='') as file:
      writer = csv.writer(file)
      writer.writerow(predictions.FILE_COLUMNS[:5])
      for k in np.flatnonzero(keep):
        sex = groups.sex_text(films['sex'][k]).item()
        film = [films['id'][k], films['split'][k], sex, films['age'][k]]
        error = 10 * (fold + 1) + 0.01 * (int(film[0]) % 2)
        writer.writerow([*film, film[-1] + error])
    pathlib.Path(folder, 'done.json').write_text('{}')

  return train


def config(archive, prepared, **changes):
  value = tiny_cascade.get_config()
  value.stages = ('prepare', 'localizer', 'report')
  value.manual_dir = archive
  value.data_dir = str(pathlib.Path(prepared).parents[2])
  value.data.update({'folds': FOLDS, **changes})
  value.report.update({'stage': 'localizer', 'regions_from': ''})
  return value.lock()


@pytest.fixture(scope='module')
def run(archive, prepared, tmp_path_factory):
  """Folder of a run that was stopped in its second fold and went on."""
  folder = tmp_path_factory.mktemp('folds') / 'run'
  with pytest.MonkeyPatch.context() as patch:
    ran = []
    stops = job(ran, fail=[('localizer', 1)])
    patch.setitem(jobs.JOBS, 'train', stops)
    with pytest.raises(ValueError, match='stopped'):
      workflow_run.run(config(archive, prepared), str(folder))
    assert ran == [('localizer', 0), ('localizer', 1)]
    patch.setitem(jobs.JOBS, 'train', job(ran))
    workflow_run.run(config(archive, prepared), str(folder))
    assert ran[2:] == [('localizer', 1), ('localizer', 2)]
  return folder


def test_each_film_is_predicted_by_the_fold_that_did_not_see_it(run):
  joined = run_lib.read_run(str(run))
  assert joined.name == 'run:localizer'
  rows, error = joined.rows, joined.rows['prediction'] - joined.rows['age']
  films = sources.load_films(sources.prepared_folder(str(run), 'original'))
  assert sorted(rows['id']) == sorted(films['id'])
  seen = 0
  for fold in range(FOLDS):
    one = run_lib.read_run(str(run / f'fold_{fold}'), 'localizer')
    own = one.rows['id'][one.rows['split'] == 'validation']
    assert not set(own.tolist()) & one.train
    of = np.isin(rows['id'], own)
    assert (rows['split'][of] == 'validation').all()
    np.testing.assert_allclose(error[of], 10 * (fold + 1), atol=0.02)
    probability = run_lib.distributions(joined, rows['id'][of])
    assert (probability.argmax(1) == fold).all()
    seen += of.sum()
    assert f'fold {fold} of 3 (from 0) validates' in one.data['split']
  test = rows['split'] == 'test'
  assert seen + test.sum() == len(rows['id']) and test.sum() > 2
  np.testing.assert_allclose(error[test], 20, atol=0.02)
  probability = run_lib.distributions(joined, rows['id'][test])
  np.testing.assert_allclose(probability[:, :3], 1 / 3, atol=1e-3)
  assert joined.train == frozenset(rows['id'][~test].tolist())
  assert 'each of 3 folds validates in turn' in joined.data['split']


def test_what_is_joined_is_a_run_to_the_commands(run, tmp_path, capsys):
  evaluate.main(['errors', f'{run}:localizer'])
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
    for split in splits_lib.HELD_OUT:
      assert member[split]['mae'] == pytest.approx(10 * (fold + 1), abs=0.02)
  counts = [member['validation']['n'] for member in result['members']]
  assert result['films']['validation'] == sum(counts)
  report = json.loads((run / 'report/report.json').read_text())
  assert report['splits']['test']['mae'] == pytest.approx(20, abs=0.02)
  mean = np.dot(counts, [10, 20, 30]) / sum(counts)
  found = report['splits']['validation']['mae']
  assert found == pytest.approx(mean, abs=0.02)
  assert not (run / 'fold_0/report').exists()
  assert report['data']['split'] == result['data']['split']


def test_sex_medians_are_of_other_films(archive, prepared, run):
  report = json.loads((run / 'report/report.json').read_text())
  films = sources.load_films(prepared)
  where = {}
  for fold in range(FOLDS):
    one = run_lib.read_run(str(run / f'fold_{fold}'), 'localizer')
    for film, split in zip(one.rows['id'], one.rows['split'], strict=True):
      where.setdefault(film.item(), {})[fold] = split
  splits = {1: 'validation', FOLDS: 'test'}
  errors = {'validation': [], 'test': []}
  for k, film in enumerate(films['id'].tolist()):
    medians = []
    for fold in where[film]:
      others = [i not in where or fold not in where[i] for i in films['id']]
      of = np.array(others) & (films['sex'] == films['sex'][k])
      medians.append(np.median(films['age'][of]))
    errors[splits[len(medians)]].append(abs(np.mean(medians) - films['age'][k]))
  for split, sizes in errors.items():
    row = report['references']['sex_median'][split]
    assert row['mae'] == pytest.approx(np.mean(sizes))


def test_test_films_of_the_archive_are_in_no_fold(archive, prepared):
  value = config(archive, prepared)
  films = sources.load_films(prepared)
  films['split'] = np.where(np.arange(len(films['id'])) % 5, 'train', 'test')
  test = films['split'] == 'test'
  films['split'] = selection.assign(value, films)[0]
  dealt = cross_validation.splits(value, films)
  assert test.any() and ((dealt == 'test') == test).all()
  assert ((dealt == 'validation').sum(0) == ~test).all()


def test_regions_are_of_the_fold_that_saw_no_label(archive, prepared, tmp_path):
  value = config(archive, prepared)
  films = sources.load_films(prepared)
  films['split'] = selection.assign(value, films)[0]
  for fold in range(FOLDS):
    folder = tmp_path / f'fold_{fold}' / 'regions'
    folder.mkdir(parents=True)
    box = (0.1 * fold, 0.0, 1.0, 1.0)
    rows = [
      (i, 'carpal', boxes.Region(box, 0.5, True)) for i in films['id'].tolist()
    ]
    boxes.write_regions(str(folder / 'regions.csv'), rows)
    covered = {'validation': {'carpal': {'n': fold}}, 'all': {}}
    (folder / 'coverage.json').write_text(json.dumps(covered))
    maps = np.full((len(rows), 1, 2, 2), fold, np.float16)
    np.savez(folder / 'maps.npz', id=films['id'], maps=maps)
  names = cross_validation.splits(value, films)
  found, coverage, heat = cross_validation.located(
    value, 'regions', str(tmp_path), films
  )
  assert sorted(found) == sorted(heat['maps']) == sorted(films['id'].tolist())
  for k, film in enumerate(films['id'].tolist()):
    home = (
      0 if films['split'][k] == 'test' else int(heat['maps'][film][0, 0, 0])
    )
    assert names[home, k] == films['split'][k]
    assert found[film]['carpal'].box[0] == pytest.approx(0.1 * home)
  assert [
    coverage[f'validation, fold {k}']['carpal']['n'] for k in range(3)
  ] == [*range(3)]


def test_films_that_were_lost_or_moved(archive, prepared, run, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(run, folder)
  path = folder / 'fold_1/localizer/predictions.csv'
  lines = path.read_text().splitlines(True)
  lost = next(k for k, line in enumerate(lines) if ',validation,' in line)
  path.write_text(''.join(lines[:lost] + lines[lost + 1 :]))
  film = lines[lost].split(',')[0]
  message = rf"validation films once, .* such as \['{film}'\].*remove fold_<k>"
  with pytest.raises(ValueError, match=message):
    cross_validation.join_folds(
      config(archive, prepared), 'localizer', str(folder)
    )


def test_a_run_of_folds_that_was_moved_knows_its_training_films(run, tmp_path):
  folder = tmp_path / 'elsewhere'
  shutil.copytree(run, folder)
  path = folder / 'localizer/ensemble.json'
  path.write_text(path.read_text().replace(str(run), '/gone/run'))
  moved = run_lib.read_run(str(folder))
  assert moved.train == run_lib.read_run(str(run)).train and moved.train


def test_one_fold_alone(archive, prepared, tmp_path, monkeypatch):
  ran = []
  monkeypatch.setitem(jobs.JOBS, 'train', job(ran))
  one = config(archive, prepared, fold=2)
  one.stages = ('prepare', 'localizer')
  workflow_run.run(one, str(tmp_path))
  assert ran == [('localizer', 2)]
  assert not (tmp_path / 'fold_0').exists()


def test_folds_need_prepared_data(archive, prepared, tmp_path):
  value = config(archive, prepared)
  value.stages = ('localizer',)
  with pytest.raises(ValueError, match="run the 'prepare' stage first"):
    workflow_run.run(value, str(tmp_path))


def test_folds_without_test_films_say_so(
  archive, prepared, tmp_path, monkeypatch, capsys
):
  monkeypatch.setitem(jobs.JOBS, 'train', job([]))
  folder = tmp_path / 'run'
  workflow_run.run(config(archive, prepared, test_fraction=0.0), str(folder))
  assert 'The run has no test films' in capsys.readouterr().out
  result = json.loads((folder / 'localizer/ensemble.json').read_text())
  count = len(sources.load_films(prepared)['id'])
  assert result['films'] == {'test': 0, 'validation': count}
  assert list(result['splits']) == ['validation']
  report = json.loads((folder / 'report/report.json').read_text())
  assert report['splits']['validation']['n'] == count
  assert 'test' not in report['splits']


def test_ages_of_regressors_are_joined_too(
  archive, prepared, tmp_path, monkeypatch
):
  value = config(archive, prepared).unlock()
  jobs.run_stages(value, ('prepare',), str(tmp_path))
  monkeypatch.setitem(jobs.JOBS, 'fit_regressors', job([]))
  value.localizer.job = 'fit_regressors'
  folds.run_folds(value, ('localizer',), str(tmp_path))
  joined = predictions.read_predictions(f'{tmp_path}/localizer/predictions.csv')
  assert len(joined['id']) == len(sources.load_films(prepared)['id'])
