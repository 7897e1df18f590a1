"""Whether intervals hold the true age: shares, by group, with intervals."""

from typing import Any

import numpy as np

from boneage_jax.core import statistics
from boneage_jax.data import groups as groups_lib
from boneage_jax.inference import intervals


def coverage(age: np.ndarray, ends: np.ndarray) -> dict[str, Any]:
  """Return n and, per level, covered, its ci95 and the mean width in months.

  Args:
    age: [N].
    ends: low and high of intervals, [N, levels, 2].
  """
  inside = (ends[..., 0] <= age[:, None]) & (age[:, None] <= ends[..., 1])
  return {
    'n': len(age),
    'covered': inside.mean(axis=0).tolist(),
    'ci95': [
      statistics.wilson(int(hits), len(age)) for hits in inside.sum(axis=0)
    ],
    'width': np.diff(ends)[..., 0].mean(axis=0).tolist(),
  }


def grouped_coverage(
  films: intervals.Films, ends: np.ndarray
) -> dict[str, Any]:
  """Return `coverage` of all films, by_sex, by_predicted_age and by_age."""
  groups = {
    'by_sex': groups_lib.sex_text(films['sex']),
    'by_predicted_age': groups_lib.age_band(films['prediction']),
    'by_age': groups_lib.age_band(films['age']),
  }
  out = coverage(films['age'], ends)
  for key, labels in groups.items():
    names = sorted(set(labels), key=lambda name: (len(name), name))
    out[key] = {
      name: coverage(films['age'][labels == name], ends[labels == name])
      for name in names
    }
  return out
