"""Boxes from heat maps against analytic super-level sets."""

import numpy as np
import pytest

from boneage_jax.imaging import boxes


def blob(shape, centre, sigma, height=1.0):
  """Gaussian in fractions of the film, sampled at pixel centres."""
  y = (np.arange(shape[0]) + 0.5) / shape[0]
  x = (np.arange(shape[1]) + 0.5) / shape[1]
  dx, dy = (x - centre[0]) / sigma[0], (y - centre[1]) / sigma[1]
  return height * np.exp(-0.5 * (dx[None] ** 2 + dy[:, None] ** 2))


def analytic(centre, sigma, threshold):
  radius = np.sqrt(-2 * np.log(threshold))
  (x, y), (a, b) = centre, sigma
  return x - radius * a, y - radius * b, x + radius * a, y + radius * b


def iou(a, b):
  x = max(0, min(a[2], b[2]) - max(a[0], b[0]))
  y = max(0, min(a[3], b[3]) - max(a[1], b[1]))
  area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
  return x * y / (area(a) + area(b) - x * y)


@pytest.mark.parametrize('threshold', [20 / 255, 50 / 255, 0.5])
def test_planted_blob(threshold):
  centre, sigma = (0.55, 0.4), (0.1, 0.15)
  region = boxes.box_from_map(blob((300, 220), centre, sigma), threshold)
  assert region.found
  assert iou(region.box, analytic(centre, sigma, threshold)) >= 0.95
  assert 0.5 < region.score <= 1


def test_two_blobs_peak_against_largest():
  small = blob((200, 200), (0.25, 0.25), (0.05, 0.05), 1.0)
  large = blob((200, 200), (0.7, 0.7), (0.08, 0.08), 0.9)
  peak = boxes.box_from_map(small + large, 0.5, minimum_side=0)
  assert iou(peak.box, analytic((0.25, 0.25), (0.05, 0.05), 0.5)) > 0.9
  largest = boxes.box_from_map(
    small + large, 0.5, component='largest', minimum_side=0
  )
  assert iou(largest.box, analytic((0.7, 0.7), (0.08, 0.08), 0.5 / 0.9)) > 0.9


@pytest.mark.parametrize('value', [0.0, np.nan, -1.0, np.inf])
def test_no_heat_gives_the_whole_film(value):
  region = boxes.box_from_map(np.full((30, 20), value, np.float32))
  assert region == boxes.Region((0.0, 0.0, 1.0, 1.0), 0.0, False)


def test_a_single_nan_is_not_found():
  heat = blob((30, 20), (0.5, 0.5), (0.1, 0.1))
  heat[3, 4] = np.nan
  assert not boxes.box_from_map(heat).found


def test_flat_map_is_the_whole_film_and_found():
  region = boxes.box_from_map(np.ones((30, 20)))
  assert region.box == (0, 0, 1, 1) and region.found and region.score == 1


def test_minimum_side_grows_about_the_centre():
  heat = np.zeros((100, 100))
  heat[50, 30] = 1
  region = boxes.box_from_map(heat, minimum_side=0.2)
  np.testing.assert_allclose(region.box, (0.205, 0.405, 0.405, 0.605))


def test_minimum_side_is_moved_inside_the_film():
  heat = np.zeros((100, 100))
  heat[99, 0] = 1
  region = boxes.box_from_map(heat, minimum_side=0.2)
  np.testing.assert_allclose(region.box, (0, 0.8, 0.2, 1))


def test_margin_is_cut_at_the_film():
  heat = np.zeros((100, 100))
  heat[0:40, 30:70] = 1
  region = boxes.box_from_map(heat, margin=0.25)
  np.testing.assert_allclose(region.box, (0.2, 0, 0.8, 0.5))


def test_same_heat_at_two_film_sizes():
  centre, sigma = (0.4, 0.6), (0.12, 0.07)
  small, large = (
    boxes.box_from_map(blob(shape, centre, sigma), smooth=0.01).box
    for shape in ((200, 150), (800, 600))
  )
  np.testing.assert_allclose(small, large, atol=1 / 150)


def test_smoothing_removes_a_speck():
  heat = blob((200, 200), (0.6, 0.5), (0.1, 0.1))
  heat[10, 10] = 3
  raw = boxes.box_from_map(heat, 0.4)
  smooth = boxes.box_from_map(heat, 0.4, smooth=0.02)
  assert raw.box[2] < 0.3 and smooth.box[0] > 0.4


def test_scale_does_not_matter():
  heat = blob((60, 50), (0.4, 0.4), (0.1, 0.1))
  one, other = (boxes.box_from_map(heat * scale) for scale in (1, 1e-6))
  assert one.box == other.box
  np.testing.assert_allclose(one.score, other.score, rtol=1e-6)


def test_wrong_arguments_are_errors():
  for bad in ({'threshold': 50}, {'component': 'first'}):
    with pytest.raises(ValueError, match=next(iter(bad))):
      boxes.box_from_map(np.ones((4, 4)), **bad)
  with pytest.raises(ValueError, match='H, W'):
    boxes.box_from_map(np.ones((4, 4, 1)))


def test_expand_is_symmetric():
  box = boxes.expand((0.0, 0.2, 0.4, 0.6), 0.25)
  np.testing.assert_allclose(box, (-0.1, 0.1, 0.5, 0.7))


@pytest.mark.parametrize(
  'crop_hw, expected',
  [
    ((110, 83), (4 / 83, 5 / 110, 79 / 83, 105 / 110)),  # 4 and 5 whole pixels
    ((220, 166), (0.05 / 1.1, 0.05 / 1.1, 1.05 / 1.1, 1.05 / 1.1)),
  ],
)
def test_a_margin_is_cut_off(crop_hw, expected):
  found = boxes.within_margin(crop_hw, (100, 75), 0.05)
  np.testing.assert_allclose(found, expected)


def test_regions_file_round_trip(tmp_path):
  path = tmp_path / 'regions.csv'
  region = boxes.Region((0.125, 0.25, 0.5, 1.0), 0.75, True)
  missing = boxes.Region(boxes.WHOLE_FILM, 0.0, False)
  boxes.write_regions(
    path, [('7', 'carpal', region), ('7', 'metacarpal', missing)]
  )
  assert boxes.read_regions(path) == {
    '7': {'carpal': region, 'metacarpal': missing}
  }
  lines = path.read_text().splitlines()
  assert lines[0] == 'id,region,x0,y0,x1,y1,score,found'
  assert [p.name for p in tmp_path.iterdir()] == ['regions.csv']


def test_another_csv_is_refused(tmp_path):
  path = tmp_path / 'regions.csv'
  path.write_text('id,age\n1,2\n')
  with pytest.raises(ValueError, match='columns'):
    boxes.read_regions(str(path))
