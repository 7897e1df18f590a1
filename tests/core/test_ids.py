"""Ids of films: text outside, row numbers in a batch, numbers for draws."""

import csv
import hashlib
import json

import dummy_archive
from encode import encode
from ml_collections import ConfigDict
import numpy as np
import pytest
from tensorflow_datasets.core import hashing
import tiny_cascade
import untrained_run

from boneage_jax.core import config as config_lib
from boneage_jax.core import ids
from boneage_jax.data import film_table
from boneage_jax.data import input_pipeline
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import boxes
from boneage_jax.imaging import codec
from boneage_jax.imaging import corruptions
from boneage_jax.runs import predictions
from boneage_jax.runs import run as run_lib
from configs import common
from configs import system
from tfds_rsna import build

LARGE = (str(2**31), str(2**40 + 1))
TEXT = ('P0001a', 'TCGA-07-4', '1.2.840.113619')


@pytest.mark.parametrize(
  ('text', 'film'),
  [
    *((text, '4') for text in ('4', '0004', '4.0', '0004.png', ' 4.JPEG ')),
    ('0', '0'),
    ('000', '0'),
    ('10', '10'),
    (f'{2**40 + 1}.dcm', str(2**40 + 1)),
    ('P0001a', 'P0001a'),
    ('P0001a.PNG', 'P0001a'),
    ('0007.tif', '7'),
    ('P1.TIFF', 'P1'),
    ('3.bmp', '3'),
    ('00P1', '00P1'),
    ('4.5', '4.5'),
    ('1.2.840.113619.dcm', '1.2.840.113619'),
  ],
)
def test_what_an_id_means(text, film):
  assert ids.normalize(text) == film == ids.normalize(film)


@pytest.mark.parametrize('text', ['', ' ', '.png', 'a b', 'a/b', 'a\\b', 'a,b'])
def test_what_is_no_id(text):
  with pytest.raises(ValueError, match=r'Expected (the|an) id .*got'):
    ids.normalize(text)


@pytest.mark.parametrize('whole', [0, 4, 1377, 2**31, 2**40 + 1])
def test_a_whole_number_draws_what_it_drew_as_a_number(whole):
  film = str(whole)
  assert ids.number(film) == whole
  grey = int(np.random.default_rng(whole).integers(255))
  region = {'r1': boxes.Region((0.1, 0.1, 0.9, 0.9), 1.0, True)}
  painted = boxes.holes(region, ('r1',), 'random_constant', film)
  assert painted == [((0.1, 0.1, 0.9, 0.9), grey)]
  pixels = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
  drawn = [case for case in corruptions.CASES if case.drawn]
  assert drawn
  for case in drawn:
    expected = case.change(pixels, rng=np.random.default_rng(whole))
    np.testing.assert_array_equal(case(pixels, film), expected)
  for split in ('train', 'validation'):  # the order of records
    hasher = hashing.Hasher(split)
    assert hasher.hash_key(film) == hasher.hash_key(whole)


def test_text_draws_by_its_hash():
  digest = hashlib.sha256(b'P0001a').hexdigest()
  assert ids.number('P0001a') == int(digest[:16], 16)
  assert ids.number('P0001a') != ids.number('P0001b')


def test_readers_see_numbers_by_value_and_then_text():
  films = ['P10', '10', '9', str(2**40 + 1), 'P1', '100']
  expected = ['9', '10', '100', str(2**40 + 1), 'P1', 'P10']
  assert sorted(films, key=ids.sort_key) == expected


@pytest.fixture(scope='module')
def archive(tmp_path_factory):
  """Archive of 33 films; ids are small, large and text."""
  folder = tmp_path_factory.mktemp('ids') / 'manual'
  name = dummy_archive.TRAIN
  (folder / name).mkdir(parents=True)
  films = [*map(str, range(1, 29)), *LARGE, *TEXT]
  rows = [('id', 'boneage', 'male')]
  for k, film in enumerate(films):
    file = f'{film:>04}' if film.isdecimal() else film  # 0004.png is film 4
    data = encode(dummy_archive.pixels(k, 40, 40))
    (folder / name / f'{file}.png').write_bytes(data)
    rows.append((film, 10 + k, k % 2 == 0))
  dummy_archive.write_table(folder / f'{name}.csv', rows)
  (folder / 'annotations').mkdir()
  dummy_archive.write_table(
    folder / 'annotations' / 'fracture_labels.csv',
    [('id', 'study', 'finding'), ('P0001a', 'S1', 'none'), (2**31, '07', '')],
  )
  return folder, films


@pytest.fixture(scope='module')
def prepared(archive, tmp_path_factory):
  return build.build(archive[0], str(tmp_path_factory.mktemp('data')))


def test_ids_reach_the_table_of_films_as_text(archive, prepared):
  films = sources.load_films(prepared)
  assert sorted(films['id'].tolist()) == sorted(archive[1])
  age = dict(zip(films['id'].tolist(), films['age'].tolist(), strict=True))
  assert age == {film: 10 + k for k, film in enumerate(archive[1])}
  study = dict(zip(films['id'].tolist(), films['study'].tolist(), strict=True))
  assert study == {f: f for f in archive[1]} | {'P0001a': 'S1', LARGE[0]: '7'}
  with open(f'{prepared}/films.csv', newline='') as file:
    assert [row['id'] for row in csv.DictReader(file)] == films['id'].tolist()


def test_a_batch_holds_the_rows_of_the_table(prepared):
  films = sources.load_films(prepared)
  special = np.flatnonzero(np.isin(films['id'], (*LARGE, *TEXT)))[::-1]
  chosen = film_table.select(films, special)
  source = sources.film_source(prepared, chosen)
  settings = common.image_input(size=16)
  (batch,) = input_pipeline.eval_batches(source, ConfigDict(settings), 8)
  assert batch['id'].dtype == np.int32
  assert batch['id'].tolist() == [*special.tolist(), -1, -1, -1]
  for record, row in zip(source, special, strict=False):
    assert record['id'] == films['id'][row] and record['row'] == row
  turned = sources.film_source(
    prepared, chosen, rotations={film: 2 for film in chosen['id'].tolist()}
  )
  for plain, other in zip(source, turned, strict=False):
    images = [codec.decode_stored(r['image']) for r in (plain, other)]
    np.testing.assert_array_equal(images[1], np.rot90(images[0], 2))


def test_predictions_are_of_films_by_their_text(archive, prepared, tmp_path):
  config = system.base('ids', '')
  config.data.update(validation_fraction=0.3, test_fraction=0.5)
  config.net = common.train_stage(
    input=common.image_input(size=32),
    net=common.age_net(backbone=dict(tiny_cascade.BACKBONE)),
    eval_batch_size=8,
  )
  (tmp_path / 'prepare').mkdir()
  (tmp_path / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  (tmp_path / 'config.json').write_text(json.dumps(config_lib.to_json(config)))
  untrained_run.untrained(config, 'net', str(tmp_path))

  films, _ = selection.split_films(config, str(tmp_path), 'original')
  held_out = films['id'][films['split'] != 'train'].tolist()
  assert set(LARGE) & set(held_out) and set(TEXT) & set(held_out)
  stored = predictions.read_predictions(str(tmp_path / 'net/predictions.csv'))
  assert sorted(stored['id'].tolist()) == sorted(held_out)
  months = dict(zip(archive[1], range(10, 99), strict=False))
  assert stored['age'].tolist() == [months[film] for film in stored['id']]
  run = run_lib.read_run(str(tmp_path), 'net')
  assert run.train == set(archive[1]) - set(held_out)
  assert run_lib.distributions(run, run.rows['id']).shape == (
    len(held_out),
    240,
  )


@pytest.mark.parametrize('film', ['a b', '7/8', ''])
def test_a_bad_id_is_a_bad_film(tmp_path, film):
  folder = dummy_archive.create(tmp_path)
  path = folder / f'{dummy_archive.TRAIN}.csv'
  path.write_text(path.read_text().replace('\n2,', f'\n{film},'))
  with pytest.raises(ValueError, match='1 bad films, 0 allowed') as error:
    build.build(folder, str(tmp_path / 'data'))
  reason = f'{path.name}: Expected (the|an) id .*, got {film!r} \\(line 3\\)'
  assert error.match(reason)
  built = build.build(folder, str(tmp_path / 'data'), allow_bad_films=1)
  assert dummy_archive.read_back(built).keys() == set('134')
  ((bad, _),) = dummy_archive.info(built)['bad']
  assert bad == film
