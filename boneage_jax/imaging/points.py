"""Key points of a hand: pixels of a film, and the unit square of a net."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.imaging import annotations

# Ours: means of 200 phantoms, with standard deviations of 0.006 and 0.003. How
# far the capitate lies from the wrist on the way to the middle finger's
# knuckle, and from the tip of that finger, in lengths of the hand.
CAPITATE = 0.231
TIP_TO_CAPITATE = 0.880


def of_film(film: Mapping[str, Any], names: Sequence[str]) -> np.ndarray:
  """Return the points of a film that are asked for.

  Args:
    film: annotations of one film, as annotations.load gives them.
    names: some of annotations.POINTS.

  Returns:
    float64 [K, 2], fractions of width and height, NaN where nobody marked one.
    A `capitate` that nobody marked lies between `wrist` and `middle_finger1`,
    see CAPITATE: on phantoms 0.5 % of the hand's length off, at most 1.2 %.

  Raises:
    ValueError: a name of no point.
  """
  unknown = [name for name in names if name not in annotations.POINTS]
  if unknown or isinstance(names, str):
    raise ValueError(
      f'Expected points among {", ".join(annotations.POINTS)}, got {names!r}.'
    )
  found = np.full((len(annotations.POINTS), 2), np.nan)
  said = np.reshape(film.get('keypoints') or (), (-1, 2))
  found[: len(said)] = said  # older prepared data have no capitate
  place = annotations.POINTS.index
  if np.isnan(found[place('capitate')]).any():
    wrist, knuckle = found[[place('wrist'), place('middle_finger1')]]
    found[place('capitate')] = wrist + CAPITATE * (knuckle - wrist)
  return found[[place(name) for name in names]]


def hand_length(film: Mapping[str, Any], film_hw: tuple[int, int]) -> float:
  """Return the length of a hand, from the wrist to the middle finger's tip.

  Args:
    film: annotations of one film, as annotations.load gives them.
    film_hw: height and width of the film.

  Returns:
    pixels of the film, NaN without these points. Without a wrist it is judged
    by the way from the tip to the capitate, see TIP_TO_CAPITATE.
  """
  names = ('middle_finger4', 'wrist', 'capitate')
  tip, *ends = of_film(film, names) * film_hw[::-1]
  whole, part = (float(np.hypot(*(end - tip))) for end in ends)
  return part / TIP_TO_CAPITATE if np.isnan(whole) else whole


def marked(film: Mapping[str, Any]) -> list[str]:
  """Name the points of a film that are known, see `of_film`."""
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
