"""The data set: archive layouts and the round trip through a build."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import dicom_film
import dummy_archive
from encode import encode
import numpy as np
import openpyxl
import pytest
import tensorflow_datasets as tfds

from tfds_rsna import archive
from tfds_rsna import build
from tfds_rsna import tfds_rsna_dataset_builder  # noqa: F401 (registers it)

TRAIN = dummy_archive.TRAIN


@pytest.fixture
def manual_dir(tmp_path):
  return dummy_archive.create(tmp_path)


def test_films_come_back_byte_for_byte(manual_dir, tmp_path):
  folder = build.build(manual_dir, tmp_path / 'data')
  assert folder == str(tmp_path / 'data/tfds_rsna/original/2.1.0')
  records = dummy_archive.read_back(folder)
  assert records.keys() == set('1234')
  for i, record in records.items():
    path = manual_dir / TRAIN / f'{i}.png'
    assert record['image'] == path.read_bytes()
    assert record['age'] == 30 * int(i)
    assert record['male'] == (int(i) % 2 == 0)
    assert (record['height'], record['width']) == (20, 14)
    assert record['annotations'] == b''


def test_build_json_names_films_by_their_folder(manual_dir, tmp_path):
  summary = dummy_archive.info(build.build(manual_dir, tmp_path / 'data'))
  digest = hashlib.sha256((manual_dir / f'{TRAIN}.csv').read_bytes())
  name = f'manual training, 4 films, labels {digest.hexdigest()[:12]}'
  assert summary['name'] == name
  assert (summary['films'], summary['of']) == (4, 4)
  assert summary['splits'] == {'train': 4}
  assert summary['bad'] == []
  assert summary['label_file'] == f'{TRAIN}.csv'
  assert len(summary['label_file_sha256']) == 64


@pytest.mark.parametrize('prefix', ['', f'{TRAIN}/'])
def test_zip_equals_extracted(manual_dir, tmp_path, prefix):
  extracted = build.build(manual_dir, tmp_path / 'a')
  dummy_archive.pack(manual_dir, prefix)
  packed = build.build(manual_dir, tmp_path / 'b')
  assert dummy_archive.read_back(extracted) == dummy_archive.read_back(packed)
  assert (
    dummy_archive.info(extracted)['fingerprint']
    == dummy_archive.info(packed)['fingerprint']
  )
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
  shutil.copytree(dummy_archive.DUMMY, folder)
  os.remove(folder / 'phantom.json')
  test_set = folder / 'Bone Age Test Set'
  test_set.mkdir()
  (folder / 'boneage-test-dataset').rename(test_set / 'Test Set Images')
  os.remove(folder / 'Bone Age Ground Truth.csv')
  book = openpyxl.Workbook()
  for row in (
    ('Sex', 'Ground truth bone age (months)', 'Case ID'),
    ('F', 115.5, 21),
    ('M', 121, 22),
  ):
    book.active.append(row)
  book.save(test_set / 'Bone Age Ground Truth.xlsx')

  built = build.build(folder, tmp_path / 'data')

  assert dummy_archive.read_back(built, 'test')['21']['age'] == 115.5
  assert not dummy_archive.read_back(built, 'test')['21']['male']
  assert dummy_archive.read_back(built, 'validation')['12']['age'] == 60.5
  summary = dummy_archive.info(built)
  assert summary['splits'] == {'train': 4, 'validation': 2, 'test': 2}
  assert summary['of'] == 8
  labels = [summary['label_files'][s]['sha256'][:12] for s in summary['splits']]
  assert summary['name'] == (
    f'{folder.name} training, 4 films, labels {labels[0]}; '
    f'validation, 2 films, labels {labels[1]}; '
    f'test, 2 films, labels {labels[2]}'
  )
  assert summary['label_files']['test']['file'].endswith('.xlsx')


def test_standard_builder_with_dummy_data(tmp_path):
  builder = tfds.builder('tfds_rsna/px512', data_dir=tmp_path)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=dummy_archive.DUMMY)
  )
  assert {k: v.num_examples for k, v in builder.info.splits.items()} == {
    'train': 4,
    'validation': 2,
    'test': 2,
  }
  ids = [
    dummy_archive.read_back(builder.data_dir, split).keys()
    for split in builder.info.splits
  ]
  assert len(set().union(*ids)) == 8
  assert (
    dummy_archive.info(builder.data_dir)['name'] == 'phantoms: 8 films (seed 0)'
  )
  assert 'Radiology' in builder.info.citation
  assert 'manual_dir' in builder.info.description


def test_published_test_films_without_ages_are_ignored(manual_dir):
  dummy_archive.write_table(
    manual_dir / 'boneage-test-dataset.csv', [('Case ID', 'Sex'), (21, 'M')]
  )
  shutil.copytree(
    dummy_archive.DUMMY / 'boneage-test-dataset',
    manual_dir / 'boneage-test-dataset',
  )
  found = archive.read(manual_dir)
  assert list(found.films) == ['train']
  assert any('without bone ages' in note for note in found.notes)


def test_films_without_a_label_are_counted(manual_dir, tmp_path):
  (manual_dir / TRAIN / '99.png').write_bytes(encode(dummy_archive.pixels(99)))
  summary = dummy_archive.info(build.build(manual_dir, tmp_path / 'data'))
  assert summary['unlabelled'] == {'train': 1}
  assert summary['films'] == 4


def test_odd_files_are_counted_and_kept_without_what_is_odd(
  manual_dir, tmp_path
):
  jpg = encode(dummy_archive.pixels(1), '.jpg')
  for i in (1, 3):
    (manual_dir / TRAIN / f'{i}.png').unlink()
    (manual_dir / TRAIN / f'{i}.jpg').write_bytes(jpg[:-2] if i == 1 else jpg)
  data = dicom_film.encoded(
    np.arange(280).reshape(20, 14), WindowCenter=9000, WindowWidth=2
  )
  (manual_dir / TRAIN / '2.png').unlink()
  (manual_dir / TRAIN / '2.dcm').write_bytes(data)
  path = manual_dir / TRAIN / '4.png'
  whole = path.read_bytes()
  path.write_bytes(whole + b'behind')

  folder = build.build(manual_dir, tmp_path / 'data')

  summary = dummy_archive.info(folder)
  assert summary['bad'] == []
  assert summary['odd_files'] == [
    ['1', 'end_marker'],
    ['2', 'window'],
    ['4', 'trailing_bytes'],
  ]
  assert [note[: note.index(':')] for note in summary['notes'][-3:]] == [
    '1 film (1)',
    '1 film (4)',
    '1 film (2)',
  ]
  records = dummy_archive.read_back(folder)
  assert records['1']['image'] == records['3']['image'] == jpg
  assert records['4']['image'] == whole


def test_jpg_and_dcm_films(manual_dir, tmp_path):
  (manual_dir / TRAIN / '1.png').unlink()
  jpg = encode(dummy_archive.pixels(1), '.jpg')
  (manual_dir / TRAIN / '1.JPG').write_bytes(jpg)
  (manual_dir / TRAIN / '2.png').unlink()
  stored = np.arange(280, dtype=np.uint16).reshape(20, 14)
  data = dicom_film.encoded(
    stored,
    PhotometricInterpretation='MONOCHROME1',
    WindowCenter=140,
    WindowWidth=280,
  )
  (manual_dir / TRAIN / '2.dcm').write_bytes(data)

  records = dummy_archive.read_back(build.build(manual_dir, tmp_path / 'data'))

  assert records['1']['image'] == jpg
  film = cv2.imdecode(
    np.frombuffer(records['2']['image'], np.uint8), cv2.IMREAD_UNCHANGED
  )
  np.testing.assert_array_equal(
    film, 255 - np.minimum(stored * (256 / 279), 255).astype(np.uint8)
  )


@pytest.mark.parametrize('beside', [False, True])
def test_annotations_travel_as_json(manual_dir, tmp_path, beside):
  folder = (tmp_path if beside else manual_dir) / 'annotations'
  folder.mkdir()
  dummy_archive.write_table(
    folder / 'hand_boxes.csv',
    [('id', 'x0', 'y0', 'x1', 'y1'), (1, 0.1, 0.2, 0.8, 0.9), (99, 0, 0, 1, 1)],
  )  # 99 is no film of this archive
  built = build.build(manual_dir, tmp_path / 'data')
  records = dummy_archive.read_back(built)
  assert json.loads(records['1']['annotations']) == {
    'hand_box': [0.1, 0.2, 0.8, 0.9]
  }
  assert records['2']['annotations'] == b''
  assert dummy_archive.info(built)['annotated'] == 1


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
    (manual_dir / TRAIN / '1.png').write_bytes(
      encode(dummy_archive.pixels(1, 40, 40))
    )
  else:
    (manual_dir / 'annotations').mkdir()
    dummy_archive.write_table(
      manual_dir / 'annotations/hand_boxes.csv',
      [('id', 'x0', 'y0', 'x1', 'y1'), (1, 0.1, 0.2, 0.8, 0.9)],
    )
  with pytest.raises(ValueError, match='another data_dir') as e:
    build.build(manual_dir, tmp_path / 'data')
  assert folder in str(e.value)
  assert str(manual_dir) in str(e.value)


def test_a_killed_build_leaves_nothing_in_the_way(manual_dir, tmp_path):
  folder = pathlib.Path(build.build(manual_dir, tmp_path / 'data'))
  shutil.copytree(folder, folder.parent / 'incomplete.ABC123_2.1.0')
  (folder / 'build.json').unlink()
  (folder / 'features.json').unlink()
  assert build.build(manual_dir, tmp_path / 'data') == str(folder)
  assert len(dummy_archive.read_back(folder)) == 4
  assert {p.name for p in folder.parent.iterdir()} == {'2.1.0', '.lock'}


def test_command_line_without_tensorflow(manual_dir, tmp_path):
  code = (
    'import runpy, sys\n'
    'try: runpy.run_module("tfds_rsna.build", run_name="__main__")\n'
    'finally: assert "tensorflow" not in sys.modules'
  )
  command = [
    sys.executable,
    '-c',
    code,
    f'--manual_dir={manual_dir}',
    f'--data_dir={tmp_path / "data"}',
    '--config=px768',
  ]
  done = subprocess.run(
    command,
    capture_output=True,
    text=True,
    check=False,
    cwd=dummy_archive.DUMMY.parents[1],
  )
  assert done.returncode == 0, done.stderr
  assert 'manual training, 4 films, labels ' in done.stdout
  assert 'films/s' in done.stderr
  (manual_dir / TRAIN / '1.png').write_bytes(b'')
  command[-2] = f'--data_dir={tmp_path / "other"}'
  done = subprocess.run(
    command,
    capture_output=True,
    text=True,
    check=False,
    cwd=dummy_archive.DUMMY.parents[1],
  )
  assert done.returncode == 1
  assert 'empty file' in done.stderr
  assert 'Traceback' not in done.stderr
