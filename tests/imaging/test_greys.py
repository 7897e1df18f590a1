"""Greys by tables, against NumPy on all pixels."""

import numpy as np
import pytest

from boneage_jax.imaging import greys

RNG = np.random.default_rng(3)


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.uint32])
def test_percentiles_are_those_of_all_pixels(kind, monkeypatch):
  monkeypatch.setattr(greys, 'BLOCK', 100)
  picture = RNG.integers(0, 250, (31, 17)).astype(kind) * (
    1 + (kind != np.uint8)
  )
  inside = RNG.random(picture.shape) < 0.8
  for mask in (None, inside):
    film = picture if mask is None else picture[mask]
    levels, counts = greys.distinct(picture, mask)
    wanted = np.unique(film, return_counts=True)
    np.testing.assert_array_equal(levels, wanted[0])
    np.testing.assert_array_equal(counts, wanted[1])
    for order in (slice(None), slice(None, None, -1)):
      found = greys.percentiles(
        levels[order].astype(float), counts[order], (0.5, 31, 99.5, 100)
      )
      np.testing.assert_allclose(
        found, np.percentile(film, (0.5, 31, 99.5, 100)), rtol=1e-12
      )


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.uint32])
def test_values_are_looked_up(kind, monkeypatch):
  monkeypatch.setattr(greys, 'BLOCK', 100)
  picture = RNG.integers(0, 200, (31, 17)).astype(kind)
  levels, _ = greys.distinct(picture)
  table = RNG.integers(0, 256, len(levels), np.uint8)
  wanted = dict(zip(levels.tolist(), table.tolist(), strict=True))
  found = greys.look_up(picture, levels, table)
  assert found.tolist() == [
    [wanted[x] for x in row] for row in picture.tolist()
  ]
