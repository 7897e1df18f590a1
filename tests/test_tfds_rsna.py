"""The data set: archive layouts, round trip, integrity gate."""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import openpyxl
import pytest
import tensorflow_datasets as tfds

from tfds_rsna import archive
from tfds_rsna import build
from tfds_rsna import films
from tfds_rsna import tfds_rsna_dataset_builder

DUMMY = pathlib.Path(tfds_rsna_dataset_builder.__file__).parent / 'dummy_data'
TRAIN = 'boneage-training-dataset'


def pixels(seed, height=20, width=14):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width), dtype=np.uint8)


def encoded(image, kind='.png'):
  return cv2.imencode(kind, image)[1].tobytes()


def write_table(path, rows):
  with open(path, 'w', newline='') as f:
    csv.writer(f).writerows(rows)


@pytest.fixture
def manual_dir(tmp_path):
  """An archive of four films in an extracted folder: 1.png ... 4.png."""
  folder = tmp_path / 'manual'
  (folder / TRAIN).mkdir(parents=True)
  for i in range(1, 5):
    (folder / TRAIN / f'{i}.png').write_bytes(encoded(pixels(i)))
  rows = [(i, 30 * i, i % 2 == 0) for i in range(1, 5)]
  write_table(folder / f'{TRAIN}.csv', [('id', 'boneage', 'male'), *rows])
  return folder


def read_back(folder, split='train'):
  source = tfds.builder_from_directory(folder).as_data_source(
    split, decoders={'image': tfds.decode.SkipDecoding()})
  return {r['id']: r for r in (source[i] for i in range(len(source)))}


def info(folder):
  return json.loads(pathlib.Path(folder, 'build.json').read_text())


def pack(manual_dir, prefix=''):
  """Turns the extracted folder into the zip file of its name."""
  with zipfile.ZipFile(manual_dir / f'{TRAIN}.zip', 'w') as z:
    for path in sorted((manual_dir / TRAIN).iterdir()):
      z.write(path, f'{prefix}{TRAIN}/{path.name}')
    z.writestr(f'__MACOSX/{TRAIN}/._1.png', b'resource fork')
  shutil.rmtree(manual_dir / TRAIN)


def test_films_come_back_byte_for_byte(manual_dir, tmp_path):
  folder = build.build(manual_dir, tmp_path / 'data')
  assert folder == str(tmp_path / 'data/tfds_rsna/original/1.0.0')
  records = read_back(folder)
  assert records.keys() == {1, 2, 3, 4}
  for i, record in records.items():
    path = manual_dir / TRAIN / f'{i}.png'
    assert record['image'] == path.read_bytes()
    assert record['age'] == 30 * i
    assert record['male'] == (i % 2 == 0)
    assert (record['height'], record['width']) == (20, 14)
    assert record['annotations'] == b''


def test_build_json_calls_a_subset_a_subset(manual_dir, tmp_path):
  summary = info(build.build(manual_dir, tmp_path / 'data'))
  assert summary['name'] == 'RSNA training, subset: 4 of 12611 films'
  assert (summary['films'], summary['of']) == (4, 12611)
  assert summary['splits'] == {'train': 4}
  assert summary['bad'] == []
  assert summary['label_file'] == f'{TRAIN}.csv'
  assert len(summary['label_file_sha256']) == 64


@pytest.mark.parametrize('prefix', ['', f'{TRAIN}/'])
def test_zip_equals_extracted(manual_dir, tmp_path, prefix):
  extracted = build.build(manual_dir, tmp_path / 'a')
  pack(manual_dir, prefix)
  packed = build.build(manual_dir, tmp_path / 'b')
  assert read_back(extracted) == read_back(packed)
  assert info(extracted)['fingerprint'] == info(packed)['fingerprint']
  assert build.build(manual_dir, tmp_path / 'a') == extracted


def test_nested_folder_and_a_zip_beside_its_extraction(manual_dir, tmp_path):
  (manual_dir / TRAIN).rename(manual_dir / 'inner')
  (manual_dir / TRAIN).mkdir()
  (manual_dir / 'inner').rename(manual_dir / TRAIN / TRAIN)
  first = archive.read(manual_dir)
  shutil.copytree(manual_dir / TRAIN / TRAIN, tmp_path / TRAIN)
  shutil.make_archive(str(manual_dir / TRAIN), 'zip', tmp_path, TRAIN)
  both = archive.read(manual_dir)
  assert first.fingerprint() == both.fingerprint()
  assert both.bad == []
  assert all(film.container for film in both.films['train'])
  assert any('beside it is not' in note for note in both.notes)


def test_official_release_with_excel_and_bare_folders(tmp_path):
  folder = tmp_path / 'manual'
  shutil.copytree(DUMMY, folder)
  os.remove(folder / 'phantom.json')
  test_set = folder / 'Bone Age Test Set'
  test_set.mkdir()
  (folder / 'boneage-test-dataset').rename(test_set / 'Test Set Images')
  os.remove(folder / 'Bone Age Ground Truth.csv')
  book = openpyxl.Workbook()
  for row in (('Sex', 'Ground truth bone age (months)', 'Case ID'),
              ('F', 115.5, 21), ('M', 121, 22)):
    book.active.append(row)
  book.save(test_set / 'Bone Age Ground Truth.xlsx')

  built = build.build(folder, tmp_path / 'data')

  assert read_back(built, 'test')[21]['age'] == 115.5
  assert not read_back(built, 'test')[21]['male']
  assert read_back(built, 'validation')[12]['age'] == 60.5
  summary = info(built)
  assert summary['splits'] == {'train': 4, 'validation': 2, 'test': 2}
  assert summary['of'] == 12611 + 1425 + 200
  assert 'test, subset: 2 of 200 films' in summary['name']
  assert summary['label_files']['test']['file'].endswith('.xlsx')


def test_standard_builder_with_dummy_data(tmp_path):
  builder = tfds.builder('tfds_rsna/px512', data_dir=tmp_path)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=DUMMY))
  assert {k: v.num_examples for k, v in builder.info.splits.items()} == {
    'train': 4, 'validation': 2, 'test': 2}
  ids = [read_back(builder.data_dir, split).keys()
         for split in builder.info.splits]
  assert len(set().union(*ids)) == 8
  assert info(builder.data_dir)['name'] == 'phantoms: 8 films (seed 0)'
  assert 'Radiology' in builder.info.citation
  assert 'manual_dir' in builder.info.description


def test_published_test_films_without_ages_are_ignored(manual_dir):
  write_table(manual_dir / 'boneage-test-dataset.csv',
              [('Case ID', 'Sex'), (21, 'M')])
  shutil.copytree(DUMMY / 'boneage-test-dataset',
                  manual_dir / 'boneage-test-dataset')
  found = archive.read(manual_dir)
  assert list(found.films) == ['train']
  assert any('without bone ages' in note for note in found.notes)


def test_films_without_a_label_are_counted(manual_dir, tmp_path):
  (manual_dir / TRAIN / '99.png').write_bytes(encoded(pixels(99)))
  summary = info(build.build(manual_dir, tmp_path / 'data'))
  assert summary['unlabelled'] == {'train': 1}
  assert summary['films'] == 4


@pytest.mark.parametrize(('shape', 'kept'), [
  ((700, 300), (512, 219)), ((300, 700), (219, 512)), ((512, 60), (512, 60)),
  ((90, 60), (90, 60))])
def test_px512_shrinks_the_long_side_and_never_enlarges(shape, kept):
  image = cv2.GaussianBlur(pixels(0, *shape), (9, 9), 3)
  data, height, width = films.encode(encoded(image), 512)
  small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  assert small.shape == kept
  assert (height, width) == shape
  assert abs(small.mean() - image.mean()) < 0.5


def test_area_shrink_is_the_mean_of_the_pixels():
  image = pixels(0, 1024, 8)
  data, _, _ = films.encode(encoded(image), 512)
  small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  mean = image.reshape(512, 2, 4, 2).mean((1, 3))
  assert np.abs(small - mean).max() <= 0.5


def test_only_8_bit_grey_is_copied():
  grey = pixels(0)
  jpg = encoded(grey, '.jpg')
  assert films.encode(jpg)[0] == jpg
  colour = encoded(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
  deep = encoded((grey.astype(np.uint16) - grey.min()) * 16)
  stretch = (grey - grey.min()) * (255 / np.ptp(grey))
  for data, expected in ((colour, grey), (deep, np.rint(stretch))):
    out, _, _ = films.encode(data)
    image = cv2.imdecode(np.frombuffer(out, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


def test_jpg_and_dcm_films(manual_dir, tmp_path):
  pydicom = pytest.importorskip('pydicom')
  (manual_dir / TRAIN / '1.png').unlink()
  jpg = encoded(pixels(1), '.jpg')
  (manual_dir / TRAIN / '1.JPG').write_bytes(jpg)
  (manual_dir / TRAIN / '2.png').unlink()
  meta = pydicom.dataset.FileMetaDataset()
  meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
  meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.1.1'
  meta.MediaStorageSOPInstanceUID = '1.2.3'
  dataset = pydicom.Dataset()
  dataset.file_meta = meta
  dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 20, 14, 1
  dataset.PhotometricInterpretation = 'MONOCHROME1'
  dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
  dataset.PixelRepresentation = 0
  stored = np.arange(280, dtype=np.uint16).reshape(20, 14)
  dataset.PixelData = stored.tobytes()
  dataset.save_as(manual_dir / TRAIN / '2.dcm', enforce_file_format=True)

  records = read_back(build.build(manual_dir, tmp_path / 'data'))

  assert records[1]['image'] == jpg
  film = cv2.imdecode(np.frombuffer(records[2]['image'], np.uint8),
                      cv2.IMREAD_UNCHANGED)
  np.testing.assert_array_equal(
    film, np.rint(255 - stored * (255 / 279)).astype(np.uint8))


@pytest.mark.parametrize('beside', [False, True])
def test_annotations_travel_as_json(manual_dir, tmp_path, beside):
  folder = (tmp_path if beside else manual_dir) / 'annotations'
  folder.mkdir()
  write_table(folder / 'hand_boxes.csv', [
    ('id', 'x0', 'y0', 'x1', 'y1'), (1, 0.1, 0.2, 0.8, 0.9),
    (99, 0, 0, 1, 1)])  # 99 is no film of this archive
  built = build.build(manual_dir, tmp_path / 'data')
  records = read_back(built)
  assert json.loads(records[1]['annotations']) == {
    'hand_box': [0.1, 0.2, 0.8, 0.9]}
  assert records[2]['annotations'] == b''
  assert info(built)['annotated'] == 1


def test_same_archive_is_not_built_twice(manual_dir, tmp_path):
  folder = build.build(manual_dir, tmp_path / 'data')
  before = os.stat(folder).st_mtime_ns
  assert build.build(manual_dir, tmp_path / 'data') == folder
  assert os.stat(folder).st_mtime_ns == before


@pytest.mark.parametrize('change', ['label', 'film', 'annotation'])
def test_another_archive_is_refused(manual_dir, tmp_path, change):
  folder = build.build(manual_dir, tmp_path / 'data')
  if change == 'label':
    path = manual_dir / f'{TRAIN}.csv'
    path.write_text(path.read_text().replace('120', '121'))
  elif change == 'film':
    (manual_dir / TRAIN / '1.png').write_bytes(encoded(pixels(1, 40, 40)))
  else:
    (manual_dir / 'annotations').mkdir()
    write_table(manual_dir / 'annotations/hand_boxes.csv', [
      ('id', 'x0', 'y0', 'x1', 'y1'), (1, 0.1, 0.2, 0.8, 0.9)])
  with pytest.raises(ValueError, match='another data_dir') as e:
    build.build(manual_dir, tmp_path / 'data')
  assert folder in str(e.value)
  assert str(manual_dir) in str(e.value)


def test_a_killed_build_leaves_nothing_in_the_way(manual_dir, tmp_path):
  folder = pathlib.Path(build.build(manual_dir, tmp_path / 'data'))
  shutil.copytree(folder, folder.parent / 'incomplete.ABC123_1.0.0')
  (folder / 'build.json').unlink()
  (folder / 'features.json').unlink()
  assert build.build(manual_dir, tmp_path / 'data') == str(folder)
  assert len(read_back(folder)) == 4
  assert {p.name for p in folder.parent.iterdir()} == {'1.0.0', '.lock'}


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
    path.write_bytes(content[:int(len(content) * keep)])
  return change


def flip_byte(manual_dir):
  path = manual_dir / TRAIN / '2.png'
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def two_files(manual_dir):
  path = manual_dir / TRAIN / '2.jpg'
  path.write_bytes(encoded(pixels(2), '.jpg'))


def two_splits(manual_dir):
  (manual_dir / 'boneage-validation-dataset').mkdir()
  for i in (2, 12):
    path = manual_dir / f'boneage-validation-dataset/{i}.png'
    path.write_bytes(encoded(pixels(2)))
  write_table(manual_dir / 'Validation Dataset.csv', [
    ('Image ID', 'male', 'Bone Age (months)'), (2, 'TRUE', 60),
    (12, 'TRUE', 60)])


CSV = f'{TRAIN}.csv: '


@pytest.mark.parametrize(('change', 'reason'), [
  (cut('2.png'), 'truncated PNG: '),
  (cut('2.jpg', encoded(pixels(2), '.jpg')), 'truncated JPEG: no end marker'),
  (flip_byte, 'corrupt PNG: wrong checksum at byte '),
  (cut('2.png', b'GIF89a' * 9), 'neither PNG, JPEG nor DICOM'),
  (cut('2.png', keep=0), 'empty file'),
  (cut('2.png', encoded(np.zeros((9, 9), np.uint8)), 1), 'blank image: '),
  (cut('5.png'), '2: listed for train, but there is no film file 2.png, .jpg'),
  (two_files, '2: several files: '),
  (two_splits, '2: stands in several splits: train, validation'),
  (edit(2, '2,999,True'), f"2: {CSV}bone age '999' is not a number of months "
                          'from 0 to 240 (line 3)'),
  (edit(2, '2,nan,True'), f"2: {CSV}bone age 'nan' is not a number"),
  (edit(2, '2,,True'), f"2: {CSV}bone age '' is not a number"),
  (edit(2, '2,60,O'), f"2: {CSV}sex 'O' is neither male nor female (line 3)"),
  (edit(2, '2,60'), f"2: {CSV}sex '' is neither male nor female (line 3)"),
  (edit(2, 'two,60,True'), f'two: {CSV}the id is not a whole number (line 3)'),
  (edit(4, '2,60,True'), f'2: {CSV}listed more than once (lines 3, 5)'),
])
def test_bad_films_are_listed_and_can_be_allowed(
    manual_dir, tmp_path, change, reason):
  change(manual_dir)
  with pytest.raises(ValueError, match='1 bad films, 0 allowed:') as e:
    build.build(manual_dir, tmp_path / 'data')
  assert reason in str(e.value)
  assert 'leave these films out with allow_bad_films=1' in str(e.value)
  assert not list((tmp_path / 'data').rglob('*1.0.0'))

  folder = build.build(manual_dir, tmp_path / 'data', allow_bad_films=1)
  assert 2 not in read_back(folder)
  summary = info(folder)
  assert len(summary['bad']) == 1
  assert summary['splits']['train'] == len(read_back(folder))
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


@pytest.mark.parametrize(('change', 'says'), [
  (shutil.rmtree, r'manual_dir .*manual is not a folder.\nExpected in the'),
  (lambda d: (shutil.rmtree(d), d.mkdir()),
   r'manual holds no label file of bone ages.\nExpected in the folder'),
  (lambda d: shutil.rmtree(d / TRAIN),
   r'training-dataset.csv labels the training films, but no training film '),
  (lambda d: (d / f'{TRAIN}.csv').unlink(), 'holds no label file'),
  (edit(0, 'id,months,male'),
   r"training-dataset.csv: expected columns for an id \('id', 'Image ID'.*; "
   r"found 'id', 'months', 'male'."),
  (edit(0, 'id;boneage;male'), "found 'id;boneage;male'"),
  (broken_zip, 'boneage-training-dataset.zip is not a whole zip file'),
  (second_label_file, 'Expected one label file for train, found .* and '),
])
def test_what_is_no_archive_says_what_is_expected(
    manual_dir, tmp_path, change, says):
  change(manual_dir)
  with pytest.raises(ValueError, match=says):
    build.build(manual_dir, tmp_path / 'data')


def test_no_manual_dir_and_no_such_config(manual_dir, tmp_path):
  with pytest.raises(ValueError, match='No manual_dir was given'):
    build.build('', tmp_path)
  with pytest.raises(ValueError, match="original, px768, px512, got 'px9'"):
    build.build(manual_dir, tmp_path, config='px9')


def test_command_line_without_tensorflow(manual_dir, tmp_path):
  code = ('import runpy, sys\n'
          'try: runpy.run_module("tfds_rsna.build", run_name="__main__")\n'
          'finally: assert "tensorflow" not in sys.modules')
  command = [sys.executable, '-c', code, f'--manual_dir={manual_dir}',
             f'--data_dir={tmp_path / "data"}', '--config=px768']
  done = subprocess.run(command, capture_output=True, text=True, check=False,
                        cwd=DUMMY.parents[1])
  assert done.returncode == 0, done.stderr
  assert 'RSNA training, subset: 4 of 12611 films: ' in done.stdout
  assert 'films/s' in done.stderr
  (manual_dir / TRAIN / '1.png').write_bytes(b'')
  command[-2] = f'--data_dir={tmp_path / "other"}'
  done = subprocess.run(command, capture_output=True, text=True, check=False,
                        cwd=DUMMY.parents[1])
  assert done.returncode == 1
  assert 'empty file' in done.stderr
  assert 'Traceback' not in done.stderr
