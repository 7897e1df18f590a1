"""Planted blobs come back on the film, alone and in their place."""

import numpy as np
import pytest

from boneage_jax.imaging import components
from boneage_jax.imaging import geometry


def disc(hw, centre, radius):
  rows, columns = np.indices(hw)
  x, y = centre
  return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_the_largest_component_is_kept():
  mask = np.zeros((30, 40), bool)
  mask[2:6, 2:6] = True  # 16 pixels, and 4 more that touch at a corner
  mask[6:8, 6:8] = True
  mask[20:23, 30:33] = True  # 9
  kept, share = components.largest(mask)
  expected = mask.copy()
  expected[20:] = False
  np.testing.assert_array_equal(kept, 255 * expected)
  assert kept.dtype == np.uint8 and share == pytest.approx(20 / 29)
  again, share = components.largest(kept)
  np.testing.assert_array_equal(again, kept)
  assert share == 1


def test_an_empty_mask_stays_empty():
  kept, share = components.largest(np.zeros((4, 5), np.uint8))
  assert kept.shape == (4, 5) and not kept.any() and share == 0
  empty = components.on_film(
    np.full((8, 8), 0.5, np.float32), np.eye(2, 3), (8, 8), (8, 8)
  )
  assert not empty.any()  # one half is outside


@pytest.mark.parametrize('resize', ['squash', 'letterbox'])
def test_a_blob_comes_back_to_its_place(resize):
  """A disc of a film of 900 x 700, seen at 112 px, and a speck beside it."""
  film_hw, size = (900, 700), (112, 112)
  hand, speck = disc(film_hw, (320, 480), 240), disc(film_hw, (640, 60), 30)
  matrix = geometry.fit_matrix(film_hw, size, resize)
  seen = geometry.warp(255 * (hand | speck).astype(np.uint8), matrix, size)
  found = components.on_film(seen / 255, matrix, size, film_hw) > 0
  assert not (found & speck).any()
  assert found.sum() == pytest.approx(hand.sum(), rel=0.01)
  # The edge lies within a pixel and a half of the film, not a net's eight.
  wide, narrow = (disc(film_hw, (320, 480), 240 + d) for d in (1.5, -1.5))
  assert (narrow <= found).all() and (found <= wide).all()
