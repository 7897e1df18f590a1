"""Runs read back: which films, which data, which films trained."""

import hashlib
import json
import os
import shutil

import fake_run
import numpy as np
import pytest

from boneage_jax.runs import lineage
from boneage_jax.runs import predictions
from boneage_jax.runs import run as run_lib

FILMS = fake_run.films()


@pytest.fixture
def run(tmp_path):
  return fake_run.write(tmp_path / 'run', FILMS, sd=10)


def _draw(film):
  digest = int(hashlib.sha256(f'{film}'.encode()).hexdigest()[:16], 16)
  return digest / 2**64


def test_ways_to_name_a_run(run):
  fake_run.write(run, FILMS, seed=5, stage='localizer')
  shown = run_lib.read_run(str(run))
  assert shown.name == 'run:localizer'  # what the report shows
  for name in (f'{run}:assessor', str(run / 'assessor')):
    other = run_lib.read_run(name)
    assert other.name == 'run:assessor'
    assert other.folder == str(run / 'assessor')
  assert run_lib.read_run(str(run), 'assessor').folder == str(run / 'assessor')
  errors = [r.rows['prediction'] - r.rows['age'] for r in (shown, other)]
  assert np.std(errors[0] - errors[1]) > 1


def test_a_run_of_another_version(run):
  path = run / 'config.json'
  config = json.loads(path.read_text())
  del config['format']
  path.write_text(json.dumps(config))
  message = r'Expected "format": 1 in .*config\.json, got none: another version'
  with pytest.raises(ValueError, match=message):
    run_lib.read_run(str(run))


def test_rows_data_and_training_films(run):
  read = run_lib.read_run(str(run))
  held_out = [i for i in FILMS['id'].tolist() if _draw(i) < 0.7]
  assert sorted(read.rows['id'].tolist()) == sorted(held_out)
  assert read.train == set(FILMS['id'].tolist()) - set(held_out)
  text = lineage.dataset_line(read.data)
  # The labels of the test films are those in dispute.
  assert 'labels (test) sha256 cdcdcdcdcdcd;' in text
  assert text.startswith('made up, subset: 600 of 9999 films; labels (train)')
  train = len(read.train)
  assert f'hash split of 600 films by id: {train} train, ' in text


def test_training_films_without_the_data(run):
  full = run_lib.read_run(str(run))
  shutil.rmtree(run / 'data')
  read = run_lib.read_run(str(run))
  assert read.train is None and 'not known' in lineage.dataset_line(read.data)
  ids = FILMS['id'][:50].tolist()
  expected = {i for i in ids if _draw(i) >= 0.7}
  assert (
    run_lib.trained_on(read, ids) == run_lib.trained_on(full, ids) == expected
  )
  # Splits that the hash does not give: the archive's own, films unknown.
  path = run / 'assessor/predictions.csv'
  path.write_text(path.read_text().replace('validation', 'test'))
  assert run_lib.trained_on(run_lib.read_run(str(run)), ids) is None


def test_films_of_a_net_that_it_started_from_are_not_forgotten(run, tmp_path):
  more = {**FILMS, 'id': np.char.add('5', FILMS['id'])}
  before = fake_run.write(tmp_path / 'before', more)
  config = json.loads((run / 'config.json').read_text())
  start = {'run': f'{before}:assessor', 'ids_are_unrelated': False}
  config['assessor']['init_from'] = start
  config['both'] = {'job': 'ensemble', 'members': ['assessor']}
  (run / 'config.json').write_text(json.dumps(config))
  shutil.copytree(run / 'assessor', run / 'both')
  ids = [*FILMS['id'].tolist(), *more['id'].tolist()]
  expected = {i for i in ids if _draw(i) >= 0.7}
  for stage in ('assessor', 'both'):
    read = run_lib.read_run(f'{run}:{stage}')
    assert read.train == run_lib.trained_on(read, ids) == expected
  shutil.rmtree(before)
  for stage in ('assessor', 'both'):
    read = run_lib.read_run(f'{run}:{stage}')
    assert read.train is None and run_lib.trained_on(read, ids) is None


def test_an_official_split_is_not_guessed_without_the_data(run):
  config = json.loads((run / 'config.json').read_text())
  config['data']['split'] = 'chen500'
  (run / 'config.json').write_text(json.dumps(config))
  shutil.rmtree(run / 'data')
  read = run_lib.read_run(str(run))
  assert run_lib.trained_on(read, FILMS['id'].tolist()) is None


def test_the_report_names_data_that_are_gone(run):
  shutil.rmtree(run / 'data')
  os.makedirs(run / 'report')
  data = {'name': 'ten films', 'label_file_sha256': '12' * 32}
  (run / 'report/report.json').write_text(json.dumps({'data': data}))
  text = lineage.dataset_line(run_lib.read_run(str(run)).data)
  assert text == 'ten films; labels sha256 121212121212'


def test_what_is_no_run(run, tmp_path):
  with pytest.raises(ValueError, match=r'a config.json, or of an ensemble'):
    run_lib.read_run(str(tmp_path))
  with pytest.raises(
    ValueError, match=r"of 'whole_image', only of assessor; name"
  ):
    run_lib.read_run(f'{run}:whole_image')


def test_a_training_film_among_the_test_films(run):
  config = json.loads((run / 'config.json').read_text())
  config['data']['validation_fraction'] = 0.1
  (run / 'config.json').write_text(json.dumps(config))
  moved = sum(0.5 <= _draw(i) < 0.7 for i in FILMS['id'].tolist())
  with pytest.raises(ValueError, match=f'one split, but {moved} films'):
    run_lib.read_run(str(run))


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('{id},test,M,90.0,91.0,,,,', 'each film once'),
    (
      '1,test,M,90.0,nan,,,,',
      '1 of .* age_predicted .* not finite numbers, as that of film 1, .nan',
    ),
  ],
)
def test_bad_rows(run, line, message):
  path = run / 'assessor/predictions.csv'
  first = path.read_text().splitlines()[1].split(',')[0]
  with open(path, 'a') as file:
    file.write(line.format(id=first) + '\n')
  with pytest.raises(ValueError, match=message):
    run_lib.read_run(str(run))


def test_a_report_is_not_a_stage(run):
  os.makedirs(run / 'report')
  (run / 'report/predictions.csv').write_text(
    'id,split,sex,age_true,age_predicted\n1,test,M,90,91\n'
  )
  with pytest.raises(
    ValueError, match='is a report: name the stage that it shows'
  ):
    run_lib.read_run(f'{run}:report')


def test_common_films(run, tmp_path):
  some = {name: column[100:] for name, column in FILMS.items()}
  other = fake_run.write(tmp_path / 'b', some, seed=2)
  a, b = run_lib.read_run(str(run)), run_lib.read_run(str(other))
  films = run_lib.align_predictions([a, b])
  ids = films['id'].tolist()
  assert set(ids) == set(a.rows['id'].tolist()) & set(b.rows['id'].tolist())
  for k, one in enumerate((a, b)):
    by_id = dict(
      zip(one.rows['id'].tolist(), one.rows['prediction'], strict=True)
    )
    assert films['prediction'][k].tolist() == [by_id[i] for i in ids]
  assert np.all(films['split'][0] == films['split'][1])


@pytest.mark.parametrize('column', ['age', 'sex'])
def test_other_labels_are_refused(run, tmp_path, column):
  table = {name: values.copy() for name, values in FILMS.items()}
  k = next(k for k, i in enumerate(FILMS['id'].tolist()) if _draw(i) < 0.4)
  table[column][k] *= -1
  other = fake_run.write(tmp_path / 'b', table)
  with pytest.raises(ValueError, match=f'for 1 of .* film {FILMS["id"][k]}'):
    run_lib.align_predictions(
      [run_lib.read_run(str(run)), run_lib.read_run(str(other))]
    )


def test_a_sex_that_one_run_knows_serves_all(run, tmp_path):
  film = next(i for i in FILMS['id'].tolist() if _draw(i) < 0.4)
  each = [run_lib.read_run(str(run))]
  for sex in (0.0, -1.0, 1.0):
    table = {name: values.copy() for name, values in FILMS.items()}
    table['sex'][table['id'] == film] = sex
    each.append(
      run_lib.read_run(str(fake_run.write(tmp_path / f'{sex}', table)))
    )
  _, unknown, girl, boy = each
  for order in ((unknown, girl), (girl, unknown)):
    films = run_lib.align_predictions(order)
    assert films['sex'][films['id'] == film] == -1
  with pytest.raises(ValueError, match=f'for 1 of .* film {film}'):
    run_lib.align_predictions((unknown, girl, boy))


def test_no_common_film(run, tmp_path):
  table = {**FILMS, 'id': np.char.add('5', FILMS['id'])}
  other = fake_run.write(tmp_path / 'b', table)
  with pytest.raises(ValueError, match='none among run:assessor, b:assessor'):
    run_lib.align_predictions(
      [run_lib.read_run(str(run)), run_lib.read_run(str(other))]
    )


def test_distributions(run):
  read = run_lib.read_run(str(run))
  ids = read.rows['id'][::-3]
  probability = run_lib.distributions(read, ids)
  np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
  inside = (read.rows['prediction'][::-3] > 40) & (
    read.rows['prediction'][::-3] < 200
  )
  mean = probability @ np.arange(240)
  np.testing.assert_allclose(
    mean[inside], read.rows['prediction'][::-3][inside], atol=0.05
  )
  with pytest.raises(ValueError, match='of another run'):
    run_lib.distributions(read, np.array(['1']))
  os.remove(run / 'assessor/distributions.npz')
  assert run_lib.distributions(read, ids) is None


@pytest.mark.parametrize('column', ['age_true', 'age_predicted'])
@pytest.mark.parametrize('value', ['nan', 'inf', '', 'twelve'])
def test_ages_that_are_no_numbers_are_refused(run, column, value):
  path = run / 'assessor/predictions.csv'
  header, *lines = path.read_text().splitlines()
  cells = lines[3].split(',')
  cells[header.split(',').index(column)] = value
  lines[3] = ','.join(cells)
  path.write_text('\n'.join([header, *lines]) + '\n')
  message = (
    f'1 of {len(lines)} values of {column} in .*film {cells[0]}, .{value}'
  )
  for read in (run_lib.read_run, lambda _: predictions.read_predictions(path)):
    with pytest.raises(ValueError, match=message):
      read(f'{run}:assessor')


@pytest.mark.parametrize(
  'change, total',
  [
    (lambda row: row * 0, '0'),
    (lambda row: row * np.nan, 'nan'),
    (lambda row: row / 2, '0.5'),
    (lambda row: np.where(np.arange(240) < 120, -1 / 120, 2 / 120), '0.999'),
  ],
)
def test_rows_that_are_no_distributions_are_refused(run, change, total):
  path = str(run / 'assessor/distributions.npz')
  read = run_lib.read_run(f'{run}:assessor')
  ids = read.rows['id']
  assert run_lib.distributions(read, ids).shape == (len(ids), 240)
  with np.load(path) as file:
    stored = {name: file[name] for name in file}
  stored['probability'][4] = change(stored['probability'][4])
  np.savez(path, **stored)
  message = rf'1 of {len(ids)} rows .* film {ids[4]} \(sum {total}'
  with pytest.raises(ValueError, match=message):
    run_lib.distributions(read, ids)


def test_a_film_with_two_distributions_is_refused(run):
  path = str(run / 'assessor/distributions.npz')
  read = run_lib.read_run(f'{run}:assessor')
  with np.load(path) as file:
    stored = {name: file[name] for name in file}
  stored['id'][1] = stored['id'][0]
  np.savez(path, **stored)
  with pytest.raises(
    ValueError, match=f'each film once .* {stored["id"][0]} m'
  ):
    run_lib.distributions(read, read.rows['id'])
