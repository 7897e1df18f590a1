"""Contact sheets of training samples, before and after augmentation."""

import cv2
import numpy as np
import pytest
import tiny_cascade

from boneage_jax import preview as command
from boneage_jax.core import stages
from boneage_jax.data import selection
from boneage_jax.imaging import overlay
from boneage_jax.training import preview
from boneage_jax.workflow import few_films
from configs import hand_geometry


def test_cells_lie_in_rows():
  cells = [np.full((2 + k, 3, 3), k + 1, np.uint8) for k in range(3)]
  sheet = overlay.sheet(cells, 2)
  assert sheet.shape == (8, 6, 3)
  assert (sheet[:2, :3] == 1).all() and (sheet[:3, 3:] == 2).all()
  assert (sheet[4:8, :3] == 3).all() and not sheet[2:4, :3].any()
  assert not sheet[4:, 3:].any()


def options(**changes):
  section = tiny_cascade.get_config().localizer.input
  section.update(dict(rotate=0.0, brightness=0.0, contrast=0.0, cutout=0))
  section.update(changes)
  return section


def record(image):
  """A film of a girl of 100 months, a bright square at its upper left."""
  ok, data = cv2.imencode('.png', image)
  assert ok
  return {'image': data.tobytes(), 'id': '7', 'row': 0, 'sex': -1, 'age': 100}


@pytest.fixture
def film():
  image = np.full((64, 64), 40, np.uint8)
  image[4:20, 4:20] = 240
  return record(image)


def test_what_is_augmented_is_what_training_sees(film):
  """A flipped film has its square at the right."""
  section = options(flip=True, percentiles=())
  plain = preview.sample_cell(film, section, None, ())
  draws = [
    preview.sample_cell(film, section, np.random.default_rng(seed), ())
    for seed in range(8)
  ]
  bright = lambda cell: np.mean(np.nonzero(cell[: preview.HEIGHT] > 200)[1])
  assert bright(plain) < 110
  sides = {bright(cell) > 110 for cell in draws}
  assert sides == {False, True}


def test_greys_are_those_of_the_input(film):
  section = options(percentiles=(), brightness=0.5)
  middle = lambda rng: preview.sample_cell(film, section, rng, ())[150, 150, 0]
  assert middle(None) == 40
  drawn = {middle(np.random.default_rng(seed)) for seed in range(6)}
  assert len(drawn) > 3 and min(drawn) < 40 < max(drawn)


def test_masks_points_and_boxes_are_drawn(film):
  film['annotations'] = (
    '{"hand_box": [0.1, 0.1, 0.9, 0.9], "polygons": [{"exterior": '
    '[[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]], "interior": []}]}'
  )
  without = preview.film_cell({**film, 'annotations': ''}, {})
  drawn = preview.film_cell(film, {})
  changed = (drawn != without).any(-1)[: preview.HEIGHT]
  side = preview.HEIGHT
  for fraction in (0.1, 0.9, 0.3, 0.7):  # the box and the outline
    near = changed[:, round(fraction * side) - 4 : round(fraction * side) + 4]
    assert near.any(), fraction
  assert not changed[: round(0.05 * side)].any()
  # The box that a stage found stands in the place of the readers'.
  found = {'carpal': ((0.4, 0.5, 0.6, 0.95), 1.0, True)}
  other = preview.film_cell(film, found)
  assert (other != drawn)[: preview.HEIGHT].any()


def test_bones_are_bright_as_the_net_sees_them(film):
  film['annotations'] = ''
  shown = [
    preview.film_cell(film, {}, polarity)[100:130, 200:230]
    for polarity in ('keep', 'invert')
  ]
  np.testing.assert_array_equal(shown[1], 255 - shown[0])


def test_films_that_are_augmented_on_the_device(film):
  section = options()
  host = preview.sample_cell(film, section, None, ())
  section.device_augment = 64
  rng = np.random.default_rng(0)
  device = preview.sample_cell(film, section, rng, ())
  assert host.shape == device.shape
  inner = slice(10, preview.HEIGHT - 10)
  apart = host[inner].astype(int) - device[inner]
  assert np.abs(apart).mean() < 12


def test_a_sheet_without_a_run(archive, tmp_path):
  config = hand_geometry.get_config('phantom')
  config.manual_dir = archive
  out = tmp_path / 'sheets' / 'points.jpg'
  command.show(config, '', 'keypoints', 2, str(out))
  sheet = cv2.imread(str(out))
  assert sheet.shape[0] > 2 * preview.HEIGHT
  with pytest.raises(ValueError, match='Expected --stage to be one of'):
    command.show(config, '', 'regions', 2, str(out))
  cascade = tiny_cascade.get_config()
  cascade.manual_dir = archive
  with pytest.raises(ValueError, match=r'crops .* with --workdir=RUN'):
    command.show(cascade, '', 'assessor', 2, str(out))


def test_training_leaves_a_sheet(trained):
  for stage in ('localizer', 'assessor'):
    path = trained / 'run' / stage / stages.SAMPLES
    height = cv2.imread(str(path)).shape[0]
    assert height > preview.FILMS * preview.HEIGHT


def test_few_films_are_those_of_the_archive(archive, tmp_path):
  config = tiny_cascade.get_config()
  config.manual_dir = archive
  few = few_films.prepare(config, str(tmp_path), 12)
  films, _ = selection.split_films(few, str(tmp_path), 'original')
  assert len(films['id']) == 12 and 'train' in films['split']
  assert all('hand_polygons' in marks for marks in films['marks'].tolist())
  assert config.manual_dir == archive
