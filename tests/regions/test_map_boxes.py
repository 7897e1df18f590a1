"""Boxes worked out on a map's cells are those worked out on film pixels."""

import cv2
import numpy as np
import pytest

from boneage_jax.imaging import boxes
from boneage_jax.imaging import geometry

CELLS, SIZE = (24, 24), (96, 96)


def heat(seed):
  """A map with a few hills, noise and nothing in half of the cells."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[: CELLS[0], : CELLS[1]] / CELLS[0]
  out = 0.2 * rng.random(CELLS)
  for height in (1, *rng.uniform(0.2, 0.8, 3)):
    (a, b), (width, tall) = rng.uniform(0.2, 0.8, 2), rng.uniform(0.05, 0.2, 2)
    out += height * np.exp(-(((x - a) / width) ** 2) - ((y - b) / tall) ** 2)
  return np.maximum(out - np.median(out), 0).astype(np.float32)


def on_film_pixels(values, matrix, film_hw, threshold, smooth):
  """The box by bilinear values and a Gaussian at every pixel of the film."""
  y, x = np.mgrid[: film_hw[0], : film_hw[1]]
  to_map = lambda row: (
    (row[0] * x + row[1] * y + row[2] + 0.5) * CELLS[0] / SIZE[0] - 0.5
  )
  places = [to_map(row).astype(np.float32) for row in matrix]
  film = cv2.remap(
    values, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
  )
  if smooth:
    film = cv2.GaussianBlur(film, (0, 0), smooth * min(film_hw))
  hot = (film >= threshold * film.max()).astype(np.uint8)
  _, labels = cv2.connectedComponents(hot)
  rows, columns = np.nonzero(labels == labels.flat[np.argmax(film)])
  ends = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
  return np.array(ends) / [*film_hw[::-1], *film_hw[::-1]]


@pytest.mark.parametrize('smooth', [0, 0.03, 0.1])
@pytest.mark.parametrize(
  'resize, film_hw',
  [('squash', (300, 210)), ('letterbox', (280, 160)), ('squash', (40, 90))],
)
def test_boxes_are_those_of_the_film_s_pixels(smooth, resize, film_hw):
  matrix = geometry.fit_matrix(film_hw, SIZE, resize)
  cells = np.hypot(*matrix[:, :2]) * film_hw[::-1] * CELLS[0] / SIZE[0]
  moved = []
  for seed in range(16):
    values = heat(seed)
    expected = on_film_pixels(values, matrix, film_hw, 0.4, smooth)
    found = boxes.box_from_map(
      geometry.over_film(values, matrix, SIZE, film_hw),
      0.4,
      minimum_side=0,
      smooth=smooth,
      film_hw=film_hw,
    )
    moved.append((np.array(found.box) - expected).reshape(2, 2) * cells)
  moved = np.array(moved)
  assert np.mean(np.abs(moved) <= 0.5) >= 0.99
  outwards = moved * [[[-1], [1]]]
  assert abs(np.median(outwards)) < 0.05 and abs(np.mean(outwards)) < 0.08


def test_a_box_costs_the_same_on_films_of_any_size():
  small, large = (
    geometry.over_film(heat(0), geometry.fit_matrix(hw, SIZE), SIZE, hw).shape
    for hw in ((600, 500), (6000, 5000))
  )
  assert small == large == (192, 192)
