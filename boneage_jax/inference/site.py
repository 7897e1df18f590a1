"""A site's own correction of ages, as `evaluate adapt` finds it."""

from collections.abc import Mapping
import dataclasses
import os
import re
from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.inference import prediction as prediction_lib

FOLDER = stages.SITES
KINDS = ('linear', 'isotonic')


def path(workdir: str, stage: str, name: str) -> str:
  """Return where the correction of a site lies.

  Raises:
    ValueError: the name is not one for a file.
  """
  if not re.fullmatch(r'[\w-]{1,64}', name):
    raise ValueError(
      'Expected --site as letters, digits, - and _, at most 64, got '
      f'{name!r}: choose another name.'
    )
  return stages.path(workdir, stage, FOLDER, f'{name}.json')


def load(workdir: str, stage: str, name: str) -> dict[str, Any]:
  """Read the correction of a site.

  Raises:
    ValueError: there is none; names those that there are.
  """
  place = path(workdir, stage, name)
  if not storage.exists(place):
    known = storage.glob(stages.path(workdir, stage, FOLDER), '*.json')
    names = [os.path.splitext(os.path.basename(one))[0] for one in known]
    raise ValueError(
      f'Expected --site to be one of {", ".join(names) or "none yet"}, got '
      f'{name!r}: find its correction with python -m boneage_jax.evaluate '
      f'adapt RUN --table=TABLE --site={name}.'
    )
  return storage.read_json(place)


def correct(by_sex: Mapping[str, Any], sex: str, age: np.ndarray) -> np.ndarray:
  """Return corrected ages of films of a sex, months; never below 0.

  Args:
    by_sex: of a site. A sex without a correction keeps its ages.
    sex: 'M' or 'F'.
    age: as the model says it, months.
  """
  own = by_sex.get(sex)
  if own is None:
    return age
  if 'slope' in own:
    return np.maximum(own['intercept'] + own['slope'] * age, 0.0)
  steps, ages = np.array(own['predicted']), np.array(own['corrected'])
  # Beyond the films that it was fitted on, the last correction goes on.
  beyond = age - np.clip(age, steps[0], steps[-1])
  return np.maximum(np.interp(age, steps, ages) + beyond, 0.0)


def corrected(
  prediction: prediction_lib.Prediction, site: Mapping[str, Any]
) -> prediction_lib.Prediction:
  """Correct a prediction and give it the site's intervals.

  The distribution stays that of the net. The site had films of that sex.
  """
  age = np.float64(prediction.age_predicted)
  age = float(correct(site['by_sex'], prediction.sex, age))
  # Where ages of a sex stay, intervals are those of the site all the same.
  name = site['site'] if prediction.sex in site['by_sex'] else ''
  found = dataclasses.replace(prediction, age_predicted=age, site=name)
  return prediction_lib.with_intervals(found, site['calibration'])
