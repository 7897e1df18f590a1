"""A correction of ages for one site, found on films of known age.

Each sex has its own. A correction is judged on films that it was not fitted
on, by leaving out one film after the other, and kept only where it lowers the
mean absolute error and errors of random signs would hardly ever ask for it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.core import statistics
from boneage_jax.data import groups
from boneage_jax.inference import intervals
from boneage_jax.inference import site as site_lib

LEAST = 20  # films of a sex
CHANCE = 0.01  # of each sex, at a site without a bias
FLIPS = 499  # draws of signs


def fit(
  films: Mapping[str, np.ndarray], kind: str = 'linear'
) -> dict[str, Any]:
  """Find the correction of a site.

  Args:
    films: age, prediction (months) and sex (+1 male, -1 female), [N].
    kind: of site.KINDS: the true age as a line of the predicted one, or as its
      best non-decreasing function.

  Returns:
    What `site` applies and more, for JSON: kind; by_sex, the corrections that
    were kept; sexes, what was found of each sex: films, bias (the predicted age
    as a line of the true one), mae, left_out_mae, gain with gain_ci95 (months),
    chance (see `chance`) and kept; calibration, conformal intervals on the
    corrected ages of left-out films.

  Raises:
    ValueError: too few films, or no sex gains.
  """
  found, left_out = measure(films, kind)
  sexes = groups.sex_text(films['sex'])
  age, prediction = films['age'], films['prediction'].astype(np.float64)
  by_sex, corrected = {}, prediction.copy()
  for sex in [sex for sex, row in found.items() if row['kept']]:
    of = sexes == sex
    by_sex[sex] = _curve(prediction[of], age[of], kind)
    corrected[of] = left_out[of]
  if not by_sex:
    said = '; '.join(
      f'{groups.PLURAL[sex]} {_gain(row)}' for sex, row in found.items()
    )
    raise ValueError(
      f'No correction: it would not lower the error beyond chance ({said}). '
      'The model fits this site as it is; or add films to the table.'
    )
  known = np.isin(sexes, list(found))
  rows = {'age': age, 'prediction': corrected, 'sex': films['sex']}
  rows = {name: column[known] for name, column in rows.items()}
  return {
    'kind': kind,
    'by_sex': by_sex,
    'sexes': found,
    'calibration': {**intervals.fit(rows, groups='sex'), 'temperature': None},
  }


def measure(
  films: Mapping[str, np.ndarray], kind: str = 'linear'
) -> tuple[dict[str, Any], np.ndarray]:
  """Say how ages err at a site, and what a correction would gain.

  Args:
    films, kind: as for `fit`.

  Returns:
    `sexes` of `fit`, and the ages [N] that films get from a correction that
    was fitted without them; NaN of a sex of few films.

  Raises:
    ValueError: too few films.
  """
  sexes = groups.sex_text(films['sex'])
  age, prediction = films['age'], films['prediction'].astype(np.float64)
  counts = {sex: int(np.sum(sexes == sex)) for sex in ('F', 'M')}
  if max(counts.values()) < LEAST:
    raise ValueError(
      f'Expected {LEAST} films or more of a sex, got {counts["F"]} of girls '
      f'and {counts["M"]} of boys: add films of known age to the table.'
    )
  found, left_out = {}, np.full(len(age), np.nan)
  for sex in [sex for sex, count in counts.items() if count >= LEAST]:
    of = sexes == sex
    left_out[of] = _left_out(prediction[of], age[of], sex, kind)
    found[sex] = _judge(age[of], prediction[of], left_out[of])
    found[sex]['chance'] = chance(prediction[of], age[of], sex, kind)
    found[sex]['kept'] = (
      found[sex]['gain_ci95'][0] > 0 and found[sex]['chance'] <= CHANCE
    )
  return found, left_out


def chance(x: np.ndarray, y: np.ndarray, sex: str, kind: str) -> float:
  """Return how often chance alone asks for a correction as large.

  At a site without a bias, errors are as often above as below. So corrections
  are fitted to the errors with random signs, FLIPS times, which overfit as the
  real one does. They compare by the share of the squared errors they explain.

  Args:
    x, y: predicted and true ages [N], months.
    sex, kind: of the correction.
  """

  def explained(errors: np.ndarray) -> float:
    own = {sex: _curve(x, x + errors, kind)}
    moved = site_lib.correct(own, sex, x) - x
    return float(np.sum(moved**2) / max(np.sum((moved - errors) ** 2), 1e-9))

  signs = np.random.default_rng(0).choice((-1.0, 1.0), (FLIPS, len(x)))
  real = explained(y - x)
  as_large = sum(explained(sign * (y - x)) >= real for sign in signs)
  return (1 + as_large) / (1 + FLIPS)


def table(result: Mapping[str, Any]) -> str:
  """Say what was found, in lines."""
  lines = []
  for sex, row in result['sexes'].items():
    low, high = row['bias']['slope_ci95']
    start, end = row['bias']['offset_ci95']
    lines += [
      f'{groups.PLURAL[sex]}: {row["films"]} films; predicted = '
      f'{row["bias"]["slope"]:.3f} ({low:.3f} to {high:.3f}) x true + '
      f'{row["bias"]["offset"]:.1f} ({start:.1f} to {end:.1f}) months',
      f'  MAE {row["mae"]:.1f}, corrected and left out '
      f'{row["left_out_mae"]:.1f}; gain {_gain(row)}; by chance '
      f'{100 * row["chance"]:.1f} %; '
      + ('corrected' if row['kept'] else 'left as it is'),
    ]
  return '\n'.join(lines)


def _gain(row: Mapping[str, Any]) -> str:
  low, high = row['gain_ci95']
  return f'{row["gain"]:.1f} ({low:.1f} to {high:.1f}) months'


def _judge(
  age: np.ndarray, prediction: np.ndarray, left_out: np.ndarray
) -> dict[str, Any]:
  before, after = np.abs(prediction - age), np.abs(left_out - age)
  return {
    'films': len(age),
    'bias': _bias(age, prediction),
    'mae': float(before.mean()),
    'left_out_mae': float(after.mean()),
    **statistics.mean(before - after, 'gain'),
  }


def _bias(age: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
  """Fit the predicted age as a line of the true one.

  Intervals are those of errors that differ from age to age (HC3 of MacKinnon
  and White 1985): resampled films make them too narrow where films are few.
  """
  from scipy import stats  # slow to import

  design = np.stack([age, np.ones_like(age)], axis=1)
  inverse = np.linalg.pinv(design.T @ design)
  line = inverse @ design.T @ prediction
  leverage = np.sum(design @ inverse * design, axis=1)
  errors = (prediction - design @ line) / np.maximum(1 - leverage, 1e-9)
  spread = inverse @ design.T * errors
  reach = stats.t.ppf(0.975, len(age) - 2) * np.sqrt(np.sum(spread**2, axis=1))
  out = {}
  for name, value, width in zip(('slope', 'offset'), line, reach, strict=True):
    out[name] = float(value)
    out[f'{name}_ci95'] = [float(value - width), float(value + width)]
  return out


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Return slope and offset of least squares."""
  apart = x - x.mean()
  spread = max(float(np.sum(apart**2)), 1e-9)
  slope = float(np.sum(apart * (y - y.mean()))) / spread
  return slope, float(y.mean() - slope * x.mean())


def _curve(x: np.ndarray, y: np.ndarray, kind: str) -> dict[str, Any]:
  """Return a correction of predicted ages x to true ages y."""
  if kind == 'linear':
    slope, offset = _line(x, y)
    return {'slope': slope, 'intercept': offset}
  from scipy import optimize  # slow to import

  order = np.argsort(x, kind='stable')
  steps = np.unique(x[order])
  # Films of one predicted age are one point, with their number as its weight.
  place = np.searchsorted(steps, x)
  count = np.bincount(place)
  mean = np.bincount(place, y) / count
  risen = optimize.isotonic_regression(mean, weights=count).x
  return {'predicted': steps.tolist(), 'corrected': risen.tolist()}


def _left_out(x: np.ndarray, y: np.ndarray, sex: str, kind: str) -> np.ndarray:
  """Return each film's age, corrected as all others of its sex say."""
  out = np.empty(len(x))
  for k in range(len(x)):
    rest = np.arange(len(x)) != k
    own = {sex: _curve(x[rest], y[rest], kind)}
    out[k] = site_lib.correct(own, sex, x[k])
  return out
