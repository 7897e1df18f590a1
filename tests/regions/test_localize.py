"""Regions found in one film, with a net whose map is the film."""

from ml_collections import ConfigDict
import numpy as np
import planted
import pytest

from boneage_jax.data import preprocess
from boneage_jax.imaging import boxes
from boneage_jax.imaging import geometry
from boneage_jax.imaging import png
from boneage_jax.regions import localize
from configs import common


@pytest.mark.parametrize('fill', ['black', 'random_constant'])
def test_only_the_first_region_is_painted(fill):
  seen = []

  def watch(images, inputs):
    seen.append(images[0, ..., 0].copy())
    return planted.brightness(images, inputs)

  options = ConfigDict(
    planted.OPTIONS.to_dict() | {'fill': fill, 'batch_size': 1}
  )
  one = localize.load_film(planted.Source([planted.film(0)])[0], planted.INPUT)
  localize.find_regions(watch, [one], planted.INPUT, options)
  x0, y0, x1, y1 = np.array(one.regions['carpal'].box) * planted.SIZE
  inside = seen[1][int(y0) + 2 : int(y1) - 1, int(x0) + 2 : int(x1) - 1]
  assert len(np.unique(inside)) == 1
  assert inside[0, 0] == 0 or fill == 'random_constant'
  outside = np.ones((planted.SIZE, planted.SIZE), bool)
  outside[int(y0) - 1 : int(y1) + 2, int(x0) - 1 : int(x1) + 2] = False
  np.testing.assert_array_equal(seen[0][outside], seen[1][outside])


def test_inverted_films_give_the_same_boxes_and_inverted_crops():
  inverted = ConfigDict(planted.INPUT.to_dict() | {'polarity': 'invert'})
  crops, found = [], []
  for image, config in (
    (planted.film(1), planted.INPUT),
    (255 - planted.film(1), inverted),
  ):
    one = localize.load_film(planted.Source([image])[0], config)
    localize.find_regions(planted.brightness, [one], config, planted.OPTIONS)
    found.append(one.regions)
    crops.append(localize.cut_crops(one, config, planted.OPTIONS))
  assert found[0] == found[1]
  for crop, inverse in zip(*crops, strict=True):
    np.testing.assert_array_equal(crop, 255 - inverse)


def test_neither_films_nor_inputs_nor_crops_need_be_square():
  """A net's input of 24 x 48, crops for a net of 30 x 15 with a margin."""
  size = (24, 48)
  wide = ConfigDict(planted.INPUT.to_dict())
  with wide.ignore_type():
    wide.size = size
  options = ConfigDict(planted.OPTIONS.to_dict())
  with options.ignore_type():
    options.crop_size = (30, 15)
  seen = []

  def brightness(images, inputs):
    seen.append(images.shape)
    pixels = images[..., 0].reshape(len(images), 12, 2, 24, 2)
    return np.maximum(pixels.mean((2, 4)) - 20, 0)

  one = localize.load_film(planted.Source([planted.film(0)])[0], wide)
  localize.find_regions(brightness, [one], wide, options)
  assert set(seen) == {(3, *size, 1)}
  for name, box in (
    ('carpal', planted.LARGE),
    ('metacarpal', planted.SMALL),
  ):
    np.testing.assert_allclose(one.regions[name].box, box, atol=1 / 12)
  crops = localize.cut_crops(one, wide, options)
  assert {c.shape for c in crops} == {localize.crop_hw(options)}
  assert localize.crop_hw(options) == (72, 36)  # 1.2 * 2 of the net's
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


def test_contrast_comes_from_the_film_alone():
  """Crops reach over the film; a linear change of greys changes nothing."""
  rng = np.random.default_rng(0)
  film = 40 + 2 * rng.integers(0, 100, (64, 48)).astype(np.uint8)
  options = planted.OPTIONS
  settings = ConfigDict(
    common.image_input(size=40, crop_margin=0.1, percentiles=(1.0, 99.0))
  )
  seen = []
  for image in (film, film // 2, 255 - film):
    one = localize.load_film(planted.Source([image])[0], planted.INPUT)
    for name, box in zip(
      options.regions, ((0, 0, 0.6, 0.5), (0.7, 0.8, 1, 1)), strict=True
    ):
      one.regions[name] = boxes.Region(box, 1.0, True)
    crops = localize.cut_crops(one, planted.INPUT, options)
    assert any((crop == 0).any() for crop in crops)
    record = {'id': '1', 'row': 1, 'sex': 0.0, 'age': 1.0}
    record['regions'] = [png.encode(crop) for crop in crops]
    record['film_in_crops'] = localize.film_in_crops(one, options)
    seen.append(preprocess.make_example(record, settings)['regions'])
    low, high = np.percentile(seen[-1], (2, 98))
    assert low < 30 and high > 225
  for other in (seen[1].astype(int), 255 - seen[2].astype(int)):
    np.testing.assert_allclose(other, seen[0], atol=8)  # of half the greys
    assert np.abs(other - seen[0]).mean() < 2


def test_a_film_that_does_not_decode_is_named():
  record = planted.Source([planted.film(0)])[0] | {'image': b'\x89PNG'}
  with pytest.raises(ValueError, match='Film 100'):
    localize.load_film(record, planted.INPUT)
