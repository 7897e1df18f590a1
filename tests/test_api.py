"""A run from Python says what the commands say."""

import csv
import math
import pathlib
import re

import numpy as np
import pytest
import run_films

import boneage_jax as ba
from boneage_jax import export
from boneage_jax import predict
from boneage_jax.inference import one_film
from boneage_jax.training import restore

FILMS = (1, 2, 3)
SEXES = ('M', 'F', 'unknown')


@pytest.fixture(scope='module')
def run(untrained):
  return ba.load(untrained / 'run', batch_size=3)


@pytest.fixture(scope='module')
def said(run, untrained):
  files = [run_films.path(untrained, film) for film in FILMS]
  return run.predict(files, sex=SEXES)


def test_ages_are_those_of_predict(said, untrained, tmp_path, capsys):
  table = tmp_path / 'films.csv'
  lines = [
    f'{run_films.path(untrained, film)},{sex}'
    for film, sex in zip(FILMS, SEXES, strict=True)
  ]
  table.write_text('\n'.join(['file,sex', *lines]))
  with pytest.raises(SystemExit) as stop:
    predict.main(
      [
        *(f'--workdir={untrained}/run', f'--table={table}'),
        *('--batch_size=3', f'--out={tmp_path}/out'),
      ]
    )
  assert stop.value.code == 0
  with open(tmp_path / 'out/predictions.csv') as file:
    rows = list(csv.DictReader(file))
  assert [one.sex for one in said] == list(SEXES)
  for one, row in zip(said, rows, strict=True):
    assert f'{one.age_predicted:.3f}'.startswith(
      f'{float(row["age_predicted"]):.3f}'
    )
    assert one.status == row['status']
  assert said[2].age_predicted == pytest.approx(
    (said[2].age_if_male + said[2].age_if_female) / 2
  )


def test_images_are_as_files(run, said, untrained):
  images = [run_films.read(untrained, film) for film in FILMS]
  found = run.predict(images, sex=SEXES)
  assert [one.age_predicted for one in found] == [
    one.age_predicted for one in said
  ]
  assert all(len(repr(one)) < 2000 for one in found)  # no arrays
  (alone,) = run.predict(images[0], sex='M')  # of other padding
  assert alone.age_predicted == pytest.approx(said[0].age_predicted, abs=1e-3)


def test_a_film_that_cannot_be_read_loses_no_other(
  run, said, untrained, tmp_path
):
  (tmp_path / 'no.png').write_bytes(b'no film')
  films = [tmp_path / 'no.png', untrained / 'films/1.png', 'absent.png']
  found = run.predict(films, sex='M')
  expected = ['refused', said[0].status, 'refused']
  assert [one.status for one in found] == expected
  assert [math.isnan(one.age_predicted) for one in found] == [True, False, True]
  assert 'No such file' in found[2].reason
  (one,) = run.predict([untrained / 'films/1.png'], sex=None)  # no DICOM header
  assert one.status == 'refused' and 'sex' in one.reason
  sheet = ba.contact_sheet(found, columns=2)
  assert sheet.ndim == 3 and sheet.shape[0] >= 2 * 440


def test_embeddings_of_the_stage(run, untrained):
  images = [run_films.read(untrained, film) for film in FILMS]
  found = run.embed(images, sex=SEXES)
  assert found.dtype == np.float32 and len(found) == 3
  of_boy, of_girl = run.embed([images[2]] * 2, sex=['M', 'F'])
  np.testing.assert_allclose(found[2], (of_boy + of_girl) / 2, atol=1e-5)
  assert np.abs(found[0] - found[1]).max() > 0


def test_a_map_for_each_stream(run, untrained):
  maps = run.heatmap(untrained / 'films/1.png', sex='M')
  assert set(maps) == {'carpal', 'metacarpal'}
  for one in maps.values():
    assert one.dtype == np.float32 and one.ndim == 2 and one.min() >= 0
  one = ba.load(untrained / 'run', stage='localizer')
  assert set(one.heatmap(untrained / 'films/1.png', sex='M')) == {'film'}


def test_a_map_is_the_gradient_of_the_age(untrained):
  """By finite differences of the head, of a net of one stream."""
  one = ba.load(untrained / 'run', stage='localizer')
  film = untrained / 'films/1.png'
  (found,) = one.heatmap(film, sex='M').values()
  encoded = one_film.record(one.nets, run_films.read(untrained, 1), 'M')[
    'record'
  ]
  record = {**encoded, 'sex': 1.0, 'id': '0', 'row': 0}
  _, seen = one.nets.look([record], {})
  batch = one.nets.net.batch(seen)
  net = restore.merge(*one.nets.net.loaded[1:])
  features = net.features(batch)
  age = lambda x: float(net.head(x, net.scalars(batch))['age'][0])
  weights = []
  for channel in range(features.shape[-1]):  # one channel up, everywhere
    up, down = (
      age(features.at[..., channel].add(step)) for step in (1e-2, -1e-2)
    )
    weights.append((up - down) / 2e-2)
  expected = np.maximum(np.asarray(features[0]) @ np.array(weights), 0)
  largest = np.unravel_index(expected.argmax(), expected.shape)
  scale = np.array(found.shape) / expected.shape
  place = np.unravel_index(found.argmax(), found.shape)
  assert np.all(np.abs(np.array(place) / scale - largest) <= 1)


def test_errors_of_the_run(run):
  found = run.evaluate()
  assert {'test', 'validation'} <= set(found['splits'])
  assert found['splits']['test']['mae'] > 0


def test_a_model_file_says_the_same(said, untrained, tmp_path):
  export.main([f'--workdir={untrained}/run', f'--out={tmp_path}/model'])
  model = ba.load(tmp_path / 'model', batch_size=3)
  files = [run_films.path(untrained, film) for film in FILMS]
  found = model.predict(files, sex=SEXES)
  assert [one.age_predicted for one in found] == [
    one.age_predicted for one in said
  ]


@pytest.mark.parametrize(
  ('films', 'sex', 'word'),
  [
    (['1.png', '2.png'], ['M'], 'one sex for all films or one each, got 1'),
    ([np.zeros((4, 4), np.float32)], 'M', 'uint8 .H, W., got float32'),
    ([np.zeros((4, 4, 3), np.uint8)], 'M', r'got uint8 \[4, 4, 3\]'),
  ],
)
def test_wrong_arguments_are_named(run, films, sex, word):
  with pytest.raises(ValueError, match=word):
    run.predict(films, sex)


def test_films_that_embed_cannot_read_are_named(run):
  with pytest.raises(ValueError, match=r'absent\.png: '):
    run.embed(['absent.png'], sex='M')
  with pytest.raises(ValueError, match="'M' or 'F', got 'unknown'"):
    run.heatmap(np.eye(64, dtype=np.uint8), sex='unknown')
  with pytest.raises(ValueError, match='one prediction or more'):
    ba.contact_sheet([])


def test_an_ensemble_has_no_map_of_its_own(combined):
  run = ba.load(combined / 'run')
  with pytest.raises(ValueError, match='joins several nets'):
    run.heatmap(combined / 'films/1.png', sex='M')


def test_no_run_is_said(tmp_path):
  with pytest.raises(ValueError, match=r'No run in .*absent'):
    ba.load(tmp_path / 'absent')


def test_the_package_has_no_other_names():
  assert {'load', 'Run', 'contact_sheet'} <= set(dir(ba))
  with pytest.raises(AttributeError, match='nothing'):
    _ = ba.nothing


def test_the_page_shows_what_runs(untrained, monkeypatch):
  page = pathlib.Path(__file__).parent.parent / 'docs/how-to/python.md'
  (code,) = re.findall(r'```python\n(.*?)```', page.read_text(), re.S)
  monkeypatch.chdir(untrained)
  (untrained / 'runs').mkdir(exist_ok=True)
  for name, to in (
    ('runs/cascade_phantom', 'run'),
    ('film.png', 'films/2.png'),
  ):
    if not (untrained / name).exists():
      (untrained / name).symlink_to(untrained / to)
  names = {'image': run_films.read(untrained, 1)}
  exec(code, names)
  assert len(names['found']) == len(names['numbers']) == 2
  assert set(names['maps']) == {'carpal', 'metacarpal'}
