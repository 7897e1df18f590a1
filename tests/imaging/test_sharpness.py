"""The check of sharpness: films as they are, blurred and shrunk."""

import copy
import csv

import cv2
import numpy as np
import pytest

from boneage_jax import phantom
from boneage_jax import predict
from boneage_jax.imaging import corruptions
from boneage_jax.imaging import png
from boneage_jax.imaging import sharpness
from boneage_jax.inference import ensemble
from boneage_jax.inference import loading

SIDE = 128


@pytest.fixture(scope='module')
def films():
  options = {'long_side': 512}
  return [phantom.make_film(i, 5, options)['image'] for i in range(20)]


def test_phantoms_are_told_from_blurred_and_shrunken_ones(films):
  for film in films:
    assert not sharpness.lacks_detail(film, SIDE)
    for factor in (1.5, 2):  # still more than the net's pixels
      assert not sharpness.lacks_detail(corruptions.shrink(film, factor), SIDE)
    for share in (0.01, 0.02):
      assert sharpness.lacks_detail(corruptions.blur(film, share), SIDE)
    assert sharpness.lacks_detail(corruptions.shrink(film, 8), SIDE)


def test_what_is_little_for_one_net_is_enough_for_a_smaller_one(films):
  blurred = [corruptions.blur(film, 0.006) for film in films]
  few = [sum(sharpness.lacks_detail(f, n) for f in blurred) for n in (256, 64)]
  assert few == [len(films), 0]
  # Of a net that is not square the side counts along which a film is long.
  tall = [film for film in blurred if film.shape[0] > film.shape[1]]
  assert tall
  for film in tall:
    assert sharpness.lacks_detail(film, (256, 64))
    assert not sharpness.lacks_detail(film, (64, 256))
    assert not sharpness.lacks_detail(film.T, (256, 64))


def test_a_film_of_few_pixels_is_little(films):
  for film in films:
    for side in (SIDE, SIDE * 4 // 3):
      assert not sharpness.lacks_detail(stored(film, side), SIDE)
    for side in (SIDE // 2, SIDE // 3, SIDE // 8, SIDE // 16):
      assert sharpness.lacks_detail(stored(film, side), SIDE)


def stored(film, side):
  """The film with that many pixels along its long side."""
  scale = side / max(film.shape)
  size = [round(scale * n) for n in film.shape[::-1]]
  return cv2.resize(film, size, interpolation=cv2.INTER_AREA)


def test_waves_count_by_their_octave():
  """A wave that half of the pixels show is no fine detail; one that do is."""
  x = np.arange(512) / 512
  wave = lambda cycles: np.sin(2 * np.pi * cycles * x)
  picture = lambda y: np.tile(np.rint(127 + 50 * y).astype(np.uint8), (512, 1))
  coarse, fine = picture(wave(8)), picture(wave(8) + 0.7 * wave(48))
  assert sharpness.score(coarse, SIDE) < 0.05
  assert sharpness.score(fine, SIDE) > 0.2


@pytest.mark.parametrize(
  'change',
  [
    lambda film: corruptions.tone(film, contrast=0.5),
    lambda film: corruptions.tone(film, brightness=0.7),
    lambda film: 255 - film,
    lambda film: np.ascontiguousarray(np.rot90(film)),
    lambda film: np.kron(film, np.ones((3, 3), np.uint8)),
  ],
)
def test_tone_turn_and_size_do_not_matter(films, change):
  for film in films[:6]:
    score = sharpness.score(film, SIDE)
    assert sharpness.score(change(film), SIDE) == pytest.approx(score, rel=0.1)


@pytest.mark.parametrize('grey', [0, 200])
def test_rounding_is_no_detail(grey):
  rng = np.random.default_rng(0)
  film = np.full((90, 70), grey, np.uint8) + rng.integers(0, 2, (90, 70))
  for empty in (np.full((90, 70), grey), film, np.full((1, 1), grey)):
    assert sharpness.score(empty.astype(np.uint8), 64) == 0


def test_a_blurred_film_is_named_and_read(untrained, tmp_path, capsys):
  """The run's net reads 32 pixels, so that little is enough."""
  predictor = loading.load(str(untrained / 'run'), 'assessor')
  film = cv2.imread(str(untrained / 'films/1.png'), cv2.IMREAD_GRAYSCALE)
  blurred = cv2.GaussianBlur(film, (0, 0), 0.06 * max(film.shape))
  assert predictor.inverted
  for k, (image, flags) in enumerate(
    [(255 - film, ()), (255 - blurred, ('sharpness',))]
  ):
    found = predictor.predict(image, 'F')
    assert ('sharpness' in found.quality_flags) == bool(flags)
    if flags:
      assert found.status == 'check'
    path = str(tmp_path / f'{k}.png')
    cv2.imwrite(path, image)
    out = tmp_path / f'out_{k}'
    assert not predict.predict_films(predictor, [path], 'F', str(out))
    output = capsys.readouterr()
    assert output.out.startswith(f'{path}: ')
    warned = 'the film is blurred, or has too few pixels' in output.err
    assert warned == bool(flags)
    with open(out / 'predictions.csv', newline='') as file:
      (row,) = csv.DictReader(file)
    assert row['quality_flags'] == ' '.join(found.quality_flags)
    assert row['status'] == found.status


def test_a_film_that_one_net_of_several_flags_is_flagged(untrained):
  one = loading.load(str(untrained / 'run'), 'assessor')
  finer = copy.copy(one)
  finer.finder = copy.copy(one.finder)
  finer.finder._key = 'another', 'finder'
  finer.finder.film_input = copy.deepcopy(one.finder.film_input)
  finer.finder.film_input.size = 4096
  film = cv2.imread(str(untrained / 'films/1.png'), cv2.IMREAD_GRAYSCALE)
  both = [ensemble.Ensemble(nets) for nets in ([one, one], [one, finer])]
  for net, flags in zip(both, ((), ('sharpness',)), strict=True):
    assert net.predict(255 - film, 'F').quality_flags == flags
    record = {'id': '1', 'row': 1, 'sex': -1.0, 'age': 0.0}
    record |= {'image': png.encode(255 - film)}
    _, (seen,) = net.outputs([net.encode(record)])
    assert seen.quality_flags == flags


@pytest.mark.parametrize('shape', [(300, 225), (301, 226), (1777, 1234)])
def test_averages_are_those_of_opencv(shape):
  film = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  sums = cv2.integral(film, sdepth=cv2.CV_64F)
  for side in (128, 37.5, 16):
    found = sharpness._averaged(film, sums, side)
    wanted = cv2.resize(
      film.astype(np.float32), found.shape[::-1], interpolation=cv2.INTER_AREA
    )
    assert max(found.shape) == round(side)
    np.testing.assert_allclose(found, wanted, atol=2e-2)
