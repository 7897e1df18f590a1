"""Numbers of films on their way from a user to a batch."""

import numpy as np
import pytest

from boneage_jax.core import scalars
from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import sources
from boneage_jax.imaging import annotations
from boneage_jax.imaging import png
from configs import common

AGES = np.array([100.25, np.nan, 0.0], np.float32)


def films(**more):
  return {
    'id': np.array(['a', 'b', 'c']),
    'split': np.array(['train', 'train', 'test']),
    'sex': np.array([1.0, -1.0, 1.0], np.float32),
    'age': np.array([90.0, 80.0, 70.0], np.float32),
    'position': np.arange(3),
    **more,
  }


def test_a_table_keeps_them_and_has_no_column_without_them(tmp_path):
  path = str(tmp_path / 'films.csv')
  film_table.write_films(path, films(chronological_age=AGES))
  read = film_table.read_films(path)
  np.testing.assert_array_equal(read['chronological_age'], AGES)
  assert (tmp_path / 'films.csv').read_text().splitlines()[2].endswith(',')
  film_table.write_films(path, films())
  header = (tmp_path / 'films.csv').read_text().splitlines()[0]
  assert header == 'id,split,sex,age,position,study,finding,marks'
  assert 'chronological_age' not in film_table.read_films(path)


def test_a_film_without_a_number_that_a_net_reads_is_refused():
  check = lambda table: film_table.check_inputs(
    table, ('sex', 'chronological_age'), 'assessor'
  )
  with pytest.raises(
    ValueError, match='but 1 of 3 films have none, such as b: w'
  ):
    check(films(chronological_age=AGES))
  with pytest.raises(
    ValueError, match='3 of 3 films have none, such as a, b, c: '
  ):
    check(films())
  check(films(chronological_age=np.nan_to_num(AGES)))
  film_table.check_inputs(films(), ('sex',), 'assessor')


def test_a_batch_has_them():
  table = films(chronological_age=AGES)
  image = png.encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
  source = sources.Source(table, lambda index: {'image': image})
  from ml_collections import ConfigDict

  settings = ConfigDict(common.image_input(size=8))
  made = preprocess.make_example(source[0], settings)
  assert made['chronological_age'] == np.float32(100.25)
  plain = sources.Source(films(), lambda index: {'image': image})
  assert 'chronological_age' not in preprocess.make_example(plain[0], settings)


@pytest.mark.parametrize('cell', ['-1', '1501', 'ten', 'nan'])
def test_annotations_have_them_within_limits(tmp_path, cell):
  path = tmp_path / annotations.SCALARS
  path.write_text('id,chronological_age,reader\n4,120.5,x\n5,,y\n')
  assert annotations.load(tmp_path) == {
    '4': {'chronological_age': 120.5},
    '5': {},
  }
  path.write_text(f'id,chronological_age\n4,{cell}\n')
  with pytest.raises(ValueError, match='line 2, film 4: expected a chronologi'):
    annotations.load(tmp_path)


def test_a_user_adds_a_number_by_one_entry(tmp_path, monkeypatch):
  monkeypatch.setitem(
    scalars.SCALARS, 'height', scalars.Scalar('cm', 130.0, 25.0, 250)
  )
  path = tmp_path / 'films.csv'
  path.write_text('file,sex,age_true,height\na.png,M,10,"131,5"\n')
  (row,) = film_table.read_listed(str(path), age_unit='years')
  assert row.scalars == {'height': 131.5} and row.age_true == 120
  path.write_text('file,sex,height\na.png,M,400\n')
  with pytest.raises(ValueError, match="height: '400' is no number of cm from"):
    film_table.read_listed(str(path), age_unit='years')
