"""Films that a run has seen are found again; others are not."""

import cv2
from encode import encode
import numpy as np

from boneage_jax import phantom
from boneage_jax.evaluation import seen_films

SMALL = {'long_side': 256, 'visits': 3}


def drawn(index, **options):
  return phantom.make_film(index, 4, SMALL | options)['image']


def known(image, kind='.png'):
  data = encode(image, kind)
  flat = np.frombuffer(data, np.uint8)
  return seen_films.print_of(data, cv2.imdecode(flat, cv2.IMREAD_GRAYSCALE))


def test_one_film_in_other_files_and_other_films_of_its_hand():
  images = [drawn(k) for k in range(9)]  # three visits of three hands
  seen = {f'seen {k}': known(images[k]) for k in (0, 3, 6)}
  height, width = images[3].shape
  half = (width // 2, height // 2)
  new = {
    'same': known(images[0]),
    'jpeg': known(images[3], '.jpg'),
    'half': known(cv2.resize(images[6], half, interpolation=cv2.INTER_AREA)),
    **{f'visit {k}': known(images[k]) for k in (1, 2, 4, 5, 7, 8)},
  }
  assert seen_films.matches(new, seen) == {
    'same': 'seen 0, equal bytes',
    'jpeg': 'seen 3, equal at 64 pixels',
    'half': 'seen 6, equal at 64 pixels',
  }
  assert seen_films.matches(new, {}) == seen_films.matches({}, seen) == {}


def test_distances_stand_well_off_the_limit():
  """Of a film in other files they are far below it, of others far above."""
  images = [drawn(k) for k in range(24)]
  small = [known(image).small.astype(float) for image in images]
  apart = lambda a, b: np.sqrt(np.mean((a - b) ** 2))
  others = [
    apart(small[a], small[b]) for a in range(24) for b in range(a + 1, 24)
  ]
  same = [
    apart(one, known(image, '.jpg').small.astype(float))
    for one, image in zip(small, images, strict=True)
  ]
  assert max(same) < seen_films.NEAR / 2 < 2 * seen_films.NEAR < min(others)
