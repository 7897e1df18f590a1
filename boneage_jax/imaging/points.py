"""Key points of a hand: pixels of a film, and the unit square of a net."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.imaging import annotations


def of_film(film: Mapping[str, Any], names: Sequence[str]) -> np.ndarray:
  """Return the points of a film that are asked for.

  Args:
    film: annotations of one film, as annotations.load gives them.
    names: some of annotations.POINTS.

  Returns:
    float64 [K, 2], fractions of width and height, NaN where nobody marked one.

  Raises:
    ValueError: a name of no point.
  """
  unknown = [name for name in names if name not in annotations.POINTS]
  if unknown or isinstance(names, str):
    raise ValueError(
      f'Expected points among {", ".join(annotations.POINTS)}, got {names!r}.'
    )
  count = len(annotations.POINTS)
  marked = film.get('keypoints') or [[np.nan, np.nan]] * count
  places = [annotations.POINTS.index(name) for name in names]
  return np.array([marked[place] for place in places], np.float64)


def marked(film: Mapping[str, Any]) -> list[str]:
  """Name the points of a film that somebody marked."""
  found = np.isfinite(of_film(film, annotations.POINTS)).all(-1)
  return [
    name for name, yes in zip(annotations.POINTS, found, strict=True) if yes
  ]


def move(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Apply a matrix [2, 3] to points [..., 2], x and y of pixels."""
  return points @ matrix[:, :2].T + matrix[:, 2]


def to_unit(points: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
  """Map pixels to the square in which a net says points (Iglovikov 2017).

  Args:
    points: [..., 2], x and y of pixels; the first one covers [-0.5, 0.5].
    size_hw: height and width of the net's input.

  Returns:
    [..., 2], -1 at the left and upper edge of the input, 1 at the other.
  """
  height, width = size_hw
  return 2 * (np.asarray(points) + 0.5) / (width, height) - 1


def from_unit(points: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
  """Undo `to_unit`."""
  height, width = size_hw
  return (np.asarray(points) + 1) / 2 * (width, height) - 0.5
