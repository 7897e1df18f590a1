"""Checks of films that `evaluate calibrate` fits and stores with a run."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.imaging import descriptor

KEYS = ('kinds', 'weights', 'offsets', 'limits')


class Measure(NamedTuple):
  """What a check found: a film whose value is above the limit fails it."""

  value: float
  limit: float

  @property
  def fails(self) -> bool:
    """Whether the film fails the check."""
    return self.value > self.limit


class Checks(NamedTuple):
  """Linear scores of `descriptor.describe`, about 0 of clean films, 1 of bad.

  Attributes:
    kinds: names of the checks.
    weights: float32 [kinds, N].
    offsets, limits: float64 [kinds].
  """

  kinds: tuple[str, ...]
  weights: np.ndarray
  offsets: np.ndarray
  limits: np.ndarray

  def measure(self, film: np.ndarray) -> dict[str, Measure]:
    """Measure uint8 [H, W], bones bright, upright, by the name of the check."""
    values = self.scores(descriptor.describe(film)[None])[0]
    found = zip(values.tolist(), self.limits.tolist(), strict=True)
    pairs = zip(self.kinds, found, strict=True)
    return {kind: Measure(*pair) for kind, pair in pairs}

  def scores(self, rows: np.ndarray) -> np.ndarray:
    """Return the scores [M, kinds] of descriptors [M, N]."""
    return rows.astype(np.float64) @ self.weights.T + self.offsets


def save(folder: str, checks: Checks) -> None:
  """Write the checks to the folder of a stage."""
  with storage.replacing(f'{folder}/{stages.QUALITY}', 'wb') as file:
    np.savez(
      file,
      kinds=np.array(checks.kinds),
      weights=checks.weights.astype(np.float32),
      offsets=checks.offsets,
      limits=checks.limits,
    )


def load(folder: str) -> Checks | None:
  """Read the checks of a stage; None if it has none.

  Raises:
    ValueError: the file is damaged, or of another version.
  """
  path = f'{folder}/{stages.QUALITY}'
  if not storage.exists(path):
    return None
  remedy = 'fit them again with `evaluate calibrate`'
  try:
    with storage.reading(path, 'rb') as file, np.load(file) as stored:
      kinds, weights, offsets, limits = (stored[key] for key in KEYS)
  except Exception as error:
    raise ValueError(
      f'The quality checks in {path} cannot be read '
      f'({type(error).__name__}): {remedy}.'
    ) from error
  length = len(descriptor.describe(np.eye(32, dtype=np.uint8)))
  shapes = weights.shape, offsets.shape, limits.shape
  count = len(kinds)
  if shapes != ((count, length), (count,), (count,)):
    raise ValueError(
      f'Expected {count} checks of {length} numbers in {path}, got others: '
      f'{remedy}.'
    )
  return Checks(tuple(kinds.tolist()), weights, offsets, limits)


def failed(evidence: Mapping[str, Measure]) -> tuple[str, ...]:
  """Name the checks that a film fails."""
  return tuple(name for name, one in evidence.items() if one.fails)
