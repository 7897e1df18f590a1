"""Films in files, folders, archives, DICOMDIR and tables, by content."""

import io
import os
import zipfile

import dicom_film
from encode import encode
import numpy as np
import pytest

from boneage_jax.imaging import limits as limits_lib
from boneage_jax.inference import film_list

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
PNG = encode(GREY)
KINDS = {
  'a.png': PNG,
  'b': encode(GREY, '.jpg'),
  'c.txt': encode(GREY, '.tif'),
  'd.bmp': encode(GREY, '.bmp'),
}
OTHERS = {
  'BM.txt': b'BMW and other words of a text that goes on for a while',
  'notes.png': b'no picture',
  'empty.jpg': b'',
  '._a.png': b'\0\5\x16\7' + bytes(60),  # of macOS
}


def write(folder, files):
  for name, data in files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def archive(files):
  data = io.BytesIO()
  with zipfile.ZipFile(data, 'w') as file:
    for name, content in files.items():
      file.writestr(name, content)
  return data.getvalue()


def find(*names, **flags):
  archives = film_list.Archives()
  return film_list.find(list(map(str, names)), archives, **flags), archives


def names(found, folder):
  return [os.path.relpath(film.name, folder) for film in found.films]


def test_a_folder_by_content(tmp_path):
  write(tmp_path, KINDS | OTHERS)
  write(tmp_path / 'deep/er', {'z.dcm': dicom_film.encoded(), 'y.png': PNG})
  (tmp_path / 'deep/loop').symlink_to(tmp_path)
  (tmp_path / 'gone.png').symlink_to(tmp_path / 'nowhere')
  write(tmp_path / 'out', {'picture.png': PNG})
  os.mkfifo(tmp_path / 'pipe.png')
  found, _ = find(tmp_path, out=str(tmp_path / 'out'))
  assert names(found, tmp_path) == [
    *sorted(KINDS), 'deep/er/y.png', 'deep/er/z.dcm',
  ]  # fmt: skip
  assert found.others == len(OTHERS) + 1  # and the pipe
  assert [line.split(': ')[0] for line in found.bad] == [
    str(tmp_path / 'gone.png')
  ]


def test_a_zip_archive_by_content(tmp_path):
  files = KINDS | {f'__MACOSX/{name}': data for name, data in OTHERS.items()}
  write(tmp_path, {'films': archive(files), 'e.png': PNG})
  inside = [f'films/{name}' for name in KINDS]
  for place, more in ((tmp_path, ['e.png']), (tmp_path / 'films', [])):
    found, archives = find(place)
    assert names(found, tmp_path) == more + inside
    assert found.others == len(OTHERS)
    for film, data in zip(found.films[-4:], KINDS.values(), strict=True):
      assert archives.read(film, None) == data
  small = limits_lib.Limits(megabytes=1e-5)
  with pytest.raises(ValueError, match='megabytes'):
    archives.read(found.films[0], small)


def test_what_is_wrong_with_an_archive_is_said(tmp_path):
  whole = archive({'a.png': PNG, 'b.png': encode(GREY.T)})
  at = whole.index(PNG) + len(PNG) // 2
  damaged = whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
  write(tmp_path, {'cut.zip': whole[:200], 'damaged.zip': damaged})
  document = archive({'[Content_Types].xml': b'', 'word/1.png': PNG})
  write(tmp_path, {'letter.docx': document})
  found, archives = find(tmp_path)
  assert names(found, tmp_path) == ['damaged.zip/a.png', 'damaged.zip/b.png']
  assert found.others == 1
  (bad,) = found.bad
  assert bad.startswith(f'{tmp_path}/cut.zip: Cannot be read as a zip archive')
  with pytest.raises(ValueError, match='Cannot be unpacked'):
    archives.read(found.films[0], None)
  assert archives.read(found.films[1], None) == encode(GREY.T)


def test_what_is_named_is_a_film_whatever_it_holds(tmp_path):
  write(tmp_path, {'words': b'no film'})
  paths = [tmp_path / 'words', tmp_path / 'nowhere.png', tmp_path / 'words']
  found, _ = find(*paths)
  assert names(found, tmp_path) == ['words', 'nowhere.png']  # each once
  assert not found.bad


def directory(*files):
  """The bytes of a DICOMDIR with an image record for each file."""
  pydicom = pytest.importorskip('pydicom')
  dataset = pydicom.Dataset()
  dataset.file_meta = pydicom.dataset.FileMetaDataset()
  dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
  dataset.file_meta.MediaStorageSOPClassUID = '1.2.840.10008.1.3.10'
  dataset.file_meta.MediaStorageSOPInstanceUID = '1.2.3'
  records = []
  for kind, file in (('PATIENT', None), *(('IMAGE', file) for file in files)):
    record = pydicom.Dataset()
    record.DirectoryRecordType = kind
    if file:
      record.ReferencedFileID = file
    records.append(record)
  dataset.DirectoryRecordSequence = records
  out = io.BytesIO()
  dataset.save_as(out, enforce_file_format=True)
  return out.getvalue()


def test_a_dicomdir(tmp_path):
  film = dicom_film.encoded()
  listed = directory(['IMAGES', 'I2'], ['IMAGES', 'I1'], 'LOST')
  write(tmp_path, {'DICOMDIR': listed, 'images/i2': film, 'IMAGES/I1': film})
  found, archives = find(tmp_path / 'DICOMDIR')
  wanted = ['images/i2', 'IMAGES/I1', 'LOST']
  assert names(found, tmp_path) == wanted
  assert archives.read(found.films[0], None) == film
  found, _ = find(tmp_path)  # the folder has them, too, and no film else
  assert sorted(names(found, tmp_path)) == sorted(wanted[:2])
  write(tmp_path, {'DICOMDIR': directory(['..', 'I2'])})
  found, _ = find(tmp_path / 'DICOMDIR')
  assert 'Expected names of files in the DICOMDIR' in found.bad[0]
  write(tmp_path, {'DICOMDIR': film})
  found, _ = find(tmp_path / 'DICOMDIR')
  assert 'Cannot be read as a DICOMDIR' in found.bad[0]


def own(**form):
  """The begin of a picture of ours, in some encoding."""
  pydicom = pytest.importorskip('pydicom')
  dataset, out = pydicom.Dataset(), io.BytesIO()
  dataset.Modality, dataset.ManufacturerModelName = 'OT', 'boneage_jax'
  dataset.Rows = 8
  dataset.save_as(out, **form)
  return bytes(128) + b'DICM' + out.getvalue()


@pytest.mark.parametrize(
  'form',
  [
    {'implicit_vr': False, 'little_endian': True},
    {'implicit_vr': True, 'little_endian': True},
    {'implicit_vr': False, 'little_endian': False},
  ],
)
def test_what_we_made_is_passed_over(tmp_path, form):
  film, ours = dicom_film.encoded(), own(**form)
  study = {'film': film, 'objects/a.dcm': ours}
  write(tmp_path / 'study', study)
  (tmp_path / 'study.zip').write_bytes(archive(study))
  for place in ('study', 'study.zip'):
    found, _ = find(tmp_path / place)
    assert names(found, tmp_path) == [f'{place}/film']
    assert (found.others, found.bad) == (1, [])
  listed = directory('FILM', 'OURS')
  write(tmp_path / 'cd', {'DICOMDIR': listed, 'FILM': film, 'OURS': ours})
  found, _ = find(tmp_path / 'cd/DICOMDIR')
  assert (names(found, tmp_path), found.others) == (['cd/FILM'], 1)
  found, _ = find(tmp_path / 'study/objects/a.dcm')  # named: refused when read
  assert len(found.films) == 1


def test_pictures_of_a_former_command_are_passed_over(tmp_path):
  rows = b'file,picture\r\nb.png,b_1.png\r\nc.png,c_2.png\r\n'
  files = {'b_1.png': PNG, 'own.png': PNG, 'predictions.csv': rows}
  write(tmp_path / 'no_settings', files)
  files |= {'predictions.json': b'{}'}
  write(tmp_path / 'former', files)
  write(tmp_path / 'damaged', {**files, 'predictions.csv': b'file,pic'})
  found, _ = find(tmp_path)
  assert names(found, tmp_path) == [
    *('damaged/b_1.png', 'damaged/own.png', 'former/own.png'),
    *('no_settings/b_1.png', 'no_settings/own.png'),
  ]
  # Rows and settings are no films anyway.
  assert (found.others, found.bad) == (1 + 2 + 2 + 1, [])
  # Nor in an archive of such a folder, nor where the last row was cut off.
  packed = {f'films/former/{name}': data for name, data in files.items()}
  (tmp_path / 'films.zip').write_bytes(archive({**packed, 'b_1.png': PNG}))
  found, _ = find(tmp_path / 'films.zip')
  kept = ['films.zip/films/former/own.png', 'films.zip/b_1.png']
  assert sorted(names(found, tmp_path)) == sorted(kept)
  assert found.others == 3
  files['predictions.csv'] = rows + b'"d.p'
  write(tmp_path / 'cut', files)
  assert names(find(tmp_path / 'cut')[0], tmp_path) == ['cut/own.png']


def test_a_table_names_films_and_members_of_archives(tmp_path):
  write(tmp_path, {'a.png': PNG, 'films.zip': archive({'in/b.png': PNG})})
  table = tmp_path / 'films.csv'
  table.write_text('File;Sex\na.png;M\nfilms.zip/in/b.png;female\nc.png;\n')
  found, archives = find(tmp_path / 'a.png', table=str(table))
  names = [film.name for film in found.films]
  assert names == ['a.png', 'films.zip/in/b.png', 'c.png']
  sexes = [film.listed and film.listed.sex for film in found.films]
  assert sexes == ['M', 'F', '']
  assert archives.read(found.films[0], None) == PNG
  assert archives.read(found.films[1], None) == PNG
  with pytest.raises(OSError, match='No such file'):
    archives.read(found.films[2], None)


def test_parts_of_films_have_names_of_their_own():
  films = [film_list.Film('a.png', '/a.png'), film_list.Film('b.png', '/b.png')]
  assert film_list.cut(films, '') == films
  names = lambda side: [one.name for one in film_list.cut(films, side)]
  assert names('left') == ['a.png#left', 'b.png#left']
  assert names('both')[:3] == ['a.png#left', 'a.png#right', 'b.png#left']
  assert [one.side for one in film_list.cut(films[:1], 'both')] == [
    *('left', 'right'),
  ]


def test_each_film_comes_once_however_it_is_named(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  write(tmp_path, {'films/1.png': PNG, 'films/2.png': PNG, '1.png': PNG})
  (tmp_path / 'films/t.csv').write_text('file,sex\n1.png,F\n')
  names = ['films', 'films/../films/1.png', '1.png', str(tmp_path / 'films')]
  found = film_list.find(names, film_list.Archives(), 'films/t.csv').films
  assert [(film.name, bool(film.listed)) for film in found] == [
    ('1.png', True),
    ('films/2.png', False),
    (f'{tmp_path}/1.png', False),  # another film than that of the table
  ]
  (tmp_path / 'films/t.csv').write_text('file,sex\n1.png,F\n../films/1.png,M\n')
  with pytest.raises(
    ValueError, match=r'line 3, file: .* is the film of line 2, too'
  ):
    film_list.find([], film_list.Archives(), 'films/t.csv')
