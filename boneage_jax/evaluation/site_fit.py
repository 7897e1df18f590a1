"""A correction of ages for one site, found on films of known age.

Each sex has its own. A correction is judged on films that it was not fitted
on, by leaving out one film after the other, and kept only where it lowers the
mean absolute error beyond chance.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.core import statistics
from boneage_jax.data import groups
from boneage_jax.inference import intervals
from boneage_jax.inference import site as site_lib

LEAST = 20  # films of a sex


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
    as a line of the true one), mae, left_out_mae, gain with gain_ci95 (months)
    and kept; calibration, conformal intervals on the corrected ages of left-out
    films.

  Raises:
    ValueError: too few films, or no sex gains.
  """
  sexes = groups.sex_text(films['sex'])
  age, prediction = films['age'], films['prediction'].astype(np.float64)
  found, by_sex, corrected = {}, {}, prediction.copy()
  for sex in ('F', 'M'):
    of = np.flatnonzero(sexes == sex)
    if len(of) < LEAST:
      continue
    left_out = _left_out(prediction[of], age[of], sex, kind)
    row = _judge(age[of], prediction[of], left_out)
    found[sex] = row
    if row['kept']:
      by_sex[sex] = _curve(prediction[of], age[of], kind)
      corrected[of] = left_out
  if not found:
    counts = {sex: int(np.sum(sexes == sex)) for sex in ('F', 'M')}
    raise ValueError(
      f'Expected {LEAST} films or more of a sex, got {counts["F"]} of girls '
      f'and {counts["M"]} of boys: add films of known age to the table.'
    )
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
      f'{row["left_out_mae"]:.1f}; gain {_gain(row)}; '
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
  gain = statistics.mean(before - after, 'gain')
  return {
    'films': len(age),
    'bias': _bias(age, prediction),
    'mae': float(before.mean()),
    'left_out_mae': float(after.mean()),
    **gain,
    'kept': gain['gain_ci95'][0] > 0,
  }


def _bias(age: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
  """Fit the predicted age as a line of the true one, by resampled films."""
  rng = np.random.default_rng(0)
  draws = rng.integers(len(age), size=(1000, len(age)))
  x, y = age[draws], prediction[draws]
  slope, offset = _line(x, y)
  own = _line(age[None], prediction[None])
  return {
    'slope': float(own[0][0]),
    'slope_ci95': statistics.interval95(slope),
    'offset': float(own[1][0]),
    'offset_ci95': statistics.interval95(offset),
  }


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Return slopes and offsets of least squares of rows [K, N]."""
  mean_x, mean_y = x.mean(1), y.mean(1)
  apart = x - mean_x[:, None]
  spread = np.maximum(np.sum(apart**2, 1), 1e-9)
  slope = np.sum(apart * (y - mean_y[:, None]), 1) / spread
  return slope, mean_y - slope * mean_x


def _curve(x: np.ndarray, y: np.ndarray, kind: str) -> dict[str, Any]:
  """Return a correction of predicted ages x to true ages y."""
  if kind == 'linear':
    slope, offset = _line(x[None], y[None])
    return {'slope': float(slope[0]), 'intercept': float(offset[0])}
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
