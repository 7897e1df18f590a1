"""Ages by ridge regression, boosted trees and a forest, on plain arrays.

They are those of scikit-learn (`training/fit_regressors.py`); what is kept of
them is a dict of arrays, and nothing here needs that library. Sums are in
double precision, as there.
"""

from collections.abc import Mapping

import numpy as np

from boneage_jax.models import forest

NAMES = ('ridge', 'boosting', 'forest')
MEAN = 'mean'  # of the three


def join(features: list[np.ndarray], sex: np.ndarray) -> np.ndarray:
  """Join what nets see of films: float32 [N, D].

  Args:
    features: of each net, [N, h, w, C]; places are averaged.
    sex: +1 male, -1 female, 0 unknown, [N].
  """
  seen = [one.astype(np.float32).mean((1, 2)) for one in features]
  return np.concatenate([*seen, np.float32(sex)[:, None]], 1)


def predict(
  arrays: Mapping[str, np.ndarray], joined: np.ndarray
) -> dict[str, np.ndarray]:
  """Return ages in months [N], by regressor, and their mean.

  Args:
    arrays: `centre` and `scale` [D] of the numbers; `ridge_coef` [D] and
      `ridge_intercept`; of `boosting_` and `forest_` the trees (forest.TREES)
      and their `depth`; `boosting_start` and `boosting_rate`.
    joined: of `join`.
  """
  numbers = (joined - arrays['centre']) / arrays['scale']
  ridge = numbers.astype(np.float64) @ arrays['ridge_coef']
  boosted, grown = (_values(arrays, name, numbers) for name in NAMES[1:])
  ages = {
    'ridge': ridge + arrays['ridge_intercept'],
    'boosting': arrays['boosting_start']
    + arrays['boosting_rate'] * boosted.sum(1),
    'forest': grown.mean(1),
  }
  return ages | {MEAN: np.mean(list(ages.values()), axis=0)}


def _values(
  arrays: Mapping[str, np.ndarray], name: str, numbers: np.ndarray
) -> np.ndarray:
  trees = {key: arrays[f'{name}_{key}'] for key in forest.TREES}
  return forest.values(trees, numbers, int(arrays[f'{name}_depth']))
