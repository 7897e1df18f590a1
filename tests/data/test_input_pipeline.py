"""Tests of the path from a prepared data set to sharded batches."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import types
import zipfile

from encode import encode
import jax
import numpy as np
import pytest

from benchmarks import dicom_node
from boneage_jax.data import film_table
from boneage_jax.data import input_pipeline
from boneage_jax.data import sources
from boneage_jax.imaging import codec
from boneage_jax.imaging import geometry
from boneage_jax.imaging import intensity
from configs import common
from tfds_rsna import build

COUNT = 13


def config(**changes):
  fields = dict(size=16, percentiles=(1, 99)) | changes
  return types.SimpleNamespace(**common.image_input(**fields))


AUGMENTED = config(
  rotate=20,
  zoom=0.1,
  shift=0.1,
  flip=True,
  brightness=0.1,
  contrast=0.1,
  gamma=0.1,
)


def film(index):
  """A gradient of its own direction: every film and every pixel differs."""
  rows, columns = np.mgrid[:40, :30]
  ramp = columns * np.cos(index) + rows * np.sin(index)
  ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min())
  return np.rint(ramp * 255).astype(np.uint8)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp('archive')
  for name, indices in (
    ('boneage-training-dataset', range(10)),
    ('boneage-validation-dataset-1', range(10, COUNT)),
  ):
    with zipfile.ZipFile(root / f'{name}.zip', 'w') as archive:
      for index in indices:
        archive.writestr(f'{name}/{100 + index}.png', encode(film(index)))
  rows = [f'{100 + i},{12 * i + 1},{i % 2 == 0}\n' for i in range(COUNT)]
  (root / 'boneage-training-dataset.csv').write_text(
    'id,boneage,male\n' + ''.join(rows[:10])
  )
  (root / 'Validation Dataset.csv').write_text(
    'Image ID,Bone Age (months),male\n' + ''.join(rows[10:])
  )
  return build.build(str(root), str(root / 'data'))


@pytest.fixture(scope='module')
def films(folder):
  return sources.load_films(folder)


@pytest.fixture(scope='module')
def source(folder, films):
  return sources.film_source(folder, films)


@dataclasses.dataclass
class Planted:
  """Records made on the spot."""

  count: int
  broken: int = -1

  def __len__(self):
    return self.count

  def __getitem__(self, index):
    data = b'broken' if index == self.broken else encode(film(index))
    return {
      'image': data,
      'id': str(100 + index),
      'row': index,
      'sex': 0.0,
      'age': 7.0,
    }


def same(first, second):
  assert first.keys() == second.keys()
  for name, value in first.items():
    np.testing.assert_array_equal(value, second[name], err_msg=name)
    assert value.dtype == second[name].dtype


def test_load_films_lists_every_record_and_caches(folder, films):
  order = np.argsort(films['id'])  # all of three figures
  expected = [str(100 + k) for k in range(COUNT)]
  assert films['id'][order].tolist() == expected
  np.testing.assert_array_equal(films['age'][order], 12 * np.arange(COUNT) + 1)
  np.testing.assert_array_equal(
    films['sex'][order], np.where(np.arange(COUNT) % 2, -1, 1)
  )
  np.testing.assert_array_equal(films['position'], np.arange(COUNT))
  expected = np.where(films['id'].astype(int) < 110, 'train', 'validation')
  np.testing.assert_array_equal(films['split'], expected)
  same(films, sources.load_films(folder))
  assert 'tensorflow' not in sys.modules


def test_film_source_follows_the_table(folder, films):
  keep = np.array([11, 2])  # one of each split
  chosen = film_table.select(films, keep)
  chosen['split'] = np.array(['test', 'train'])  # a run's, not the archive's
  source = sources.film_source(folder, chosen)
  assert len(source) == 2
  for index, record in enumerate([source[0], source[1]]):
    assert record['id'] == films['id'][keep[index]]
    assert record['age'] == films['age'][keep[index]]
    assert record['annotations'] == ''
    np.testing.assert_array_equal(
      codec.decode_stored(record['image']), film(int(record['id']) - 100)
    )


def test_a_step_is_the_same_whenever_it_is_asked_for(source):
  first = input_pipeline.train_dataset(source, AUGMENTED, 4, seed=3)
  second = input_pipeline.train_dataset(source, AUGMENTED, 4, seed=3)
  same(first[11], second[11])
  other = input_pipeline.train_dataset(source, AUGMENTED, 4, seed=4)
  assert (other[11]['image'] != first[11]['image']).any()
  batch = first[0]
  assert batch['image'].shape == (4, 16, 16, 1)
  assert batch['image'].dtype == np.uint8 and batch['id'].dtype == np.int32
  for name in ('sex', 'age', 'valid'):
    assert batch[name].dtype == np.float32


def test_an_epoch_holds_every_film_and_the_next_is_drawn_anew(source):
  dataset = input_pipeline.train_dataset(source, AUGMENTED, COUNT, seed=0)
  first, second = dataset[0], dataset[1]
  for batch in (first, second):
    assert sorted(batch['id']) == list(range(COUNT))
  assert first['id'].tolist() != second['id'].tolist()
  order = np.argsort(first['id']), np.argsort(second['id'])
  moved = first['image'][order[0]] != second['image'][order[1]]
  assert moved.any((1, 2, 3)).all()


@pytest.mark.parametrize('threads', [0, 1, 3])
def test_resume_and_threads_change_nothing(source, threads):
  dataset = input_pipeline.train_dataset(source, AUGMENTED, 4, seed=1)
  batches = input_pipeline.iterate(dataset, start=5, threads=threads)
  for step in range(5, 9):
    same(next(batches), dataset[step])
  batches.close()
  with pytest.raises(StopIteration):
    next(batches)


@pytest.mark.parametrize('count', [2, 4])
def test_processes_share_one_batch(source, count):
  whole = input_pipeline.train_dataset(
    source, AUGMENTED, 8, 2, process_index=0, process_count=1
  )
  parts = [
    input_pipeline.train_dataset(
      source, AUGMENTED, 8, 2, process_index=index, process_count=count
    )
    for index in range(count)
  ]
  for step in (0, 1, 6):
    rows = [part[step] for part in parts]
    joined = {n: np.concatenate([r[n] for r in rows]) for n in rows[0]}
    same(joined, whole[step])


def test_training_refuses_what_cannot_be(source):
  with pytest.raises(ValueError, match=r'one batch of 14 films .*got 13'):
    input_pipeline.train_dataset(source, config(), 14, seed=0)
  with pytest.raises(ValueError, match='divisible by 3 processes, got 8'):
    input_pipeline.train_dataset(
      source, config(), 8, 0, process_index=0, process_count=3
    )


def test_a_corrupt_film_is_named():
  dataset = input_pipeline.train_dataset(Planted(4, broken=2), config(), 4, 0)
  with pytest.raises(ValueError, match='Film 102: Expected a complete'):
    next(input_pipeline.iterate(dataset))


@pytest.mark.parametrize('count', [1, 2, 4])
def test_evaluation_sees_every_film_once_in_order(source, count):
  parts = [
    input_pipeline.eval_batches(
      source, config(), 8, process_index=index, process_count=count
    )
    for index in range(count)
  ]
  assert [len(part) for part in parts] == [2] * count
  rows = [part[step] for step in range(2) for part in parts]
  joined = {n: np.concatenate([r[n] for r in rows]) for n in rows[0]}
  assert joined['valid'].tolist() == [1.0] * COUNT + [0.0] * 3
  assert (joined['id'][COUNT:] == -1).all()
  assert not joined['image'][COUNT:].any()
  for index in range(COUNT):
    record = source[index]
    assert joined['id'][index] == record['row'] == index
    assert joined['age'][index] == record['age']
    image = codec.decode_stored(record['image'])
    matrix = geometry.fit_matrix(image.shape, (16, 16))
    lut = intensity.tone_lut(image, percentiles=(1, 99))
    expected = lut[geometry.warp(image, matrix, (16, 16))]
    np.testing.assert_array_equal(joined['image'][index, ..., 0], expected)


def test_evaluation_can_be_iterated(source):
  batches = input_pipeline.eval_batches(source, config(), 4)
  seen = list(input_pipeline.iterate(batches, threads=2))
  assert len(seen) == 4
  for step, batch in enumerate(seen):
    same(batch, batches[step])


def test_polarity():
  kept, inverted = (
    input_pipeline.eval_batches(
      Planted(2), config(polarity=polarity, percentiles=()), 2
    )[0]['image'].astype(int)
    for polarity in ('keep', 'invert')
  )
  np.testing.assert_allclose(inverted, 255 - kept, atol=1)
  with pytest.raises(ValueError, match="'keep' or 'invert', got 'auto'"):
    input_pipeline.eval_batches(Planted(2), config(polarity='auto'), 2)[0]


def test_to_device_keeps_arrays_and_their_values():
  mesh = jax.make_mesh((len(jax.devices()),), ('data',))
  rows = 2 * len(jax.devices())
  batch = input_pipeline.eval_batches(Planted(3), config(), rows)[0]
  placed = input_pipeline.to_device(batch | {'name': 'a film'}, mesh)
  assert placed.keys() == batch.keys()
  for name, value in batch.items():
    np.testing.assert_array_equal(np.asarray(placed[name]), value)
    assert placed[name].sharding.spec == jax.sharding.PartitionSpec('data')


WORKER = """
import sys
import jax
import numpy as np
index, port = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(f'localhost:{port}', 2, index)
import test_input_pipeline as tests
from boneage_jax.data import input_pipeline
source = tests.Planted(13)
mesh = jax.make_mesh((4,), ('data',))
train = input_pipeline.train_dataset(source, tests.AUGMENTED, 8, 0)
whole = input_pipeline.train_dataset(
  source, tests.AUGMENTED, 8, 0, process_index=0, process_count=1
)
for step in (0, 3):
  placed = input_pipeline.to_device(train[step], mesh)
  for name, value in whole[step].items():
    assert placed[name].shape == value.shape
    for shard in placed[name].addressable_shards:
      np.testing.assert_array_equal(shard.data, value[shard.index])
print('same')
"""


def test_two_processes_hold_one_batch_in_order():
  port = str(dicom_node.free_port())
  here = pathlib.Path(__file__).parent
  folders = (here.parents[1], here, here.parent / 'helpers')
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': '2',
    'PYTHONPATH': os.pathsep.join(map(str, folders)),
  }
  workers = [
    subprocess.Popen(
      [sys.executable, '-c', WORKER, str(index), port],
      env=environment,
      stdout=subprocess.PIPE,
      text=True,
    )
    for index in range(2)
  ]
  try:
    printed = [worker.communicate(timeout=120)[0] for worker in workers]
  finally:
    for worker in workers:
      worker.kill()
  assert printed == ['same\n'] * 2


def test_to_device_refuses_a_batch_it_cannot_split():
  mesh = types.SimpleNamespace(local_devices=[0, 1, 2, 3])
  batch = input_pipeline.eval_batches(Planted(3), config(), 6)[0]
  with pytest.raises(ValueError, match='divisible by 4 devices, got 6'):
    input_pipeline.to_device(batch, mesh)
