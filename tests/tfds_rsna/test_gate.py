"""The integrity gate: every kind of bad input and the message for it."""

import shutil

import dummy_archive
from encode import encode
import numpy as np
import pytest

from tfds_rsna import build

TRAIN = dummy_archive.TRAIN


@pytest.fixture
def manual_dir(tmp_path):
  return dummy_archive.create(tmp_path)


def edit(row, text):
  def change(manual_dir):
    path = manual_dir / f'{TRAIN}.csv'
    lines = path.read_text().splitlines()
    lines[row] = text
    path.write_text('\n'.join(lines) + '\n')

  return change


def cut(name, data=None, keep=0.7):
  def change(manual_dir):
    path = manual_dir / TRAIN / '2.png'
    content = data or path.read_bytes()
    path.unlink()
    path = path.with_name(name)
    path.write_bytes(content[: int(len(content) * keep)])

  return change


def flip_byte(manual_dir):
  path = manual_dir / TRAIN / '2.png'
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def two_files(manual_dir):
  path = manual_dir / TRAIN / '2.jpg'
  path.write_bytes(encode(dummy_archive.pixels(2), '.jpg'))


def two_splits(manual_dir):
  (manual_dir / 'boneage-validation-dataset').mkdir()
  for i in (2, 12):
    path = manual_dir / f'boneage-validation-dataset/{i}.png'
    path.write_bytes(encode(dummy_archive.pixels(2)))
  dummy_archive.write_table(
    manual_dir / 'Validation Dataset.csv',
    [
      ('Image ID', 'male', 'Bone Age (months)'),
      (2, 'TRUE', 60),
      (12, 'TRUE', 60),
    ],
  )


CSV = f'{TRAIN}.csv: '


@pytest.mark.parametrize(
  ('change', 'reason'),
  [
    (cut('2.png'), 'Truncated PNG: '),
    (
      cut('2.jpg', encode(dummy_archive.pixels(2), '.jpg')),
      'premature end of data segment',
    ),
    (flip_byte, 'Corrupt PNG: wrong checksum at byte '),
    (
      cut('2.png', b'GIF89a' * 9),
      'Expected PNG, JPEG, DICOM, TIFF or BMP, got another kind',
    ),
    (cut('2.png', keep=0), 'Expected an image, got an empty file'),
    (
      cut('2.png', encode(np.zeros((9, 9), np.uint8)), 1),
      'Blank image: ',
    ),
    (
      cut('5.png'),
      '2: listed for train, but there is no film file 2.png, .jpg',
    ),
    (two_files, '2: several files: '),
    (two_splits, '2: stands in several splits: train, validation'),
    (
      edit(2, '2,999,True'),
      f"2: {CSV}bone age '999' is not a number of months "
      'from 0 to 240 (line 3)',
    ),
    (edit(2, '2,nan,True'), f"2: {CSV}bone age 'nan' is not a number"),
    (edit(2, '2,,True'), f"2: {CSV}bone age '' is not a number"),
    (edit(2, '2,60,O'), f"2: {CSV}sex 'O' is neither male nor female (line 3)"),
    (edit(2, '2,60'), f"2: {CSV}sex '' is neither male nor female (line 3)"),
    (
      edit(2, 'a b,60,True'),
      f"a b: {CSV}Expected an id without spaces, commas and slashes, got 'a b' "
      '(line 3)',
    ),
    (edit(4, '2,60,True'), f'2: {CSV}listed more than once (lines 3, 5)'),
  ],
)
def test_bad_films_are_listed_and_can_be_allowed(
  manual_dir, tmp_path, change, reason
):
  change(manual_dir)
  with pytest.raises(ValueError, match='1 bad films, 0 allowed:') as e:
    build.build(manual_dir, tmp_path / 'data')
  assert reason in str(e.value)
  assert 'leave these films out with allow_bad_films=1' in str(e.value)
  assert not list((tmp_path / 'data').rglob('*2.1.0'))

  folder = build.build(manual_dir, tmp_path / 'data', allow_bad_films=1)
  assert '2' not in dummy_archive.read_back(folder)
  summary = dummy_archive.info(folder)
  assert len(summary['bad']) == 1
  assert summary['notes'][-1].startswith('1 bad films left out:\n  ')
  assert summary['splits']['train'] == len(dummy_archive.read_back(folder))
  with pytest.raises(ValueError, match='1 bad films, 0 allowed:'):
    build.build(manual_dir, tmp_path / 'data')


def test_a_split_without_one_good_film_says_so(manual_dir, tmp_path):
  for path in (manual_dir / TRAIN).iterdir():
    path.write_bytes(b'no film')
  with pytest.raises(ValueError, match='Not one good film in train'):
    build.build(manual_dir, tmp_path / 'data', allow_bad_films=4)


def broken_zip(manual_dir):
  shutil.rmtree(manual_dir / TRAIN)
  (manual_dir / f'{TRAIN}.zip').write_bytes(b'PK not whole')


def second_label_file(manual_dir):
  shutil.copy(manual_dir / f'{TRAIN}.csv', manual_dir / 'train.csv')


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    (shutil.rmtree, r'manual_dir .*manual is not a folder.\nExpected in the'),
    (
      lambda d: (shutil.rmtree(d), d.mkdir()),
      r'manual holds no label file of bone ages.\nExpected in the folder',
    ),
    (
      lambda d: shutil.rmtree(d / TRAIN),
      r'training-dataset.csv labels the training films, but no training film ',
    ),
    (lambda d: (d / f'{TRAIN}.csv').unlink(), 'holds no label file'),
    (
      edit(0, 'id,months,male'),
      r"training-dataset.csv: expected columns for an id \('id', 'Image ID'.*; "
      r"found 'id', 'months', 'male'.",
    ),
    (
      edit(0, 'id;boneage;male'),
      'expected rows of 3 cells, .*; found 1 in line 2',
    ),
    (broken_zip, 'boneage-training-dataset.zip is not a whole zip file'),
    (second_label_file, 'Expected one label file for train, found .* and '),
  ],
)
def test_what_is_no_archive_says_what_is_expected(
  manual_dir, tmp_path, change, says
):
  change(manual_dir)
  with pytest.raises(ValueError, match=says):
    build.build(manual_dir, tmp_path / 'data')


def test_no_manual_dir_and_no_such_config(manual_dir, tmp_path):
  with pytest.raises(ValueError, match='No manual_dir was given'):
    build.build('', tmp_path)
  with pytest.raises(ValueError, match="original, px768, px512, got 'px9'"):
    build.build(manual_dir, tmp_path, config='px9')
