"""Checks of films that `evaluate calibrate` fits and stores with a run."""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.imaging import descriptor

KEYS = ('kinds', 'weights', 'offsets', 'limits')
OF_NETS = ('unusual', 'apart')  # measured on what nets answer
COMPONENTS = 64


class Measure(NamedTuple):
  """What a check found: a film whose value is above the limit fails it."""

  value: float
  limit: float

  @property
  def fails(self) -> bool:
    """Whether the film fails the check."""
    return self.value > self.limit


class Usual(NamedTuple):
  """Where the embeddings of a run's training films lie.

  Attributes:
    mean: float32 [C].
    axes: float32 [K, C], principal components.
    deviations: float32 [K], along them, shrunk.
    rest: the deviation along any other direction, shrunk.
  """

  mean: np.ndarray
  axes: np.ndarray
  deviations: np.ndarray
  rest: float

  def distances(self, rows: np.ndarray) -> np.ndarray:
    """Return how far [N, C] lie off, in deviations along a direction, [N]."""
    off = rows.astype(np.float64) - self.mean
    along = off @ self.axes.T
    beyond = (off**2).sum(-1) - (along**2).sum(-1)
    total = ((along / self.deviations) ** 2).sum(-1)
    total += np.maximum(beyond, 0) / self.rest**2
    return np.sqrt(total / off.shape[-1])


def fit_usual(rows: np.ndarray) -> Usual:
  """Learn from embeddings [N, C] of films, two or more.

  Variances along COMPONENTS principal components, and their mean along all
  other directions, are shrunk to the mean variance as far as N films ask for
  (Ledoit and Wolf 2004).
  """
  rows = rows.astype(np.float64)
  count, width = rows.shape
  mean = rows.mean(0)
  off = rows - mean
  _, values, axes = np.linalg.svd(off, full_matrices=False)
  variances = values**2 / count
  middle = variances.sum() / width
  # Of the covariance S: |S - middle I|^2, and the noise that N films leave.
  spread = (variances**2).sum() - width * middle**2
  noise = ((off**2).sum(1) ** 2).sum() / count**2 - (variances**2).sum() / count
  share = 1.0 if spread <= 0 else float(np.clip(noise / spread, 0, 1))
  kept = min(COMPONENTS, len(values))
  others = variances[kept:].sum() / max(width - kept, 1)
  shrunk = lambda v: np.sqrt(
    np.maximum((1 - share) * v + share * middle, 1e-12)
  )
  return Usual(
    *(x.astype(np.float32) for x in (mean, axes[:kept])),
    shrunk(variances[:kept]).astype(np.float32),
    float(shrunk(others)),
  )


class Checks(NamedTuple):
  """Linear scores of `descriptor.describe`, about 0 of clean films, 1 of bad.

  A check has a score for each fault that it looks for; a film fails it that is
  above the limit of one of them.

  Attributes:
    kinds: of each score the name of its check.
    weights: float32 [scores, N].
    offsets, limits: float64 [scores].
    usual: of the embeddings; None where nets have none.
    answer_limits: of OF_NETS, as far as nets answer them.
  """

  kinds: tuple[str, ...]
  weights: np.ndarray
  offsets: np.ndarray
  limits: np.ndarray
  usual: Usual | None = None
  answer_limits: Mapping[str, float] = {}

  def measure(
    self, film: np.ndarray, outputs: Mapping[str, Any] | None = None
  ) -> dict[str, Measure]:
    """Measure a film, by the name of the check: its worst score.

    Args:
      film: uint8 [H, W], bones bright, upright.
      outputs: what nets answered of it; None leaves their checks out.
    """
    values = self.scores(descriptor.describe(film)[None])[0]
    order = np.argsort(values - self.limits, kind='stable')  # the worst last
    measured = dict.fromkeys(self.kinds)
    for k in order.tolist():
      pair = float(values[k]), float(self.limits[k])
      measured[self.kinds[k]] = Measure(*pair)
    if outputs:
      rows = {name: np.asarray(x)[None] for name, x in outputs.items()}
      for kind, (value,) in answers(self.usual, rows).items():
        if kind in self.answer_limits:
          measured[kind] = Measure(float(value), self.answer_limits[kind])
    return measured

  def scores(self, rows: np.ndarray) -> np.ndarray:
    """Return the scores [M, scores] of descriptors [M, N]."""
    return rows.astype(np.float64) @ self.weights.T + self.offsets


def answers(
  usual: Usual | None, outputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Return what OF_NETS measure of films, [N] each, as far as nets say it.

  Returns:
    unusual, the distance of the embedding; apart, the deviation of the ages of
    an ensemble's members, months.
  """
  found = {}
  if usual is not None and 'embedding' in outputs:
    found['unusual'] = usual.distances(outputs['embedding'])
  if 'spread' in outputs:
    found['apart'] = np.asarray(outputs['spread'], np.float64)
  return found


def save(folder: str, checks: Checks) -> None:
  """Write the checks to the folder of a stage."""
  usual = checks.usual._asdict() if checks.usual else {}
  limits = checks.answer_limits
  with storage.replacing(f'{folder}/{stages.QUALITY}', 'wb') as file:
    np.savez(
      file,
      kinds=np.array(checks.kinds),
      weights=checks.weights.astype(np.float32),
      offsets=checks.offsets,
      limits=checks.limits,
      **{f'limit_{kind}': np.float64(limit) for kind, limit in limits.items()},
      **{f'usual_{name}': value for name, value in usual.items()},
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
      usual = None
      if 'usual_mean' in stored:
        usual = Usual(*(stored[f'usual_{name}'] for name in Usual._fields))
      of_nets = {
        kind: float(stored[f'limit_{kind}'])
        for kind in OF_NETS
        if f'limit_{kind}' in stored
      }
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
  kinds = tuple(kinds.tolist())
  return Checks(kinds, weights, offsets, limits, usual, of_nets)


def failed(evidence: Mapping[str, Measure]) -> tuple[str, ...]:
  """Name the checks that a film fails."""
  return tuple(name for name, one in evidence.items() if one.fails)
