"""Films augmented on the device are those of the host, to the rounding."""

import json
import types

import cv2
from encode import encode
import jax
import numpy as np
import pytest
import stripes
import tiny_cascade

from boneage_jax.core import sizes
from boneage_jax.data import device_augment
from boneage_jax.data import preprocess
from boneage_jax.imaging import geometry
from boneage_jax.imaging import masks
from boneage_jax.imaging import png
from boneage_jax.training import loop
from configs import common

MOVED = dict(rotate=20.0, zoom=0.2, shift=0.1, flip=True, cutout=3)
TONED = dict(brightness=0.2, contrast=0.2, gamma=0.2, percentiles=(1.0, 99.0))


def film(height, width, seed=0):
  """A smooth film with edges."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 256, (height // 12, width // 12)).astype(np.uint8)
  image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
  image[height // 3 : height // 2, width // 4 : width // 2] = 250
  return image


def record(image, **more):
  data = encode(image)
  return {'id': '1', 'row': 1, 'sex': 1.0, 'age': 90.0, 'image': data} | more


def both(one, seed, **changes):
  """The example of the host, and of the device, from the same draws."""
  made = []
  for side in (0, changes.pop('side')):
    config = types.SimpleNamespace(
      **common.image_input(**changes, device_augment=side)
    )
    kinds = ('hand_box',) if 'annotations' in one else ()
    rng = np.random.default_rng(seed)
    made.append(preprocess.make_example(one, config, rng, kinds))
  host, packed = made
  batch = jax.tree.map(lambda x: np.asarray(x)[None], packed)
  device = jax.device_get(jax.jit(device_augment.finish)(batch))
  return host, jax.tree.map(lambda x: x[0], device)


def differences(ours, theirs):
  return np.abs(ours.astype(int) - theirs.astype(int))


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('resize', ['squash', 'letterbox'])
@pytest.mark.parametrize('size', [128, (128, 96)])
def test_a_film(seed, resize, size):
  one = record(film(150, 110, seed))
  host, device = both(
    one, seed, size=size, side=160, resize=resize, **MOVED, **TONED
  )
  assert host.keys() == device.keys()
  assert device['image'].shape == (*sizes.size_hw(size), 1)
  assert device['image'].dtype == np.uint8
  # OpenCV rounds positions to 1/32 of a pixel, which moves steep edges.
  away = differences(device['image'], host['image'])
  assert np.mean(away > 2) < 0.01 and away.mean() < 0.2
  assert host['image'].std() > 20
  # The picture of another draw is far from this one.
  other = both(one, seed + 50, size=size, side=160, **MOVED, **TONED)[1]
  assert differences(other['image'], host['image']).mean() > 5


@pytest.mark.parametrize('degrees', [0, 20])
@pytest.mark.parametrize(
  'size, side, shapes',
  [
    (60, 110, ((110, 100), (66, 90), (61, 61))),
    (48, 260, ((260, 200), (140, 260))),
    (40, 90, ((180, 140),)),  # larger than the square
  ],
)
def test_stripes_keep_the_amplitude_of_a_triangle(size, side, shapes, degrees):
  sample = jax.jit(device_augment.finish)
  hw = (size, size)
  for shape in shapes:
    matrix = geometry.compose(
      geometry.fit_matrix(shape, hw), geometry.view_matrix(hw, degrees)
    )
    for period in (2, 2.4, 3.3, 5.5, 9, 16):
      image = stripes.film(period, shape)
      packed = device_augment.pack(image, matrix, hw, side)
      packed['greys'] = np.arange(256, dtype=np.uint8)
      batch = {name: value[None] for name, value in packed.items()}
      found = stripes.amplitude(np.asarray(sample(batch)['image'])[0, ..., 0])
      expected = stripes.amplitude(stripes.sampled(image, matrix, hw))
      assert abs(found - expected) < 6, (shape, period)


def test_edges_go_on_inside_and_black_lies_beyond():
  matrix = geometry.compose(
    geometry.fit_matrix((70, 50), (96, 96)), geometry.view_matrix((96, 96), 10)
  )
  flat = np.full((70, 50), 200, np.uint8)
  packed = device_augment.pack(flat, matrix, (96, 96), 80)
  packed['greys'] = np.arange(256, dtype=np.uint8)
  batch = {name: value[None] for name, value in packed.items()}
  found = np.asarray(jax.jit(device_augment.finish)(batch)['image'])[0, ..., 0]
  np.testing.assert_array_equal(found, geometry.warp(flat, matrix, (96, 96)))
  assert set(np.unique(found)) == {0, 200}


def test_regions_mirror_together():
  data = [png.encode(film(60, 60, 1)), png.encode(film(60, 48, 2))]
  one = {'id': '1', 'row': 1, 'sex': 1.0, 'age': 90.0, 'regions': data}
  for seed in range(6):
    host, device = both(
      one, seed, size=48, side=64, crop_margin=0.1, **MOVED, **TONED
    )
    assert device['regions'].shape == (2, 48, 48, 1)
    away = differences(device['regions'], host['regions'])
    assert np.mean(away > 2) < 0.01 and away.mean() < 0.3


def test_the_mask_is_that_of_the_host_and_lies_on_the_film():
  annotation = {'hand_box': [0.2, 0.3, 0.7, 0.8]}
  drawn = masks.draw(annotation, ('hand_box',), (140, 120))
  for seed in range(4):
    one = record(drawn, annotations=json.dumps(annotation))
    host, device = both(one, seed, size=96, side=150, **MOVED)
    np.testing.assert_array_equal(device['region_mask'], host['region_mask'])
    known = device['region_mask'] != masks.UNKNOWN
    inside = device['image'][..., 0] > 127
    agree = (inside == (device['region_mask'] == masks.INSIDE))[known]
    assert agree.mean() > 0.99


def test_validation_stays_on_the_host():
  config = types.SimpleNamespace(
    **common.image_input(size=32, device_augment=64)
  )
  assert 'image' in preprocess.make_example(record(film(60, 50)), config)


def test_a_film_larger_than_the_square_is_shrunk():
  one = record(film(300, 240))
  for seed in range(3):
    host, device = both(one, seed, size=128, side=200, **MOVED, **TONED)
    away = differences(device['image'], host['image'])
    assert away.mean() < 3
    held = both(one, seed, size=128, side=300, **MOVED, **TONED)[1]
    moved = np.roll(held['image'], 2, axis=0)  # a wrong place would show
    assert differences(moved, host['image']).mean() > 2 * away.mean()


def test_frames_of_disturbed_films_fit():
  config = types.SimpleNamespace(
    **common.image_input(size=32, device_augment=64, corruption_prob=1.0)
  )
  one = record(film(64, 60))
  for seed in range(40):
    rng = np.random.default_rng(seed)
    made = preprocess.make_example(one, config, rng)
    assert made['squares'].shape == (64, 64)


def test_it_trains(prepared, tmp_path):
  """Losses of a run on the device are near those of the host."""
  losses = []
  for side in (0, 64):
    config = tiny_cascade.get_config()
    config.localizer.input.update(device_augment=side, size=48, rotate=10.0)
    config.localizer.update(steps=3)
    config.localizer.optimizer.learning_rate = 3e-5  # Adam magnifies rounding
    workdir = tmp_path / str(side)
    (workdir / 'prepare').mkdir(parents=True)
    (workdir / 'prepare' / 'done.json').write_text(
      json.dumps({'folders': {'original': prepared}})
    )
    loop.train_and_evaluate(config, 'localizer', str(workdir))
    rows = (workdir / 'localizer' / 'metrics.jsonl').read_text().splitlines()
    losses.append([json.loads(row)['train_loss'] for row in rows])
  np.testing.assert_allclose(losses[1], losses[0], rtol=0.01)
