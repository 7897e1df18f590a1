"""What readers drew on a film, masks and points, in the input of a net."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

import numpy as np

from boneage_jax.imaging import geometry
from boneage_jax.imaging import intensity
from boneage_jax.imaging import masks as masks_lib
from boneage_jax.imaging import points as points_lib

Marks = Mapping[str, np.ndarray | None]


def of_film(
  record: Mapping[str, Any],
  masks: Sequence[str],
  points: Sequence[str],
  film_hw: tuple[int, int],
) -> dict[str, np.ndarray | None]:
  """Return what was drawn on a film, as far as it is asked for.

  Args:
    record: with `annotations` (JSON) where there are any, and `film_mask`, a
      film_masks.FilmMask that stands in their place.
    masks: kinds of masks.KINDS; the film's first one is drawn.
    points: names of annotations.POINTS.
    film_hw: height and width of the film in pixels.

  Returns:
    with `masks`, `region_mask` uint8 [H, W], 255 inside, or None where nobody
    drew one; with `points`, `points` float64 [K, 2], x and y in pixels, NaN
    where nobody said, `film_hw` [2] and `hand_length`, points.hand_length.
  """
  found = json.loads(record.get('annotations') or '{}')
  marks = {}
  if masks:
    mask = record.get('film_mask')
    marks['region_mask'] = (
      mask.on_film(film_hw) if mask else masks_lib.draw(found, masks, film_hw)
    )
  if points:
    fractions = points_lib.of_film(found, points)
    marks['points'] = fractions * film_hw[::-1] - 0.5
    marks['film_hw'] = np.array(film_hw)
    marks['hand_length'] = np.array(points_lib.hand_length(found, film_hw))
  return marks


def fit(
  marks: Marks,
  matrix: np.ndarray,
  size_hw: tuple[int, int],
  holes: Sequence[Sequence[float]] = (),
) -> dict[str, np.ndarray]:
  """Bring marks to a net's input as its film comes there.

  Args:
    marks: of `of_film`.
    matrix: film pixel -> input pixel.
    size_hw: of the input.
    holes: boxes that are hidden there; what they hide cannot be asked for.

  Returns:
    `region_mask` uint8 [H, W], 1 inside, 0 outside, 255 where nobody said;
    `points` [K, 2], see points.to_unit, NaN where nobody said, `to_film`
    [2, 3], which takes these back to pixels of the film, `film_hw` and
    `hand_length`, all float32. As far as `marks` has them.
  """
  fitted = {}
  if 'region_mask' in marks:
    fitted['region_mask'] = _fit_mask(marks['region_mask'], matrix, size_hw)
    for hole in holes:
      fitted['region_mask'] = intensity.erase(
        fitted['region_mask'], hole, masks_lib.UNKNOWN
      )
  if 'points' in marks:
    moved = points_lib.move(marks['points'], matrix)
    for hole in holes:
      moved[_under(moved, hole, size_hw)] = np.nan
    fitted['points'] = points_lib.to_unit(moved, size_hw).astype(np.float32)
    fitted['to_film'] = _to_film(matrix, size_hw)
    for name in ('film_hw', 'hand_length'):
      fitted[name] = marks[name].astype(np.float32)
  return fitted


def _fit_mask(
  mask: np.ndarray | None, matrix: np.ndarray, size_hw: tuple[int, int]
) -> np.ndarray:
  if mask is None:
    return np.full(size_hw, masks_lib.UNKNOWN, np.uint8)
  inside = geometry.warp(mask, matrix, size_hw) > 127
  fitted = np.where(inside, masks_lib.INSIDE, masks_lib.OUTSIDE)
  return fitted.astype(np.uint8)


def _under(
  points: np.ndarray, hole: Sequence[float], size_hw: tuple[int, int]
) -> np.ndarray:
  """Return which of some points, x and y in pixels, a hole hides, bool [K]."""
  hidden = np.ones(len(points), bool)
  rows, columns = intensity.touched(hole, size_hw)
  for values, pixels in ((points[:, 0], columns), (points[:, 1], rows)):
    hidden &= (values >= pixels.start - 0.5) & (values < pixels.stop - 0.5)
  return hidden


def _to_film(matrix: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
  """Return the matrix from the square of points.to_unit to film pixels."""
  height, width = size_hw
  from_unit = [
    [width / 2, 0, (width - 1) / 2],
    [0, height / 2, (height - 1) / 2],
  ]
  back = geometry.compose(np.array(from_unit), geometry.inverse(matrix))
  return back.astype(np.float32)
