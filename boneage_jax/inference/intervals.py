"""Prediction intervals and temperature of predicted distributions.

Conformal intervals (Romano et al. 2019) are fitted on films that the net was
not trained on and hold for new films of the same kind. Everything is plain
NumPy; ages are months. `evaluate calibrate` writes what `predict` reads.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.data import groups as groups_lib


def of_new_films(
  calibration: Mapping[str, Any], films: Mapping[str, np.ndarray]
) -> np.ndarray:
  """Return intervals of films that a calibrated run has never seen.

  Args:
    calibration: content of calibration.json.
    films: prediction (months) and sex, [N]; with bins also probability,
      [N, bins], as the net says it.

  Returns:
    Months, [N, levels, 2].
  """
  if calibration['temperature'] and 'probability' in films:
    films = tempered(films, calibration['temperature'])
  return apply(calibration, films)


def ends(levels: Sequence[int]) -> list[str]:
  """Name the columns of intervals, as lo90 and hi90."""
  return [f'{end}{level}' for level in levels for end in ('lo', 'hi')]


def tempered(
  films: Mapping[str, np.ndarray], temperature: float
) -> dict[str, np.ndarray]:
  """Return the films with their distributions tempered."""
  tempered = temper(films['probability'], temperature)
  return {**films, 'probability': tempered}


Films = Mapping[str, np.ndarray]  # columns of equal length

LEVELS = (80, 90, 95)  # per cent
SCORES = ('absolute', 'normalised', 'quantile')
GROUPS = ('all', 'sex', 'sex_age')
FLOOR = 2.0**-25  # half the least float16: what a stored zero may have been
COLDEST, HOTTEST = 1e-3, 1e2  # soft labels leave nearly even distributions
LEAST_SD = 1.0  # months
# Films of a band of ages. n films keep the promise up to 1 / (n + 1) too well
# on average, and a fit varies by sqrt(0.9 * 0.1 / n): 7 points of 20, 4 of 50.
BAND_FILMS = 50


def temper(probability: np.ndarray, temperature: float) -> np.ndarray:
  """Return softmax(log p / temperature) of distributions [N, bins]."""
  log = np.log(np.maximum(probability, FLOOR)) / temperature
  out = np.exp(log - log.max(axis=1, keepdims=True))
  return out / out.sum(axis=1, keepdims=True)


def nll(
  probability: np.ndarray, age: np.ndarray, temperature: float = 1.0
) -> float:
  """Return the mean -log p of the bin of the true month, in nats."""
  tempered = temper(probability, temperature)
  true = np.take_along_axis(tempered, _month(probability, age), 1)
  return float(-np.mean(np.log(true)))


def fit_temperature(probability: np.ndarray, age: np.ndarray) -> float:
  """Return the temperature with the least `nll` (Guo et al. 2017).

  The nll is convex in 1 / temperature, and its slope there is the expected log
  p less the log p of the true month: its root is sought. COLDEST or HOTTEST
  where that lies beyond, HOTTEST too where all temperatures are as good.

  Args:
    probability: [N, bins].
    age: months, [N].
  """
  from scipy import optimize  # slow to import; `predict` does not need it

  log = np.log(np.maximum(probability, FLOOR))
  true = np.take_along_axis(log, _month(probability, age), 1).mean()

  def slope(log_temperature: float) -> float:
    tempered = temper(probability, np.exp(log_temperature))
    return (tempered * log).sum(axis=1).mean() - true

  low, high = np.log(COLDEST), np.log(HOTTEST)
  if slope(high) >= 0:
    return HOTTEST
  if slope(low) <= 0:
    return COLDEST
  return float(np.exp(optimize.brentq(slope, low, high)))


def quantiles(probability: np.ndarray, shares: Sequence[float]) -> np.ndarray:
  """Return months [N, len(shares)] below which that share of p lies."""
  edges = np.arange(probability.shape[1] + 1) - 0.5
  below = np.cumsum(probability, axis=1)
  below = np.pad(below / below[:, -1:], [(0, 0), (1, 0)])
  return np.stack([np.interp(shares, row, edges) for row in below])


def least_films(level: int) -> int:
  """Return how many films a conformal quantile of `level` % needs."""
  return -(-level // (100 - level))


def conformal_quantile(scores: np.ndarray, level: int) -> float:
  """Return the ceil((n + 1) level / 100)-th smallest of n scores."""
  n = len(scores)
  if n < least_films(level):
    raise ValueError(
      f'An interval of {level} % needs {least_films(level)} films to calibrate '
      f'on, got {n}: calibrate on more films, or put films of all ages and '
      'both sexes into one group (evaluate calibrate --groups=all).'
    )
  rank = -(-(n + 1) * level // 100)
  return float(np.sort(scores)[rank - 1])


def fit(
  films: Films,
  score: str = 'absolute',
  groups: str = 'sex_age',
  least: int = BAND_FILMS,
  levels: Sequence[int] = LEVELS,
) -> dict[str, Any]:
  """Calibrate intervals on films that the net was not trained on.

  Args:
    films: age, prediction (months) and sex (+1 male, -1 female, else unknown),
      [N]; with bins also probability, [N, bins].
    score: 'absolute', the error; 'normalised', the error over the standard
      deviation of the distribution; 'quantile', how far the age lies outside
      the distribution's central interval (Romano et al. 2019).
    groups: 'all'; 'sex'; or 'sex_age', neighbouring 24-month bands of the
      predicted age pooled until a group is large enough.
    least: films of a band; a sex, as a band, needs what the highest level does.
    levels: per cent.

  Returns:
    A dict ready for JSON: score, levels and groups, of each sex with enough
    films and of 'any' for the others: {'cuts': months of predicted age at which
    the next group starts [G-1], 'n': [G], 'quantiles': [G, levels]}.
  """
  if score not in SCORES or groups not in GROUPS:
    raise ValueError(
      f'Expected a score of {SCORES} and groups of {GROUPS}, got {score!r} '
      f'and {groups!r}.'
    )
  out: dict[str, Any] = {'score': score, 'levels': list(levels), 'groups': {}}
  low, high, scale = _base(out, films)
  age, prediction = films['age'][:, None], films['prediction']
  scores = np.maximum(low - age, age - high) / scale
  needed = max(least_films(level) for level in levels)

  sexes = groups_lib.sex_text(films['sex'])
  parts = {'any': np.full(len(age), True)}
  if groups != 'all':
    named = {name: sexes == name for name in sorted(set(sexes))}
    parts |= {name: of for name, of in named.items() if of.sum() >= needed}
  for name, of in parts.items():
    split_age = groups == 'sex_age' and name != 'any'
    cuts = _cuts(prediction[of], max(least, needed)) if split_age else []
    index = np.searchsorted(cuts, prediction[of], side='right')
    members = [scores[of][index == k] for k in range(len(cuts) + 1)]
    out['groups'][name] = {
      'cuts': cuts,
      'n': [len(part) for part in members],
      'quantiles': [
        [
          conformal_quantile(column, level)
          for column, level in zip(part.T, levels, strict=True)
        ]
        for part in members
      ],
    }
  return out


def apply(calibration: Mapping[str, Any], films: Films) -> np.ndarray:
  """Return the intervals of films, months, [N, levels, 2].

  Args:
    calibration: of `fit`, as it is or read from calibration.json.
    films: as for `fit`; the age is not needed. Distributions are tempered as
      those of `fit` were: calibration.json has the `temperature`.
  """
  low, high, scale = _base(calibration, films)
  sexes, reach = groups_lib.sex_text(films['sex']), np.empty_like(low)
  for name in set(sexes):
    group = calibration['groups'].get(name, calibration['groups']['any'])
    of = sexes == name
    index = np.searchsorted(
      group['cuts'], films['prediction'][of], side='right'
    )
    reach[of] = np.array(group['quantiles'])[index]
  low, high = low - reach * scale, high + reach * scale
  # A negative reach may turn a narrow interval over; a point covers more.
  middle = (low + high) / 2
  low, high = np.minimum(low, middle), np.maximum(high, middle)
  return np.maximum(np.stack([low, high], axis=-1), 0)  # no age is below 0


def central(probability: np.ndarray, levels: Sequence[int]) -> np.ndarray:
  """Return the central intervals of distributions, months, [N, levels, 2]."""
  tail = (1 - np.array(levels) / 100) / 2
  ends = [quantiles(probability, tail), quantiles(probability, 1 - tail)]
  return np.stack(ends, axis=-1)


def _month(probability: np.ndarray, age: np.ndarray) -> np.ndarray:
  last = probability.shape[1] - 1
  return np.clip(np.floor(age + 0.5), 0, last).astype(int)[:, None]


def _base(
  calibration: Mapping[str, Any], films: Films
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Return low, high [N, levels] and scale [N, 1] that scores start from."""
  levels, score = calibration['levels'], calibration['score']
  if score != 'absolute' and 'probability' not in films:
    raise ValueError(
      f'The score {score!r} needs distributions, and this net has no bins: '
      "choose 'absolute'."
    )
  scale = np.ones((len(films['prediction']), 1))
  if score == 'quantile':
    ends = central(films['probability'], levels)
    return ends[..., 0], ends[..., 1], scale
  if score == 'normalised':
    months = np.arange(films['probability'].shape[1])
    mean = films['probability'] @ months
    variance = films['probability'] @ months**2 - mean**2
    scale[:, 0] = np.sqrt(np.maximum(variance, LEAST_SD**2))
  point = np.repeat(films['prediction'][:, None], len(levels), axis=1)
  return point, point, scale


def _cuts(prediction: np.ndarray, least: int) -> list[int]:
  """Return where groups of neighbouring bands start, `least` films in each.

  Counts alone decide, never errors, so the promise holds for each group.
  """
  cuts: list[int] = []
  start = -np.inf
  for end in range(groups_lib.BAND, groups_lib.OLDEST, groups_lib.BAND):
    inside = np.sum((prediction >= start) & (prediction < end))
    if min(inside, np.sum(prediction >= end)) >= least:
      cuts.append(end)
      start = end
  return cuts
