"""What is plausible about the points of a hand (Iglovikov 2017, registration).

Limits come from annotated films. A film whose points lie beyond them is not
registered by its points, see `registration`.
"""

from collections.abc import Mapping

import numpy as np

from boneage_jax.imaging import registration

CHECKS = ('scale', 'angle', 'thumb_to_tip', 'thumb_to_capitate', 'order')

Limits = dict[str, tuple[float, float]]


def measure(points: np.ndarray, film_hw: np.ndarray) -> dict[str, np.ndarray]:
  """Measure what limits are put on.

  Args:
    points: [..., 3, 2], those of registration.POINTS in pixels of the film.
    film_hw: [..., 2], height and width of the film.

  Returns:
    By name of CHECKS, [...]: 'scale', from tip to capitate, share of the film's
    longer side; 'angle', of that line, degrees clockwise of upright;
    'thumb_to_tip' and 'thumb_to_capitate', shares of its length; 'order', where
    the thumb stands along it, 0 at the tip and 1 at the capitate.
  """
  tip, capitate, thumb = np.moveaxis(np.asarray(points, np.float64), -2, 0)
  down, across = capitate - tip, thumb - tip
  length = np.linalg.norm(down, axis=-1)
  return {
    'scale': length / np.max(film_hw, axis=-1),
    'angle': np.rad2deg(np.arctan2(-down[..., 0], down[..., 1])),
    'thumb_to_tip': np.linalg.norm(across, axis=-1) / length,
    'thumb_to_capitate': np.linalg.norm(thumb - capitate, axis=-1) / length,
    'order': np.sum(across * down, axis=-1) / length**2,
  }


def fit_limits(
  points: np.ndarray,
  film_hw: np.ndarray,
  tail: float = 1.0,
  margin: float = 0.25,
) -> Limits:
  """Learn from annotated films what is plausible.

  Args:
    points: [N, 3, 2], those of registration.POINTS in pixels; NaN where not
      marked.
    film_hw: [N, 2], height and width of the films.
    tail: percent of the films that are left out at either end.
    margin: added at either end, share of the range of the others; the whole
      is widened by `tolerance`, as few films know little of the others.

  Returns:
    By name of CHECKS, the least and the largest value.

  Raises:
    ValueError: no film has all points.
  """
  points = np.asarray(points, np.float64)
  whole = np.array([not registration.degenerate(film) for film in points], bool)
  if not whole.any():
    raise ValueError(
      f'Expected films with {", ".join(registration.POINTS)} in three places, '
      f'got none of {len(points)}: mark them in hand_keypoints.csv.'
    )
  measured = measure(points[whole], np.asarray(film_hw)[whole])
  limits = {}
  for name in CHECKS:
    low, high = np.percentile(measured[name], (tail, 100 - tail))
    middle, half = (low + high) / 2, (0.5 + margin) * (high - low)
    half *= tolerance(whole.sum())
    limits[name] = (float(middle - half), float(middle + half))
  return limits


def tolerance(count: int) -> float:
  """Return by how much limits of a few films are too narrow (Howe 1969).

  The factor of two-sided normal tolerance limits over those of known mean and
  deviation, with a confidence of 95 %: 1.34 of 25 films, 1.07 of 400.

  Args:
    count: of films that limits come from; of one, as of two.
  """
  from scipy import stats  # slow to import

  count = max(count, 2)
  chi2 = stats.chi2.ppf(0.05, count - 1)
  return float(np.sqrt((count - 1) * (1 + 1 / count) / chi2))


def faults(
  points: np.ndarray,
  film_hw: tuple[int, int],
  limits: Mapping[str, tuple[float, float]],
) -> tuple[str, ...]:
  """Name all that is implausible about the points of a film.

  Args:
    points: [3, 2], those of registration.POINTS in pixels of the film.
    film_hw: height and width of the film.
    limits: of `fit_limits`.

  Returns:
    Some of CHECKS in their order, or what `degenerate` says alone; () of points
    to register by.
  """
  fault = registration.degenerate(points)
  if fault:
    return (fault,)
  measured = measure(points, film_hw)
  within = lambda name: limits[name][0] <= measured[name] <= limits[name][1]
  return tuple(name for name in CHECKS if not within(name))
