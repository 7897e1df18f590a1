"""Where tables and films lie: one outer zip, links, and what is not read."""

import csv
import shutil
import zipfile

import dummy_archive
import openpyxl
import pytest

from tfds_rsna import archive
from tfds_rsna import build

TRAIN = dummy_archive.TRAIN


@pytest.fixture
def manual_dir(tmp_path):
  return dummy_archive.create(tmp_path)


def zip_up(folder, path):
  """Moves all that is in a folder into a zip file."""
  files = sorted(p for p in folder.rglob('*') if p.is_file())
  with zipfile.ZipFile(path, 'w') as file:
    for one in files:
      file.write(one, one.relative_to(folder))
  for one in folder.iterdir():
    if one != path:
      shutil.rmtree(one) if one.is_dir() else one.unlink()


def without_places(found):
  return [(f.id, f.male, f.age, f.read()) for f in found.films['train']]


def test_one_outer_zip_is_read_as_if_it_were_extracted(manual_dir):
  shutil.copytree(
    dummy_archive.DUMMY / 'boneage-test-dataset',
    manual_dir / 'boneage-test-dataset',
  )
  dummy_archive.write_table(
    manual_dir / 'boneage-test-dataset.csv', [('Case ID', 'Sex'), (21, 'M')]
  )
  expected = archive.read(manual_dir)
  films = without_places(expected)
  zip_up(manual_dir, manual_dir / 'archive.zip')
  found = archive.read(manual_dir)
  assert without_places(found) == films
  assert found.fingerprint() == expected.fingerprint()
  assert found.label_files['train'] == {
    'file': f'archive.zip/{TRAIN}.csv',
    'sha256': expected.label_files['train']['sha256'],
  }
  assert list(found.films) == ['train']
  assert any('without bone ages' in note for note in found.notes)


def test_an_outer_zip_beside_what_was_extracted_from_it(manual_dir):
  with zipfile.ZipFile(manual_dir / 'archive.zip', 'w') as file:
    for path in sorted(manual_dir.rglob('*')):
      if path.suffix != '.zip':
        file.write(path, path.relative_to(manual_dir))
  found = archive.read(manual_dir)
  assert not found.bad
  assert all(film.container for film in found.films['train'])
  assert f'the folder {TRAIN} beside it is not.' in found.notes[-1]


def test_what_is_not_read_is_named(manual_dir):
  (manual_dir / f'{TRAIN}.csv').rename(manual_dir / 'labels.csv')
  (manual_dir / 'ages train.xls').write_bytes(b'old')
  (manual_dir / 'scans').mkdir()
  (manual_dir / '~$ages train.xlsx').write_bytes(b'open in Excel')
  with zipfile.ZipFile(manual_dir / 'all.zip', 'w') as file:
    file.writestr('boneage-training-dataset.zip', b'inner')
  with pytest.raises(ValueError, match='holds no label file') as error:
    archive.read(manual_dir)
  (line,) = [x for x in str(error.value).splitlines() if 'Not read' in x]
  assert line == (
    "Not read there: scans/ (no 'train', 'valid' or 'test' in its name), "
    'ages train.xls (not of .png, .jpg, .jpeg, .dcm, '
    '.tif, .tiff, .bmp, .csv, .tsv, .xlsx, .zip), '
    "labels.csv (no 'train', 'valid' or 'test' in its name), "
    'all.zip/boneage-training-dataset.zip (a zip in a zip: extract all.zip).'
  )


def test_names_of_any_letters_stand_in_one_line(manual_dir):
  (manual_dir / f'{TRAIN}.csv').unlink()
  with zipfile.ZipFile(manual_dir / 'all.zip', 'w') as file:
    file.writestr('a\n\x1b.png', b'')
  with pytest.raises(ValueError, match='holds no label file') as error:
    archive.read(manual_dir)
  assert 'Not read there: all.zip/a\\x0a\\x1b.png (no split' in str(error.value)
  with zipfile.ZipFile(manual_dir / 'all.zip', 'w') as file:
    file.writestr('train/1.png', b'')
    file.writestr('train\n/1.png', b'')
    file.writestr('train\n.csv', 'id,boneage,male\n1,90,True\n')
  found = archive.read(manual_dir)
  (bad,) = found.bad
  assert 'all.zip/train\\x0a/1.png' in bad[1]
  assert found.label_files['train']['file'] == 'all.zip/train\\x0a.csv'


def test_links_to_nothing_are_named(manual_dir, tmp_path):
  (manual_dir / TRAIN / '2.png').unlink()
  (manual_dir / TRAIN / '2.png').symlink_to('/nowhere/2.png')
  with pytest.raises(ValueError, match=r'1 bad films.*\n  2: .*No such file'):
    build.build(manual_dir, tmp_path / 'data')
  table = manual_dir / f'{TRAIN}.csv'
  table.unlink()
  table.symlink_to('/nowhere/t.csv')
  with pytest.raises(FileNotFoundError, match=str(table)):
    archive.read(manual_dir)


@pytest.mark.parametrize('form', ['semicolons', 'title', 'sheet'])
def test_tables_of_clinics(manual_dir, form):
  table = manual_dir / f'{TRAIN}.csv'
  expected = without_places(archive.read(manual_dir))
  rows = list(csv.reader(table.open()))
  if form == 'semicolons':
    rows = [[cell.replace('30', '30,0') for cell in row] for row in rows]
    text = '\n'.join(';'.join(row) for row in rows)
    table.write_text(text, encoding='utf-16')
  elif form == 'title':
    dummy_archive.write_table(table, [('Klinik Köln', '', ''), *rows])
  else:
    table.unlink()
    book = openpyxl.Workbook()
    sheet = book.create_sheet('Ages')
    for row in rows:
      sheet.append(row)
    book.save(manual_dir / f'{TRAIN}.xlsx')
  assert without_places(archive.read(manual_dir)) == expected


def test_a_row_with_cells_beyond_the_header_is_a_bad_film(manual_dir):
  table = manual_dir / f'{TRAIN}.csv'
  table.write_text(table.read_text().replace('3,90,', '3,90,5,'))
  (bad,) = archive.read(manual_dir).bad
  assert bad == ['3', f'{TRAIN}.csv: line 4 has more cells than the header']


def test_the_home_folder_and_a_folder_that_nobody_can_write_to(
  manual_dir, tmp_path, monkeypatch
):
  monkeypatch.setenv('HOME', str(tmp_path))
  folder = build.build('~/manual', tmp_path / 'data')

  def refuse(_):
    raise OSError(30, 'Read-only file system')

  monkeypatch.setattr(build, '_lock', refuse)
  assert build.build(manual_dir, tmp_path / 'data') == folder
