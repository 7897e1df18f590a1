"""A user's table as an archive: films, groups, and all that is wrong."""

import json
import zipfile

import cv2
from encode import encode
import numpy as np
import pytest

from boneage_jax import phantom
from boneage_jax.data import own_table
from boneage_jax.data import prepare
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.workflow import validate
from configs import system
from tfds_rsna import build

HEADER = 'file,sex,age_true,group,chronological_age'


def film(seed, height=20, width=14):
  rng = np.random.default_rng(seed)
  return encode(rng.integers(0, 256, (height, width), dtype=np.uint8))


def table(folder, *lines, header=HEADER):
  path = folder / 'films.csv'
  path.write_text('\n'.join([header, *lines, '']))
  return str(path)


@pytest.fixture
def films(tmp_path):
  """A folder with the films a.png to d.png, and e.png in a zip."""
  for seed, name in enumerate('abcd'):
    (tmp_path / f'{name}.png').write_bytes(film(seed))
  with zipfile.ZipFile(tmp_path / 'more.zip', 'w') as file:
    file.writestr('in/e.png', film(4))
  return tmp_path


def test_a_table_becomes_a_prepared_data_set(films, tmp_path):
  path = table(
    films,
    *('a.png,F,120,p,118', 'b.png,m,60.5,q,', 'c.png,male,9,,'),
    *('d.png,F,126,p,', 'more.zip/in/e.png,F,200,q,'),
  )
  archive = own_table.read(path)
  folder = build.build(archive, str(tmp_path / 'data'))
  found = sources.load_films(folder)
  by_id = {name: k for k, name in enumerate(found['id'].tolist())}
  assert sorted(by_id) == list('abcde')
  order = [by_id[name] for name in 'abcde']
  np.testing.assert_allclose(found['age'][order], [120, 60.5, 9, 126, 200])
  np.testing.assert_array_equal(found['sex'][order], [-1, 1, 1, -1, -1])
  assert found['study'][order].tolist() == ['p', 'q', 'c', 'p', 'q']
  record = sources.film_source(folder, found)[by_id['a']]
  assert record['image'] == (films / 'a.png').read_bytes()
  assert json.loads(record['annotations']) == {
    'study': 'p', 'chronological_age': 118,
  }  # fmt: skip
  assert build.build(own_table.read(path), str(tmp_path / 'data')) == folder
  lines = (films / 'films.csv').read_text().replace(',q,', ',p,')
  (films / 'films.csv').write_text(lines)
  with pytest.raises(ValueError, match='label files differ'):
    build.build(own_table.read(path), str(tmp_path / 'data'))


def test_films_of_a_group_never_stand_in_two_splits_or_folds(tmp_path):
  for k in range(60):
    (tmp_path / f'{k}.png').write_bytes(film(k))
  rows = [f'{k}.png,F,{k + 1},p{k // 3},' for k in range(60)]
  archive = own_table.read(table(tmp_path, *rows))
  listed = archive.films['train']
  columns = {
    'id': np.array([one.id for one in listed]),
    'study': np.array([one.said['study'] for one in listed]),
    'split': np.full(60, 'train'),
  }
  homes = lambda names: {
    (study, name) for study, name in zip(columns['study'], names, strict=True)
  }
  names, _ = splits.assign(columns, 'auto', 0.3, 0.3)
  assert {*names} == {'train', 'validation', 'test'}
  assert len(homes(names)) == 20
  for fold in range(3):
    validate = splits.fold(columns, names, 3, fold)
    assert len(homes(validate)) == 20
  alone, _ = splits.assign(columns | {'study': columns['id']}, 'auto', 0.3, 0.3)
  assert len(homes(alone)) > 20  # else groups would make no difference


def test_own_splits_and_ids(films):
  path = table(
    films,
    *('a.png,F,120,train,1', 'b.png,M,60,val,2', 'c.png,M,9,test,003'),
    header='file,sex,age_true,split,id',
  )
  archive = own_table.read(path)
  assert {s: [f.id for f in some] for s, some in archive.films.items()} == {
    'train': ['1'], 'validation': ['2'], 'test': ['3'],
  }  # fmt: skip


def test_ages_in_years_and_ages_that_look_like_years(films):
  path = table(films, 'a.png,F,12,,', 'b.png,M,3.5,,')
  (note,) = own_table.read(path).notes
  assert 'none of 2 is 25 or more' in note
  archive = own_table.read(path, age_unit='years')
  assert [one.age for one in archive.films['train']] == [144, 42]
  assert not archive.notes
  path = table(films, 'a.png,F,1.5,,', 'b.png,M,2,,')  # all below 25 months
  assert not own_table.read(path, age_unit='years').notes


def test_all_that_is_wrong_with_a_table_is_listed(films):
  (films / 'a b.png').write_bytes(film(9))
  (films / 'sub').mkdir()
  (films / 'sub/b.png').write_bytes(film(9))
  lines = {
    'a.png,F,120,p,train': '',
    'b.png,unknown,60,p,test': 'line 3, sex: unknown, but nets learn from it',
    'gone.png,M,60,,train': 'line 4, file: there is no gone.png: mend',
    'more.zip/in/f.png,M,60,,train': 'line 5, file: there is no more.zip/in/f',
    'c.png,M,,,train': 'line 6, boneage: the cell is empty',
    'd.png,M,7,,': 'line 7, split: empty, but other lines',
    'a b.png,M,7,,train': 'line 8, file: Expected an id without spaces',
    'sub/b.png,M,7,,train': 'line 9, file: the id b stands in line 3, too',
  }
  header = 'file,sex,boneage,group,split'
  path = table(films, *lines, header=header)
  with pytest.raises(ValueError, match=r'films\.csv: 8 faults') as error:
    own_table.read(path, {'age_true': 'boneage'})
  text = str(error.value)
  for part in (
    *lines.values(),
    'line 3, group: p is in test here and in train',
  ):
    assert part in text
  with pytest.raises(ValueError, match='got no age_true, only file, sex, bone'):
    own_table.read(path)


def test_films_of_two_hands_are_cut_and_counted(tmp_path):
  hand = phantom.make_film(0, 0, {'long_side': 160})['image']
  (tmp_path / 'a.png').write_bytes(encode(np.hstack([hand, hand[:, ::-1]])))
  (tmp_path / 'b.png').write_bytes(encode(hand))
  path = table(tmp_path, 'a.png,F,120,,', 'b.png,M,60,,')
  folder = build.build(
    own_table.read(path, two_hands='left'), str(tmp_path / 'data')
  )
  films = sources.load_films(folder)
  read = sources.film_source(folder, films)
  images = {str(films['id'][k]): read[k]['image'] for k in range(2)}
  decode = lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), 0)
  cut = decode(images['a'])
  least = round(0.8 * hand.shape[1])
  assert cut.shape[0] == 160 and abs(cut.shape[1] - hand.shape[1]) < 32
  np.testing.assert_array_equal(cut[:, :least], hand[:, :least])
  assert images['b'] == (tmp_path / 'b.png').read_bytes()
  notes = sources.build_info(folder)['notes']
  assert [n for n in notes if n.startswith('1 film (a): wider than high')]


@pytest.mark.parametrize(
  ('manual_dir', 'table', 'hands', 'says'),
  [
    ('', '', '', r'no data .* --config\.data\.table=FILE, the folder of'),
    ('archive', 'a.csv', '', 'one source of films, got data.table=a.csv and'),
    ('archive', '', 'left', 'cuts films of a table, but there is none'),
  ],
)
def test_a_run_has_one_source_of_films(manual_dir, table, hands, says):
  config = system.base('made_up', '')
  config.manual_dir = manual_dir
  config.data.update(table=table, two_hands=hands)
  with pytest.raises(ValueError, match=says):
    prepare.check_source(config)


def test_settings_of_a_table_are_checked():
  config = system.base('made_up', '')
  config.data.update(table='a.csv', age_unit='years')
  validate.check_data(config)  # not of phantoms
  config.data.two_hands = 'both'
  with pytest.raises(ValueError, match=r'data\.two_hands to be one of , left'):
    validate.check_data(config)
