"""The locate job on drawn films, with nets whose maps are known."""

import filecmp
import json

from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import planted
import pytest

from boneage_jax.data import film_table
from boneage_jax.data import sources
from boneage_jax.imaging import boxes
from boneage_jax.imaging import codec
from boneage_jax.imaging import overlay
from boneage_jax.models import net as net_lib
from boneage_jax.regions import gradcam
from boneage_jax.regions import job as locate_job
from boneage_jax.runs import located


def table(count):
  splits = ['train', 'train', 'validation', 'test']
  return {
    'id': np.arange(100, 100 + count).astype(str),
    'split': np.array([splits[i % 4] for i in range(count)]),
    'sex': np.arange(count, dtype=np.float32) % 2 * 2 - 1,
    'age': np.full(count, 50, np.float32),
    'position': np.arange(count),
  }


def run(
  folder,
  predict=planted.brightness,
  source=None,
  input_config=planted.INPUT,
  **changes,
):
  source = source or planted.Source([planted.film(i) for i in range(7)])
  options = ConfigDict(planted.OPTIONS.to_dict() | changes)
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
    for name, box in (
      ('carpal', planted.LARGE),
      ('metacarpal', planted.SMALL),
    ):
      expected = np.array(box) + move
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
  places = zip(crops, source[2]['film_in_crops'], strict=True)
  for crop, place in places:  # greys from 10 on lie within it alone
    rows, columns = np.nonzero(crop)
    ends = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    np.testing.assert_allclose(ends, 48 * np.array(place), atol=0.51)
  assert len(source) == 7 and [c.shape for c in crops] == [(48, 48)] * 2
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
  letterbox = ConfigDict(planted.INPUT.to_dict() | {'resize': 'letterbox'})
  wide = np.full((60, 120), 10, np.uint8)
  planted.paint(wide, planted.SMALL, 250)
  folder = tmp_path / 'regions'
  run(folder, source=planted.Source([wide]), input_config=letterbox)
  _, _, heat = located.read_located(str(tmp_path), 'regions')
  assert heat['resize'] == 'letterbox'
  drawn = overlay.film_heat(heat['maps']['100'], wide.shape, heat['resize'])
  rows, columns = np.nonzero(drawn > 0.5)
  height, width = drawn.shape
  found = [columns.min() / width, rows.min() / height, columns.max() / width]
  # One cell is 1/8 of the height; taken for squashed, y0 would be 0.3.
  np.testing.assert_allclose(found, planted.SMALL[:3], atol=1 / 8)


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
    return planted.brightness(images, sex)

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


def test_coverage_per_split(tmp_path):
  marks = [['expert', 'Wrist', list(planted.LARGE)]]
  source = planted.Source([planted.film(0)] * 8, json.dumps({'boxes': marks}))
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
  found = []
  for batch_size, devices in [(1, 1), (3, 1), (8, 1), (8, 4)]:
    folder = tmp_path / f'{batch_size}_{devices}'
    run(folder, predictor(devices), batch_size=batch_size)
    table = boxes.read_regions(str(folder / 'regions.csv'))
    found.append(
      [region.box for of_film in table.values() for region in of_film.values()]
    )
  for other in found[1:]:
    np.testing.assert_allclose(other, found[0], atol=1 / 100)


def test_wrong_options_are_errors(tmp_path):
  with pytest.raises(ValueError, match='threshold'):
    run(tmp_path, threshold=(0.5,))
  with pytest.raises(ValueError, match='fill'):
    run(tmp_path, fill='white')
