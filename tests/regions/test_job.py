"""The locate job on drawn films, with nets whose maps are known."""

import filecmp
import json

import cv2
from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import sources
from boneage_jax.imaging import boxes
from boneage_jax.imaging import codec
from boneage_jax.imaging import geometry
from boneage_jax.imaging import overlay
from boneage_jax.imaging import png
from boneage_jax.models import net as net_lib
from boneage_jax.regions import gradcam
from boneage_jax.regions import job as locate_job
from boneage_jax.regions import localize
from boneage_jax.runs import located
from configs import common

SIZE = 32
INPUT = ConfigDict(
  dict(size=SIZE, resize='squash', percentiles=(), polarity='keep')
)
OPTIONS = ConfigDict(
  dict(
    regions=('carpal', 'metacarpal'),
    threshold=(0.5, 0.5),
    component='peak',
    margin=0.0,
    minimum_side=(0.1, 0.1),
    smooth=0.0,
    fill='black',
    crop_size=20,
    crop_margin=0.1,
    batch_size=3,
  )
)
LARGE, SMALL = (0.2, 0.5, 0.5, 0.8), (0.6, 0.1, 0.8, 0.4)  # boxes


def paint(image, box, grey):
  height, width = image.shape
  x0, y0, x1, y1 = box
  rows = slice(round(y0 * height), round(y1 * height))
  image[rows, round(x0 * width) : round(x1 * width)] = grey


def film(index):
  """A bright and a less bright rectangle, moved a little per film."""
  image = np.full((120 + 4 * index, 100), 10, np.uint8)
  move = 0.01 * (index % 5)
  paint(image, [v + move for v in LARGE], 250)
  paint(image, [v + move for v in SMALL], 180)
  return image


class Source:
  """Seven films, as `sources.film_source` gives them."""

  def __init__(self, images, annotations=''):
    self.images = images
    self.annotations = annotations

  def __len__(self):
    return len(self.images)

  def __getitem__(self, index):
    return {
      'image': cv2.imencode('.png', self.images[index])[1].tobytes(),
      'id': str(100 + index),
      'row': index,
      'age': 50.0,
      'sex': 2.0 * (index % 2) - 1,
      'annotations': self.annotations,
    }


def table(count):
  splits = ['train', 'train', 'validation', 'test']
  return {
    'id': np.arange(100, 100 + count).astype(str),
    'split': np.array([splits[i % 4] for i in range(count)]),
    'sex': np.arange(count, dtype=np.float32) % 2 * 2 - 1,
    'age': np.full(count, 50, np.float32),
    'position': np.arange(count),
  }


def brightness(images, sex):
  """Take the film itself, half as large, as the map."""
  assert images.dtype == np.uint8 and sex.dtype == np.float32
  pixels = images[..., 0].reshape(len(images), SIZE // 2, 2, SIZE // 2, 2)
  return np.maximum(pixels.mean((2, 4)) - 20, 0)


def run(folder, predict=brightness, source=None, input_config=INPUT, **changes):
  source = source or Source([film(i) for i in range(7)])
  options = ConfigDict(OPTIONS.to_dict() | changes)
  lines = []
  done = locate_job.locate_films(
    predict,
    source,
    table(len(source)),
    str(folder),
    input_config,
    options,
    log=lines.append,
  )
  return done, lines


def test_boxes_are_the_planted_ones_in_order(tmp_path):
  done, lines = run(tmp_path)
  found = boxes.read_regions(str(tmp_path / 'regions.csv'))
  assert list(found) == [str(i) for i in range(100, 107)]
  for index, of_film in enumerate(found.values()):
    move = 0.01 * (index % 5)
    for name, planted in (('carpal', LARGE), ('metacarpal', SMALL)):
      expected = np.array(planted) + move
      assert of_film[name].found
      # One cell of the map is 1/16 of the film.
      np.testing.assert_allclose(of_film[name].box, expected, atol=1 / 20)
  assert done['found'] == {'carpal': 1.0, 'metacarpal': 1.0}
  assert json.loads((tmp_path / 'done.json').read_text()) == done
  assert len(lines) == 2 and '7 films' in lines[0]


def test_files_are_what_the_next_stage_reads(tmp_path):
  run(tmp_path)
  films = film_table.read_films(str(tmp_path / 'films.csv'))
  source = sources.crop_source(str(tmp_path), films)
  crops = [codec.decode_stored(data) for data in source[2]['regions']]
  assert len(source) == 7 and [c.shape for c in crops] == [(32, 32)] * 2
  with np.load(tmp_path / 'maps.npz') as stored:
    assert stored['maps'].shape == (7, 2, 16, 16)
    assert stored['maps'].dtype == np.float16
    np.testing.assert_array_equal(stored['maps'].max((2, 3)), 1)
    np.testing.assert_array_equal(stored['id'], films['id'])
    assert str(stored['geometry']) == 'squash'
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    'coverage.json',
    'crops.array_record',
    'done.json',
    'films.csv',
    'maps.npz',
    'regions.csv',
  ]


def test_the_gallery_draws_letterboxed_maps_where_they_belong(tmp_path):
  letterbox = ConfigDict(INPUT.to_dict() | {'resize': 'letterbox'})
  wide = np.full((60, 120), 10, np.uint8)
  paint(wide, SMALL, 250)
  folder = tmp_path / 'regions'
  run(folder, source=Source([wide]), input_config=letterbox)
  _, _, heat = located.read_located(str(tmp_path), 'regions')
  assert heat['resize'] == 'letterbox'
  drawn = overlay.film_heat(heat['maps']['100'], wide.shape, heat['resize'])
  rows, columns = np.nonzero(drawn > 0.5)
  found = [columns.min() / 120, rows.min() / 60, columns.max() / 120]
  # One cell is 1/8 of the height; taken for squashed, y0 would be 0.3.
  np.testing.assert_allclose(found, SMALL[:3], atol=1 / 8)


def test_crops_come_from_the_unpainted_film(tmp_path):
  run(tmp_path, minimum_side=(0.9, 0.9))  # both boxes now hold both rectangles
  films = film_table.read_films(str(tmp_path / 'films.csv'))
  source = sources.crop_source(str(tmp_path), films)
  metacarpal = codec.decode_stored(source[0]['regions'][1])
  # What the paint would hide; its edges are softer than it, and the other
  # rectangle has 180.
  assert metacarpal.max() == 250 and (metacarpal > 200).mean() > 0.05


def test_a_killed_job_ends_with_the_same_files(tmp_path):
  calls = []

  def dies(images, sex):
    calls.append(1)
    if len(calls) == 4:
      raise KeyboardInterrupt
    return brightness(images, sex)

  run(tmp_path / 'whole')
  run(tmp_path / 'killed')
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path / 'killed', dies)
  assert not (tmp_path / 'killed' / 'done.json').exists()
  run(tmp_path / 'killed')
  names = sorted(p.name for p in (tmp_path / 'whole').iterdir())
  assert names == sorted(p.name for p in (tmp_path / 'killed').iterdir())
  same, _, _ = filecmp.cmpfiles(
    tmp_path / 'whole', tmp_path / 'killed', names, shallow=False
  )
  assert same == names


def test_nothing_found_is_counted_and_paints_nothing(tmp_path):
  seen = []

  def blind(images, sex):
    seen.append(images.copy())
    return np.zeros((len(images), 4, 4), np.float32)

  done, lines = run(tmp_path, blind)
  np.testing.assert_array_equal(seen[0], seen[1])
  assert done['found'] == {'carpal': 0.0, 'metacarpal': 0.0}
  assert done['not_found'] == {'carpal': 7, 'metacarpal': 7}
  assert '7 kept whole' in lines[0]
  found = boxes.read_regions(str(tmp_path / 'regions.csv'))
  assert found['103']['carpal'] == boxes.Region(boxes.WHOLE_FILM, 0.0, False)


@pytest.mark.parametrize('fill', ['black', 'random_constant'])
def test_only_the_first_region_is_painted(fill):
  seen = []

  def watch(images, sex):
    seen.append(images[0, ..., 0].copy())
    return brightness(images, sex)

  options = ConfigDict(OPTIONS.to_dict() | {'fill': fill, 'batch_size': 1})
  one = localize.load_film(Source([film(0)])[0], INPUT)
  localize.find_regions(watch, [one], INPUT, options)
  x0, y0, x1, y1 = np.array(one.regions['carpal'].box) * SIZE
  inside = seen[1][int(y0) + 2 : int(y1) - 1, int(x0) + 2 : int(x1) - 1]
  assert len(np.unique(inside)) == 1
  assert inside[0, 0] == 0 or fill == 'random_constant'
  outside = np.ones((SIZE, SIZE), bool)
  outside[int(y0) - 1 : int(y1) + 2, int(x0) - 1 : int(x1) + 2] = False
  np.testing.assert_array_equal(seen[0][outside], seen[1][outside])


def test_inverted_films_give_the_same_boxes_and_inverted_crops():
  inverted = ConfigDict(INPUT.to_dict() | {'polarity': 'invert'})
  crops, found = [], []
  for image, config in ((film(1), INPUT), (255 - film(1), inverted)):
    one = localize.load_film(Source([image])[0], config)
    localize.find_regions(brightness, [one], config, OPTIONS)
    found.append(one.regions)
    crops.append(localize.cut_crops(one, config, OPTIONS))
  assert found[0] == found[1]
  for crop, inverse in zip(*crops, strict=True):
    np.testing.assert_array_equal(crop, 255 - inverse)


def test_neither_films_nor_inputs_nor_crops_need_be_square():
  """A net's input of 24 x 48, crops for a net of 30 x 15 with a margin."""
  size = (24, 48)
  wide = ConfigDict(INPUT.to_dict())
  with wide.ignore_type():
    wide.size = size
  options = ConfigDict(OPTIONS.to_dict())
  with options.ignore_type():
    options.crop_size = (30, 15)
  seen = []

  def brightness(images, sex):
    seen.append(images.shape)
    pixels = images[..., 0].reshape(len(images), 12, 2, 24, 2)
    return np.maximum(pixels.mean((2, 4)) - 20, 0)

  one = localize.load_film(Source([film(0)])[0], wide)
  localize.find_regions(brightness, [one], wide, options)
  assert set(seen) == {(3, *size, 1)}
  for name, planted in (('carpal', LARGE), ('metacarpal', SMALL)):
    np.testing.assert_allclose(one.regions[name].box, planted, atol=1 / 12)
  crops = localize.cut_crops(one, wide, options)
  assert {c.shape for c in crops} == {localize.crop_hw(options)}
  assert localize.crop_hw(options) == (48, 24)  # 1.2 / 0.75 of the net's
  # What a net sees of them is the box without the margin.
  settings = common.image_input(size=(30, 15), crop_margin=0.1)
  record = {
    'id': '1',
    'row': 1,
    'sex': 0.0,
    'age': 1.0,
    'regions': [png.encode(crop) for crop in crops],
  }
  example = preprocess.make_example(record, ConfigDict(settings))
  carpal, metacarpal = example['regions'][..., 0]
  assert carpal.shape == (30, 15)
  for crop, grey, name in (
    (carpal, 250, 'carpal'),
    (metacarpal, 180, 'metacarpal'),
  ):
    box = one.regions[name].box
    matrix = geometry.fit_matrix(one.image.shape, (30, 15), box=box)
    expected = geometry.warp(one.image, matrix, (30, 15)).astype(int)
    assert np.abs(crop[3:-3, 2:-2] - expected[3:-3, 2:-2]).mean() < 6
    assert abs(int(crop[15, 7]) - grey) < 4


def test_coverage_per_split(tmp_path):
  marks = [['expert', 'Wrist', list(LARGE)]]
  source = Source([film(0)] * 8, json.dumps({'boxes': marks}))
  run(tmp_path, source=source)
  coverage = json.loads((tmp_path / 'coverage.json').read_text())
  sizes = {split: coverage[split]['carpal']['n'] for split in coverage}
  assert sizes == {'all': 8, 'train': 4, 'validation': 2, 'test': 2}
  assert coverage['all']['carpal']['centre_in_wrist'] == 1
  assert coverage['all']['metacarpal']['centre_in_wrist'] == 0


class Net(net_lib.Net):
  """A convolution, BatchNorm and a linear head."""

  def __init__(self):
    rngs = nnx.Rngs(3)
    self.conv = nnx.Conv(1, 8, (5, 5), strides=4, rngs=rngs)
    self.norm = nnx.BatchNorm(8, rngs=rngs)
    self.dense = nnx.Linear(8, 240, rngs=rngs)

  def features(self, batch, rngs=None):
    return jax.nn.relu(self.norm(self.conv(batch['image'] / 255.0)))

  def head(self, features, inputs, rngs=None):
    logits = self.dense(features.mean((1, 2)))
    return {'logits': logits, 'age': jnp.argmax(logits, -1).astype(float)}


def predictor(devices):
  net = Net()
  net.eval()
  mesh = jax.make_mesh(
    (devices,),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.devices()[:devices],
  )
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))

  @jax.jit
  def maps(image, sex):
    return gradcam.grad_cam(net, {'image': image, 'sex': sex})[0]

  return lambda image, sex: maps(*jax.device_put((image, sex), rows))


def test_batch_size_and_devices_do_not_move_a_box(tmp_path):
  cases = [(1, 1), (3, 1), (8, 1)]
  if jax.device_count() >= 8:
    cases.append((8, 8))
  found = []
  for batch_size, devices in cases:
    folder = tmp_path / f'{batch_size}_{devices}'
    run(folder, predictor(devices), batch_size=batch_size)
    table = boxes.read_regions(str(folder / 'regions.csv'))
    found.append(
      [region.box for of_film in table.values() for region in of_film.values()]
    )
  for other in found[1:]:
    np.testing.assert_allclose(other, found[0], atol=1 / 100)


def test_a_film_that_does_not_decode_is_named():
  record = Source([film(0)])[0] | {'image': b'\x89PNG'}
  with pytest.raises(ValueError, match='Film 100'):
    localize.load_film(record, INPUT)


def test_wrong_options_are_errors(tmp_path):
  with pytest.raises(ValueError, match='threshold'):
    run(tmp_path, threshold=(0.5,))
  with pytest.raises(ValueError, match='fill'):
    run(tmp_path, fill='white')
