"""Tables of films from the layouts of RHPE and the Digital Hand Atlas."""

import csv

from encode import encode
import numpy as np
import pytest

from boneage_jax.data import own_table
from tfds_rsna import import_table

FILM = encode(np.arange(200, dtype=np.uint8).reshape(20, 10))
RHPE = 'ID,Male,Boneage,Chronological\n'


def write(folder, files):
  for name, content in files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
      content if isinstance(content, bytes) else content.encode()
    )


def rows(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def test_rhpe(tmp_path, capsys):
  labels = 'RHPE_Annotations/RHPE_Boneage_{}.csv'
  write(
    tmp_path / 'rhpe',
    {
      labels.format('train'): f'{RHPE}1,True,120,125\n2,False,60,58\n',
      labels.format('val'): f'{RHPE}3,False,200,190\n',
      'RHPE_train/00001.png': FILM,
      'RHPE_train/images/00002.png': FILM,  # as some copies have it
      'RHPE_val/00003.png': FILM,
    },
  )
  out = tmp_path / 'tables/films.csv'
  import_table.main(['rhpe', str(tmp_path / 'rhpe'), f'--out={out}'])
  assert '3 films' in capsys.readouterr().out
  first, second, third = rows(out)
  assert first == {
    'file': '../rhpe/RHPE_train/00001.png', 'sex': 'M', 'age_true': '120',
    'chronological_age': '125', 'split': 'train',
  }  # fmt: skip
  assert second['file'].endswith('images/00002.png') and second['sex'] == 'F'
  assert third['split'] == 'validation'
  archive = own_table.read(str(out))
  assert [one.id for one in archive.films['train']] == ['1', '2']
  assert archive.films['validation'][0].said == {'chronological_age': 190}


def test_digital_hand_atlas(tmp_path, capsys):
  write(
    tmp_path,
    {
      'JPEGimages/ASIF/ASIF05/5262.jpg': FILM,
      'JPEGimages/BLKM/BLKM13/7101.jpg': FILM,
      'JPEGimages/other/1.jpg': FILM,  # of no such folder
      'JPEGimages/ASIF/ASIF06/9.jpg': FILM,  # without an age
      'ages.csv': 'id;reader;boneage\n5262;A;5,5\n7101.jpg;B;13\n',
    },
  )
  ages, out = tmp_path / 'ages.csv', tmp_path / 'films.csv'
  flags = [f'--ages={ages}', f'--out={out}']
  import_table.main(['dha', str(tmp_path), *flags])
  assert '1 of 3 films below' in capsys.readouterr().out
  assert [(row['sex'], row['age_true']) for row in rows(out)] == [
    ('F', '5,5'), ('M', '13'),
  ]  # fmt: skip
  girl, boy = own_table.read(str(out), age_unit='years').films['train']
  assert (girl.male, girl.age, boy.male, boy.age) == (False, 66, True, 156)


def test_a_line_that_is_cut_short_has_empty_cells(tmp_path):
  labels = f'{RHPE}1,True,120\n'
  write(tmp_path, {'RHPE_Boneage_train.csv': labels, 'RHPE_train/1.png': FILM})
  out = tmp_path / 'films.csv'
  import_table.main(['rhpe', str(tmp_path), f'--out={out}'])
  assert rows(out)[0]['age_true'] == '120'


@pytest.mark.parametrize(
  ('layout', 'files', 'says'),
  [
    (
      'rhpe',
      {'RHPE_Boneage_train.csv': 'ID,Male,Boneage,Chronological,boneage\n'},
      'each column once, got boneage twice',
    ),
    ('rhpe', {'a.csv': RHPE}, 'Expected RHPE_Boneage_train.csv below'),
    ('rhpe', {'RHPE_Boneage_val.csv': 'ID,Male\n1,True\n'}, 'got no boneage'),
    ('dha', {'ages.csv': 'id,boneage\n'}, 'Expected films such as JPEG'),
    (
      'dha',
      {'HISF/HISF00/8.jpg': FILM, 'ages.csv': 'id,boneage\n9,1\n8,2\n'},
      '1 lines have no film below .*: 9. Add',
    ),
  ],
)
def test_what_is_missing_is_said(tmp_path, layout, files, says):
  write(tmp_path, files)
  flags = [f'--ages={tmp_path}/ages.csv'] * (layout == 'dha')
  out = f'--out={tmp_path}/films.csv'
  with pytest.raises(SystemExit, match=says):
    import_table.main([layout, str(tmp_path), *flags, out])
  assert not (tmp_path / 'films.csv').exists()
