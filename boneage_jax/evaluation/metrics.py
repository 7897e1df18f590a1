"""Errors of predicted bone ages, by sex, age and developmental stage.

Everything is plain numpy. Ages and errors are months; an error is prediction
minus truth, so a positive bias is an age read too old. A group without films is
left out, never NaN.
"""

import itertools
from typing import Any

import numpy as np

from boneage_jax.core import statistics
from boneage_jax.data import groups

WITHIN = (6, 12, 24)  # months

# A net that has learnt nothing but the sex answers with one age per sex.
# Predictions with less than this share of the true spread count as collapsed:
# they explain at most 44 % of the variance, whatever their correlation.
COLLAPSE_RATIO = 0.25
COLLAPSE_FILMS = 5  # fewer films of a sex say nothing about a spread

CELL_FILMS = 10  # fewer films of a crossed cell are counted, not measured
BAND_FILMS = 5  # fewer films of a band do not count in the age-balanced MAE


def _check(**columns: np.ndarray) -> list[np.ndarray]:
  """Return the columns as float64 after checking length and finiteness."""
  arrays = [np.asarray(c, np.float64).reshape(-1) for c in columns.values()]
  lengths = {name: len(a) for name, a in zip(columns, arrays, strict=True)}
  if len(set(lengths.values())) != 1 or not len(arrays[0]):
    raise ValueError(
      f'Expected columns of one length, at least one film; got {lengths}.'
    )
  for name, array in zip(columns, arrays, strict=True):
    bad = int(np.sum(~np.isfinite(array)))
    if bad:
      raise ValueError(
        f'{bad} of {len(array)} values of {name} are not finite. Drop films '
        'without a label; a net that answers NaN has diverged: lower its '
        'learning rate.'
      )
  return arrays


def collapse(
  age: np.ndarray, prediction: np.ndarray, sex: np.ndarray
) -> dict[str, Any]:
  """Compare the spread of the predictions with that of the truth, by sex.

  Returns:
    `<sex>_sd` and `<sex>_true_sd` in months for each sex present, and `alarm`:
    whether a sex with COLLAPSE_FILMS films or more is below COLLAPSE_RATIO.
  """
  out: dict[str, Any] = {'alarm': False}
  sexes = groups.sex_text(sex)
  for name in sorted(set(sexes)):
    of = sexes == name
    sd, true_sd = float(np.std(prediction[of])), float(np.std(age[of]))
    out[f'{name}_sd'], out[f'{name}_true_sd'] = sd, true_sd
    if of.sum() >= COLLAPSE_FILMS and sd < COLLAPSE_RATIO * true_sd:
      out['alarm'] = True
  return out


def error_summary(
  error: np.ndarray, bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
  """Return those of `summary` that need no group.

  Args:
    error: months, [N].
    bootstrap, seed: as for `summary`; no intervals below INTERVAL_FILMS films.
  """
  n, size = len(error), np.abs(error)
  values = np.stack([size, error**2, error], axis=1)
  names = ('mae', 'rmse', 'bias')
  within = {f'within_{m}': int(np.sum(size <= m)) for m in WITHIN}

  point = values.mean(axis=0)
  point[1] = np.sqrt(point[1])
  out: dict[str, Any] = {'n': n, 'median': float(np.median(size))}
  out |= {name: float(v) for name, v in zip(names, point, strict=True)}
  out |= {name: hits / n for name, hits in within.items()}
  if bootstrap and n >= statistics.INTERVAL_FILMS:
    samples = statistics.bootstrap_means(values, bootstrap, seed)
    samples[:, 1] = np.sqrt(samples[:, 1])
    for name, column in zip(names, samples.T, strict=True):
      out[f'{name}_ci95'] = statistics.interval95(column)
    for name, hits in within.items():
      out[f'{name}_ci95'] = statistics.wilson(hits, n)
  return out


def summary(
  age: np.ndarray,
  prediction: np.ndarray,
  sex: np.ndarray,
  bootstrap: int = 1000,
  seed: int = 0,
) -> dict[str, Any]:
  """Summarise the errors of one set of films.

  Args:
    age: true bone age, months, [N].
    prediction: predicted bone age, months, [N].
    sex: +1 male, -1 female, else unknown, [N].
    bootstrap: resamples of films behind each percentile interval; 0: no
      intervals. Those of shares are Wilson's, see `wilson`.
    seed: of the resampling.

  Returns:
    A dict ready for JSON: n, mae, rmse, bias, within_6, within_12, within_24
    (shares, bounds inclusive), each with its `_ci95`; median (of the absolute
    error); by_sex, by_age, by_stage (group -> the same figures); by_sex_age,
    by_sex_stage, by_sex_age_stage ('F, 72-96' -> the same figures, or n
    alone below CELL_FILMS films); age_balanced and collapse.

  Raises:
    ValueError: for no films, unequal lengths or values that are not finite.
  """
  age, prediction, sex = _check(age=age, prediction=prediction, sex=sex)
  error = prediction - age
  out = error_summary(error, bootstrap, seed)
  axes = {
    'sex': (groups.sex_text(sex), groups.PLURAL),
    'age': (groups.age_band(age), groups.BANDS),
    'stage': (groups.stage(age, sex), [name for name, _, _ in groups.STAGES]),
  }
  for key in ('sex', 'age', 'stage', 'sex_age', 'sex_stage', 'sex_age_stage'):
    parts = [axes[name] for name in key.split('_')]
    least = CELL_FILMS if len(parts) > 1 else 1
    out[f'by_{key}'] = {}
    for cell in itertools.product(*(order for _, order in parts)):
      of = np.all(
        [labels == name for (labels, _), name in zip(parts, cell, strict=True)],
        axis=0,
      )
      n = int(of.sum())
      if n:
        row = (
          error_summary(error[of], bootstrap, seed) if n >= least else {'n': n}
        )
        out[f'by_{key}'][', '.join(cell)] = row
  out['age_balanced'] = age_balanced(age, error, bootstrap, seed)
  out['collapse'] = collapse(age, prediction, sex)
  return out


def age_balanced(
  age: np.ndarray, error: np.ndarray, bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
  """Average the MAE of the age bands, each band counting once.

  Returns:
    `bands`, those that count: all with BAND_FILMS films or more; `left_out`,
    the films in each of the others; `mae`, where at least half of the bands
    with any film count, so that these hold most films; and with it, where each
    that counts has INTERVAL_FILMS or more, `mae_ci95` (films resampled within
    their bands). A band of 5 films spoils it whatever the others hold: beside
    one of 100 it covers the true MAE 86 % of the time, beside one of 1,000
    83 %; five bands of 10, 92 %.
  """
  labels = groups.age_band(age)
  sizes = {band: int(np.sum(labels == band)) for band in groups.BANDS}
  bands = [band for band, n in sizes.items() if n >= BAND_FILMS]
  out: dict[str, Any] = {'bands': bands}
  out['left_out'] = {b: n for b, n in sizes.items() if 0 < n < BAND_FILMS}
  if bands and len(bands) >= len(out['left_out']):
    parts = [np.abs(error[labels == band])[:, None] for band in bands]
    out['mae'] = float(np.mean([part.mean() for part in parts]))
    if bootstrap and min(map(len, parts)) >= statistics.INTERVAL_FILMS:
      # Another seed for each band, or they would draw like numbered films.
      samples = [
        statistics.bootstrap_means(part, bootstrap, seed + k)
        for k, part in enumerate(parts)
      ]
      out['mae_ci95'] = statistics.interval95(np.mean(samples, axis=0))
  return out


def paired_difference(
  age: np.ndarray,
  a: np.ndarray,
  b: np.ndarray,
  bootstrap: int = 1000,
  seed: int = 0,
) -> dict[str, Any]:
  """Compare two predictors on the same films.

  Returns:
    n, mae_a, mae_b, difference (mae_a - mae_b, negative when `a` is the better)
    and, of enough films, difference_ci95 (films resampled in pairs); a_better
    and b_better, the shares of films with the smaller error (ties are neither).
  """
  age, a, b = _check(age=age, a=a, b=b)
  values = np.stack([np.abs(a - age), np.abs(b - age)], axis=1)
  mae_a, mae_b = values.mean(axis=0)
  out: dict[str, Any] = {
    'n': len(age),
    'mae_a': float(mae_a),
    'mae_b': float(mae_b),
    'difference': float(mae_a - mae_b),
    'a_better': float(np.mean(values[:, 0] < values[:, 1])),
    'b_better': float(np.mean(values[:, 0] > values[:, 1])),
  }
  if bootstrap and len(age) >= statistics.INTERVAL_FILMS:
    difference = values[:, :1] - values[:, 1:]
    out['difference_ci95'] = statistics.interval95(
      statistics.bootstrap_means(difference, bootstrap, seed)
    )
  return out
