"""Tests of stored crops, from the writer to the batch."""

import os
import types

import numpy as np
import pytest

from boneage_jax.data import crops as crops_lib
from boneage_jax.data import film_table
from boneage_jax.data import input_pipeline
from boneage_jax.data import preprocess
from boneage_jax.data import sources
from boneage_jax.imaging import codec
from boneage_jax.imaging import png
from configs import common


def config(**changes):
  return types.SimpleNamespace(**common.image_input(**changes))


def crops(index, regions=3, side=24):
  """Squares whose outer sixths are black: the margin of a half."""
  stack = np.zeros((regions, side, side), np.uint8)
  inner = slice(side // 4, side - side // 4)
  for region in range(regions):
    stack[region, inner, inner] = 40 * region + index + 100
  return stack


@pytest.fixture
def stage(tmp_path):
  path = tmp_path / 'locate'
  path.mkdir()
  films = {
    'id': np.array(['5', '6', '7']),
    'split': np.array(['train', 'test', 'train']),
    'sex': np.array([1.0, -1.0, 1.0]),
    'age': np.array([1.5, 2.25, 3.0]),
    'position': np.array([2, 0, 1]),
  }
  film_table.write_films(str(path / 'films.csv'), films)
  crops_lib.write(
    str(path / 'crops.array_record'), (crops(i) for i in range(3))
  )
  assert sorted(p.name for p in path.iterdir()) == [
    'crops.array_record',
    'films.csv',
  ]
  return str(path)


def test_crops_come_back_without_their_margin(stage):
  films = film_table.read_films(os.path.join(stage, 'films.csv'))
  assert films['age'].tolist() == [1.5, 2.25, 3.0]
  assert films['sex'].tolist() == [1, -1, 1]
  chosen = film_table.select(films, films['split'] == 'train')
  batch = input_pipeline.eval_batches(
    sources.crop_source(stage, chosen),
    config(size=12, crop_margin=0.5),
    2,
  )[0]
  assert batch['regions'].shape == (2, 3, 12, 12, 1)
  assert batch['id'].tolist() == [2, 1]
  for row, index in enumerate((0, 2)):
    for region in range(3):
      assert (batch['regions'][row, region] == 40 * region + index + 100).all()


def test_crops_of_a_record_keep_their_own_sizes():
  rng = np.random.default_rng(0)
  sizes = [(24, 24), (9, 40), (33, 1)]
  stored = [rng.integers(0, 256, size, np.uint8) for size in sizes]
  record = crops_lib.pack(stored)
  for crop, file in zip(stored, crops_lib.unpack(record), strict=True):
    np.testing.assert_array_equal(codec.decode_stored(file), crop)
  for other in (record[:-1], record + b'\0', b'', png.encode(stored[0])):
    with pytest.raises(ValueError, match='Expected a record of crops'):
      crops_lib.unpack(other)


def test_crops_of_different_sizes_meet_in_a_batch(tmp_path):
  """Films that are not square, either; a subset in the order it is named."""
  films = {
    'id': np.array(['5']),
    'split': np.array(['test']),
    'sex': np.array([1.0]),
    'age': np.array([1.5]),
    'position': np.arange(1),
  }
  film_table.write_films(str(tmp_path / 'films.csv'), films)
  kinds = [((24, 24), 50), ((60, 20), 100), ((12, 90), 150)]
  stored = [np.full(size, grey, np.uint8) for size, grey in kinds]
  crops_lib.write(str(tmp_path / 'crops.array_record'), [stored])
  settings = config(size=(16, 12), percentiles=())
  for take, greys in (((), (50, 100, 150)), ((2, 0), (150, 50))):
    source = sources.crop_source(str(tmp_path), films, take)
    (batch,) = input_pipeline.eval_batches(source, settings, 1)
    assert batch['regions'].shape == (1, len(greys), 16, 12, 1)
    for crop, grey in zip(batch['regions'][0], greys, strict=True):
      assert (crop[2:-2, 2:-2] == grey).all()  # rims meet the black beyond


def test_crops_mirror_together():
  crop = np.zeros((8, 8), np.uint8)
  crop[:, :4] = 200
  record = {'regions': [png.encode(crop)] * 2, 'id': '1', 'row': 1}
  record |= {'sex': 1.0, 'age': 1.0}
  seen = set()
  for seed in range(20):
    rng = np.random.default_rng(seed)
    settings = config(size=8, flip=True)
    pixels = preprocess.make_example(record, settings, rng)['regions']
    seen.add(tuple(bool(r[0, 0, 0]) for r in pixels))
  assert seen == {(True, True), (False, False)}


def test_missing_crops_are_named(stage):
  films = film_table.read_films(os.path.join(stage, 'films.csv'))
  films['id'] = np.array(['5', '6', '8'])
  with pytest.raises(ValueError, match=r"1 missing, such as \['8'\]"):
    sources.crop_source(stage, films)


def test_a_killed_writer_leaves_nothing(tmp_path):
  def stop():
    yield crops(0)
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    crops_lib.write(str(tmp_path / 'crops.array_record'), stop())
  assert not list(tmp_path.iterdir())
