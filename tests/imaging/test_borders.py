"""Frames about films: against films whose frames are known."""

import csv
import json

import cv2
import dummy_archive
from encode import encode
import numpy as np
import pytest
import untrained_run

from boneage_jax import phantom
from boneage_jax import predict
from boneage_jax.core import stages
from boneage_jax.data import prepare
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.imaging import borders
from boneage_jax.imaging import codec
from boneage_jax.imaging import corruptions
from boneage_jax.inference import loading
from boneage_jax.runs import run as run_lib
from boneage_jax.workflow import jobs
from boneage_jax.workflow import run as workflow_run
from boneage_jax.workflow import same_films

FILM = np.random.default_rng(0).integers(60, 200, (60, 40)).astype(np.uint8)


def framed(film, top, bottom, left, right, grey):
  pad = (top, bottom), (left, right)
  return np.pad(film, pad, constant_values=grey)


@pytest.mark.parametrize('grey', [0, 37, 255])
@pytest.mark.parametrize(
  'sides',
  [(0, 0, 0, 0), (9, 9, 6, 6), (3, 0, 0, 0), (0, 1, 0, 30), (0, 0, 9, 1)],
)
def test_a_frame_on_any_side_is_found(sides, grey):
  film = framed(FILM, *sides, grey)
  np.testing.assert_array_equal(film[borders.inside(film)], FILM)
  again = framed(film, 5, 5, 5, 5, 128)  # a frame within a frame
  np.testing.assert_array_equal(again[borders.inside(again)], FILM)


def test_frames_of_almost_one_grey_are_found():
  """JPEG leaves a frame within some greys."""
  rng = np.random.default_rng(1)
  film = framed(FILM, 9, 9, 6, 6, 20)
  uneven = film + rng.integers(0, borders.GREYS + 1, film.shape)
  rows, columns = borders.inside(uneven.astype(np.uint8))
  assert (rows, columns) == (slice(9, 69), slice(6, 46))
  rough = film + rng.integers(0, 3 * borders.GREYS, film.shape)
  assert rough[borders.inside(rough.astype(np.uint8))].shape == film.shape


def test_a_flat_background_is_no_frame():
  """Behind it the film does not begin at once: a finger tip does."""
  film = np.full((60, 40), 12, np.uint8)
  film[20:, 17:22] = 180
  film[46:, 8:32] = 180
  assert film[borders.inside(film)].shape == film.shape
  white = framed(film, 9, 9, 6, 6, 255)
  np.testing.assert_array_equal(white[borders.inside(white)], film)


def test_the_edge_of_a_frame_may_be_soft():
  """As that of a film which was shrunk with its frame."""
  film = cv2.resize(FILM, (80, 120), interpolation=cv2.INTER_LINEAR)
  wide = framed(film, 31, 23, 17, 11, 0)
  small = cv2.resize(wide, (77, 124), interpolation=cv2.INTER_AREA)
  rows, columns = borders.inside(small)
  scale = 124 / 174, 77 / 108
  edges = np.array([rows.start, rows.stop, columns.start, columns.stop])
  expected = [31 * scale[0], 151 * scale[0], 17 * scale[1], 97 * scale[1]]
  assert np.abs(edges - expected).max() < 1.01


@pytest.mark.parametrize('step', [0.2, 1])
def test_a_gradient_is_no_frame(step):
  film = np.tile(np.rint(step * np.arange(200)), (300, 1)).astype(np.uint8)
  assert film[borders.inside(film)].shape == film.shape


@pytest.mark.parametrize('shape', [(60, 40), (1, 1), (1, 9), (9, 1)])
def test_a_film_without_content_is_kept(shape):
  film = np.full(shape, 7, np.uint8)
  assert film[borders.inside(film)].shape == shape


def test_phantoms_lose_white_frames_and_nothing_else():
  for i in range(12):
    film = phantom.make_film(i, 3, {'long_side': 200})['image']
    own = film[borders.inside(film)]
    assert own.size > 0.8 * film.size
    white = corruptions.border(film, 0.15, 255)
    np.testing.assert_array_equal(white[borders.inside(white)], own)


def test_annotations_of_a_framed_film_are_those_of_the_film():
  marks = {
    'hand_box': [0.1, 0.2, 0.9, 1.0],
    'keypoints': [[0.5, 0.25], [float('nan')] * 2],
    'boxes': [['expert', 'Wrist', [0.25, 0.5, 0.75, 0.625]]],
    'polygons': [{'exterior': [[0.0, 1.0], [0.5, 0.5]], 'interior': []}],
    'study': '7',
    'finding': 'none',
  }
  x = lambda v: (v * 40 + 8) / 60  # 8 pixels on the left, 12 on the right
  y = lambda v: (v * 60 + 30) / 90  # 30 pixels on top
  box = lambda b: [x(b[0]), y(b[1]), x(b[2]), y(b[3])]
  outer = {
    'hand_box': box(marks['hand_box']),
    'keypoints': [[x(0.5), y(0.25)], [float('nan')] * 2],
    'boxes': [['expert', 'Wrist', box(marks['boxes'][0][2])]],
    'polygons': [
      {'exterior': [[x(0), y(1)], [x(0.5), y(0.5)]], 'interior': []}
    ],
    'study': '7',
    'finding': 'none',
  }
  film = framed(FILM, 30, 0, 8, 12, 255)
  record = {
    'id': '1',
    'row': 1,
    'image': encode(film),
    'annotations': json.dumps(outer),
  }
  made = preprocess.without_border(record)
  np.testing.assert_array_equal(codec.decode_stored(made['image']), FILM)
  assert made['film_box'] == (8 / 60, 30 / 90, 48 / 60, 1)
  found = json.loads(made['annotations'])
  assert found.keys() == marks.keys()
  for name in ('hand_box', 'keypoints'):
    np.testing.assert_allclose(found[name], marks[name], atol=1e-12)
  assert found['boxes'][0][:2] == ['expert', 'Wrist']
  np.testing.assert_allclose(found['boxes'][0][2], marks['boxes'][0][2])
  polygon = marks['polygons'][0]['exterior']
  np.testing.assert_allclose(
    found['polygons'][0]['exterior'], polygon, atol=1e-12
  )
  assert (found['study'], found['finding']) == ('7', 'none')
  bare = preprocess.without_border({'id': '1', 'row': 1, 'image': encode(FILM)})
  assert 'film_box' not in bare and 'annotations' not in bare


def test_a_broken_film_is_named():
  with pytest.raises(ValueError, match='Film 31: Expected a complete'):
    preprocess.without_border(
      {'id': '31', 'row': 31, 'image': encode(FILM)[:300]}
    )


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Fresh nets on films of which every other has a frame; and those films."""
  folder = tmp_path_factory.mktemp('frames')
  manual, name = folder / 'manual', dummy_archive.TRAIN
  (manual / name).mkdir(parents=True)
  rows, films = [('id', 'boneage', 'male')], {}
  for i in range(1, 61):  # 31 to 60: the same films, framed
    options = {'long_side': 96}
    film = phantom.make_film((i - 1) % 30, 4, options)['image']
    film = film[borders.inside(film)]
    films[i] = film if i <= 30 else framed(film, 14, 3, 8, 20, 255)
    (manual / name / f'{i}.png').write_bytes(encode(films[i]))
    rows.append((i, 20 + (i - 1) % 30 * 5, (i - 1) % 30 % 2 == 0))
  dummy_archive.write_table(manual / f'{name}.csv', rows)
  config = untrained_run.tiny(str(manual))
  config.data.crop_borders = True
  for stage in ('localizer', 'assessor', 'whole_image'):
    config[stage].input.polarity = 'keep'
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(jobs.JOBS, 'train', untrained_run.untrained)
    workflow_run.run(config, str(folder / 'run'))
  return folder / 'run', films


@pytest.mark.parametrize('stage', ['whole_image', 'assessor'])
def test_a_run_reads_films_without_frames(run, stage):
  """Nets, their crops and new films alike: by frames nothing changes."""
  folder, films = run
  rows = run_lib.read_run(f'{folder}:{stage}').rows
  ages = dict(zip(rows['id'].tolist(), rows['prediction'], strict=True))
  predictor = loading.load(str(folder), stage)
  tried = 0
  for film, age in ages.items():
    bare = (int(film) - 1) % 30 + 1
    sex = 'M' if bare % 2 else 'F'
    plain = predictor.predict(films[bare], sex)
    other = predictor.predict(films[bare + 30], sex)
    assert plain.age_predicted == pytest.approx(age, abs=1e-3)
    assert other.age_predicted == pytest.approx(age, abs=1e-3)
    assert other.regions == plain.regions
    height, width = films[bare].shape
    left, top, right, bottom = other.film_box
    np.testing.assert_allclose(
      np.array([left, right]) * (width + 28), [8, 8 + width]
    )
    np.testing.assert_allclose(
      np.array([top, bottom]) * (height + 17), [14, 14 + height]
    )
    tried += 1
  assert tried > 12


def test_regions_of_films_cut_otherwise_are_not_painted_over(run):
  """Films of two sizes may lose other borders."""
  folder, _ = run
  config = run_lib.read_config(str(folder))
  config.whole_image.input.erase_from = 'regions'
  config.regions.erase = ('carpal',)
  assert config.whole_image.input.builder_config == 'px512'
  stage = stages.Stage(config, 'whole_image', str(folder))
  with pytest.raises(
    ValueError, match=r'Expected whole_image to read .* lose other borders'
  ):
    same_films.check(stage)
  config.data.crop_borders = False
  same_films.check(stage)


def test_regions_of_framed_films_are_those_of_the_films(run):
  folder, _ = run
  found = selection.found_regions(str(folder), 'regions')
  for film in range(1, 31):
    pairs = zip(
      *(found[str(one)].items() for one in (film, film + 30)), strict=True
    )
    for (name, one), (other_name, other) in pairs:
      assert (name, one.box, one.found) == (other_name, other.box, other.found)
      # Of six digits, of which rounding moves the last.
      assert one.score == pytest.approx(other.score, abs=2e-6)


def test_a_run_says_that_frames_are_cut_off(run, capsys):
  folder, _ = run
  config = run_lib.read_config(str(folder))
  for cut in (True, False):
    config.data.crop_borders = cut
    prepare.prepare(config, 'prepare', str(folder))
    said = capsys.readouterr().out
    assert (' test; borders are cropped.\n' in said) == cut
  # Films are the same however they are read: runs can be compared.
  assert (
    'frames' not in selection.split_films(config, str(folder), 'original')[1]
  )


def test_predict_says_that_a_frame_was_cut_off(run, tmp_path, capsys):
  folder, films = run
  paths = []
  for film in (2, 32):
    paths.append(str(tmp_path / f'{film}.png'))
    cv2.imwrite(paths[-1], films[film])
  predictor = loading.load(str(folder), 'whole_image')
  assert not predict.predict_films(predictor, paths, 'F', str(tmp_path))
  plain, cut = capsys.readouterr().out.splitlines()
  assert cut.endswith('; border cropped') and 'border' not in plain
  with open(tmp_path / 'predictions.csv', newline='') as file:
    plain, cut = csv.DictReader(file)
  left, low = 8 / films[32].shape[1], 1 - 3 / films[32].shape[0]
  assert float(cut['film_x0']) == pytest.approx(left, abs=1e-6)
  assert float(cut['film_y1']) == pytest.approx(low, abs=1e-6)
  assert (plain['film_x0'], plain['film_y1']) == ('0.000000', '1.000000')
