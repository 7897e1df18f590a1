"""Tests of transforms against closed forms and plain OpenCV."""

import cv2
from encode import encode
import numpy as np
from PIL import Image
import pytest
import stripes

from boneage_jax.imaging import codec
from boneage_jax.imaging import geometry
from boneage_jax.imaging import intensity


def smooth(height, width, seed=0):
  image = np.random.default_rng(seed).uniform(0, 255, (height, width))
  return cv2.GaussianBlur(image.astype(np.uint8), (0, 0), 3)


def apply(matrix, points):
  return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def blob(height, width, x, y, sigma=2.0):
  rows, columns = np.mgrid[:height, :width]
  distance = (columns - x) ** 2 + (rows - y) ** 2
  return np.rint(255 * np.exp(-distance / (2 * sigma**2))).astype(np.uint8)


def centroid(image):
  rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
  weight = image.astype(np.float64)
  return [(columns * weight).sum(), (rows * weight).sum()] / weight.sum()


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_decode_keeps_grey():
  image = smooth(7, 5)
  np.testing.assert_array_equal(codec.decode_stored(encode(image)), image)


def test_decode_turns_colour_to_grey():
  image = smooth(6, 4)
  colour = np.repeat(image[..., None], 3, 2)
  np.testing.assert_array_equal(codec.decode_stored(encode(colour)), image)


@pytest.mark.parametrize('channels', [0, 3, 4])
def test_films_from_outside_and_stored_ones_have_the_same_grey(channels):
  rng = np.random.default_rng(7)
  shape = (31, 23, channels) if channels else (31, 23)
  for dtype, most in ((np.uint8, 256), (np.uint16, 4096), (np.uint16, 65536)):
    data = encode(rng.integers(0, most, shape).astype(dtype))
    film = codec.read(data)
    np.testing.assert_array_equal(film.image, codec.decode_stored(data))
    plain = data if dtype == np.uint8 and not channels else None
    assert film.plain == plain and not film.notes


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_decode_refuses_broken_files(suffix):
  data = encode(smooth(64, 64), suffix)
  for broken in (b'', b'no image', data[: len(data) // 2]):
    with pytest.raises(ValueError, match='Expected a complete'):
      codec.decode_stored(broken)


@pytest.mark.parametrize('box', [None, (0.2, 0.1, 0.7, 0.9)])
def test_squash_maps_edges_to_edges(box):
  matrix = geometry.fit_matrix((40, 60), (16, 32), 'squash', box)
  x0, y0, x1, y1 = box or (0, 0, 1, 1)
  corners = np.array([[x0 * 60, y0 * 40], [x1 * 60, y1 * 40]]) - 0.5
  expected = [[-0.5, -0.5], [31.5, 15.5]]
  np.testing.assert_allclose(apply(matrix, corners), expected, atol=1e-9)


def test_letterbox_centres_the_film_with_one_scale():
  matrix = geometry.fit_matrix((40, 80), (32, 32), 'letterbox')
  corners = [[-0.5, -0.5], [79.5, 39.5]]
  expected = [[-0.5, 7.5], [31.5, 23.5]]  # 16 rows of 32
  np.testing.assert_allclose(apply(matrix, corners), expected, atol=1e-9)


def test_fit_refuses_unknown_words_and_empty_boxes():
  with pytest.raises(ValueError, match='letterbox'):
    geometry.fit_matrix((4, 4), (2, 2), 'stretch')
  with pytest.raises(ValueError, match='x0 < x1'):
    geometry.fit_matrix((4, 4), (2, 2), 'squash', (0.5, 0, 0.5, 1))


def test_compose_applies_the_first_first(rng):
  first, second = rng.normal(size=(2, 2, 3))
  points = rng.normal(size=(5, 2))
  np.testing.assert_allclose(
    apply(geometry.compose(first, second), points),
    apply(second, apply(first, points)),
  )


def test_warp_of_a_ramp_is_analytic(rng):
  rows, columns = np.mgrid[:60, :80]
  ramp = np.rint(20 + 1.5 * columns + 1.2 * rows).astype(np.uint8)
  fit = geometry.fit_matrix(ramp.shape, (64, 64))
  matrix = geometry.compose(
    fit,
    geometry.augment_matrix(
      (64, 64), rng, rotate=20, zoom=0.1, shift=0.05, flip=True
    ),
  )
  warped = geometry.warp(ramp, matrix, (64, 64))
  rows, columns = np.mgrid[:64, :64]
  inverse = cv2.invertAffineTransform(matrix)
  source = apply(inverse, np.stack([columns, rows], -1))
  x, y = source[..., 0], source[..., 1]
  inside = (x > 0) & (x < 79) & (y > 0) & (y < 59)
  expected = 20 + 1.5 * x + 1.2 * y
  assert inside.mean() > 0.6
  np.testing.assert_allclose(warped[inside], expected[inside], atol=1.2)
  outside = (x < -1) | (x > 80) | (y < -1) | (y > 60)
  assert outside.any() and not warped[outside].any()


SCALES = (0.1, 0.15, 0.18, 0.27, 0.4, 0.5, 0.55, 0.6, 0.67, 0.73)
SCALES += (0.75, 0.8, 0.87, 0.93, 0.98, 1.0)
PERIODS = (2, 2.1, 2.4, 2.8, 3.3, 4, 5.5, 8, 13, 20)


@pytest.mark.parametrize('degrees', [0, 7, 20, 45])
@pytest.mark.parametrize('scale', SCALES)
def test_stripes_keep_the_amplitude_of_a_triangle(scale, degrees):
  """At 0 degrees that of Pillow itself."""
  side = round(60 / scale)
  shape, size = (side, side), (round(scale * side),) * 2
  matrix = geometry.compose(
    geometry.fit_matrix(shape, size), geometry.view_matrix(size, degrees)
  )
  for period in PERIODS:
    film = stripes.film(period, shape)
    if degrees:
      expected = stripes.sampled(film, matrix, size)
    else:
      expected = Image.fromarray(film).resize(
        size, Image.BILINEAR, reducing_gap=None
      )
    found = stripes.amplitude(geometry.warp(film, matrix, size))
    assert abs(found - stripes.amplitude(np.asarray(expected))) < 6, period


def test_each_axis_shrinks_on_its_own():
  film = smooth(500, 60)
  for size in ((50, 60), (350, 30), (70, 140)):
    matrix = geometry.fit_matrix(film.shape, size)
    expected = Image.fromarray(film).resize(size[::-1], Image.BILINEAR)
    found = geometry.warp(film, matrix, size).astype(int)
    away = np.abs(found - np.asarray(expected))[2:-2, 2:-2]
    assert away.max() <= 4 and away.mean() < 0.7


@pytest.mark.parametrize('side', [140, 100, 87, 73, 60, 40, 12])
def test_one_grey_stays_one_grey_and_black_lies_beyond_the_film(side):
  film = np.full((100, 100), 200, np.uint8)
  size = (side, side)
  fit = geometry.fit_matrix(film.shape, size)
  assert (geometry.warp(film, fit, size) == 200).all()
  # A box that reaches over the film, and a turn about the centre.
  box = (-0.5, 0.25, 0.5, 1.25)
  turned = geometry.compose(fit, geometry.view_matrix(size, 30))
  over = geometry.fit_matrix(film.shape, size, box=box)
  for matrix in (over, turned):
    back = cv2.invertAffineTransform(matrix)
    rows, columns = np.mgrid[:side, :side]
    places = apply(back, np.stack([columns, rows], -1))
    away = np.abs(places - 49.5).max(-1) - 50  # of the film's edge
    found = geometry.warp(film, matrix, size)
    assert (found[away < -1e-3] == 200).all()
    assert not found[away > 1e-3].any() and (found == 0).any()


def test_a_film_enlarges_as_by_opencv():
  film = smooth(100, 80)
  size = (140, 130)
  found = geometry.warp(film, geometry.fit_matrix(film.shape, size), size)
  expected = cv2.resize(film, size[::-1], interpolation=cv2.INTER_LINEAR)
  np.testing.assert_allclose(found.astype(int), expected, atol=1)


def test_shrinking_moves_nothing():
  film = blob(480, 520, 203.3, 260.4, 40)
  for scale in (0.09, 0.13, 0.2, 0.33, 0.5, 0.61, 0.73, 0.9, 0.99):
    size = (round(480 * scale), round(520 * scale))
    matrix = geometry.fit_matrix(film.shape, size)
    found = centroid(geometry.warp(film, matrix, size))
    np.testing.assert_allclose(found, apply(matrix, (203.3, 260.4)), atol=0.03)


@pytest.mark.parametrize('size', [(64, 64), (256, 192)])
def test_a_planted_point_stays_aligned(size):
  for seed in range(8):
    rng = np.random.default_rng(seed)
    film = blob(180, 140, 60.3, 97.6, 5)
    matrix = geometry.compose(
      geometry.fit_matrix(film.shape, size, 'letterbox'),
      geometry.augment_matrix(
        size, rng, rotate=25, zoom=0.1, shift=0.05, flip=True
      ),
    )
    found = centroid(geometry.warp(film, matrix, size))
    np.testing.assert_allclose(found, apply(matrix, (60.3, 97.6)), atol=0.25)


def test_augment_leaves_the_centre_and_draws_alike():
  size = (20, 30)
  first, second = np.random.default_rng(3), np.random.default_rng(3)
  matrix = geometry.augment_matrix(size, first, rotate=30, zoom=0.2, flip=True)
  np.testing.assert_allclose(apply(matrix, (14.5, 9.5)), (14.5, 9.5))
  still = geometry.augment_matrix(size, second)
  np.testing.assert_allclose(still, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
  assert first.random() == second.random()


def test_augment_mirrors_half_of_the_draws():
  rng = np.random.default_rng(0)
  mirrored = 0
  for _ in range(400):
    matrix = geometry.augment_matrix(
      (8, 8), rng, rotate=10, zoom=0.1, shift=0.1, flip=True
    )
    determinant = np.linalg.det(matrix[:, :2])
    assert 0.9**2 - 1e-9 <= abs(determinant) <= 1.1**2 + 1e-9
    assert (np.abs(apply(matrix, (3.5, 3.5)) - 3.5) <= 0.8 + 1e-9).all()
    mirrored += determinant < 0
  assert 160 < mirrored < 240


@pytest.mark.parametrize('resize', ['squash', 'letterbox'])
def test_unwarp_of_warp_is_within_a_pixel(resize, rng):
  size = (96, 96)
  film = blob(150, 120, 52.0, 80.0, 6)
  matrix = geometry.compose(
    geometry.fit_matrix(film.shape, size, resize),
    geometry.augment_matrix(
      size, rng, rotate=20, zoom=0.1, shift=0.05, flip=True
    ),
  )
  values = geometry.warp(film, matrix, size)
  back = geometry.unwarp(values, matrix, size, film.shape)
  assert back.shape == film.shape and back.dtype == np.float32
  np.testing.assert_allclose(centroid(back), (52, 80), atol=1)


def test_unwarp_of_a_coarse_map_covers_the_film_and_no_more():
  size, film = (64, 64), (100, 200)
  box = (0.25, 0.2, 0.75, 0.8)
  matrix = geometry.fit_matrix(film, size, 'squash', box)
  values = np.array([[1, 2], [3, 4]], np.float32)
  back = geometry.unwarp(values, matrix, size, film)
  inside = np.zeros(film, bool)
  inside[20:80, 50:150] = True
  assert (back[inside] >= 1).all() and not back[~inside].any()
  np.testing.assert_array_equal(
    back[[20, 20, 79, 79], [50, 149, 50, 149]], [1, 2, 3, 4]
  )


def test_tone_without_settings_changes_nothing(rng):
  film = smooth(9, 9)
  for generator in (None, rng):
    lut = intensity.tone_lut(film, generator)
    np.testing.assert_array_equal(lut, np.arange(256))


def test_tone_stretches_the_range_of_the_film():
  film = np.arange(50, 150, dtype=np.uint8).reshape(10, 10)
  lut = intensity.tone_lut(film, percentiles=(1, 99))
  expected = np.rint(255 * np.clip((np.arange(256) - 50) / 98, 0, 1))
  np.testing.assert_array_equal(lut, expected)
  flat = intensity.tone_lut(np.full((4, 4), 9, np.uint8), percentiles=(1, 99))
  np.testing.assert_array_equal(flat, np.arange(256))


@pytest.mark.parametrize('low', [0, 0.5, 10])
@pytest.mark.parametrize('high', [60, 99.5, 100])
def test_the_range_goes_from_percentile_to_percentile(low, high):
  film = np.random.default_rng(4).integers(40, 220, (33, 20)).astype(np.uint8)
  first, last = np.percentile(film, (low, high), method='inverted_cdf')
  lut = intensity.tone_lut(film, percentiles=(low, high))
  assert np.flatnonzero(lut == 0).max() == first
  assert np.flatnonzero(lut == 255).min() == last


def test_tone_is_the_closed_form():
  film = smooth(20, 20)
  lut = intensity.tone_lut(
    film, np.random.default_rng(5), brightness=0.1, contrast=0.2, gamma=0.3
  )
  b, c, g = np.random.default_rng(5).uniform(-1, 1, 3) * (0.1, 0.2, 0.3)
  v = (np.arange(256) / 255) ** np.exp(g)
  v = np.clip(((v - 0.5) * (1 + c) + 0.5) * (1 + b), 0, 1)
  np.testing.assert_array_equal(lut, np.rint(255 * v))
  assert lut.dtype == np.uint8 and (np.diff(lut.astype(int)) >= 0).all()


def test_erase_paints_the_box_and_only_the_box():
  film = smooth(10, 20) + 1
  before = film.copy()
  erased = intensity.erase(film, (0.1, 0.3, 0.5, 0.65), fill=0)
  inside = np.zeros(film.shape, bool)
  inside[3:7, 2:10] = True  # row 6 is touched, row 7 is not
  assert not erased[inside].any()
  np.testing.assert_array_equal(erased[~inside], film[~inside])
  np.testing.assert_array_equal(film, before)
