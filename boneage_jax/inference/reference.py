"""How a bone age compares with a norm that the user brings: its SDS."""

from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

import numpy as np

from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import groups
from boneage_jax.inference import prediction as prediction_lib

COLUMNS = ('sex', 'age', 'mean', 'sd')
Reference = Mapping[str, Mapping[str, np.ndarray]]


class Norm(NamedTuple):
  """What bone ages are compared with: a norm, and the age of these children.

  Attributes:
    reference: of `read`, or None.
    chronological_age: months, in the place of the headers' ages, or None.
  """

  reference: Reference | None = None
  chronological_age: float | None = None


NO_NORM = Norm()


def read(path: str) -> Reference:
  """Read a norm: a table of sex (M, F), age, mean and sd, in months.

  `mean` and `sd` are of the bone ages of healthy children of that sex and
  chronological age.

  Raises:
    ValueError: the file, its columns or a cell are not as expected.
  """
  with storage.reading(path, 'rb') as file:
    table = tables.read(file.read(), path, lambda row: set(COLUMNS) <= set(row))
  if not table.rows or not set(COLUMNS) <= set(table.header):
    got = ', '.join(table.header) if table.rows else 'no rows'
    raise ValueError(
      f'{path}: expected a table with the columns {", ".join(COLUMNS)} '
      f'(months), got {got}.'
    )
  tables.check_once(table.header, COLUMNS, path)
  found: dict[str, list[tuple[float, ...]]] = {}
  for line, row in table.by_column():
    try:
      numbers = tuple(float(row[name]) for name in COLUMNS[1:])
    except (TypeError, ValueError):
      numbers = ()
    good = numbers and np.isfinite(numbers).all() and numbers[2] > 0
    if not good or row['sex'] not in ('M', 'F'):
      cells = ', '.join(f'{name}={row[name]}' for name in COLUMNS)
      raise ValueError(
        f'{path}, line {line}: expected a sex M or F, numbers, and an sd above '
        f'0, got {cells}.'
      )
    found.setdefault(row['sex'], []).append(numbers)
  result = {}
  for sex, points in found.items():
    age, mean, sd = np.array(sorted(points)).T
    if len(set(age.tolist())) < len(age):
      raise ValueError(
        f'{path}: expected each age of the sex {sex} once, got one twice.'
      )
    result[sex] = {'age': age, 'mean': mean, 'sd': sd}
  return result


def with_sds(
  prediction: prediction_lib.Prediction, reference: Reference | None
) -> prediction_lib.Prediction:
  """Add the SDS, (bone age - mean) / sd, where the norm has one.

  Mean and sd are those of the chronological age, between the rows of the norm
  on the line from one to the next. There is none where the chronological age
  or the sex is not known, or the norm does not reach.
  """
  own = (reference or {}).get(prediction.sex)
  age = prediction.chronological_age
  if own is None or age is None or not own['age'][0] <= age <= own['age'][-1]:
    return prediction
  mean, sd = (np.interp(age, own['age'], own[name]) for name in ('mean', 'sd'))
  return dataclasses.replace(
    prediction, sds=float((prediction.age_predicted - mean) / sd)
  )


def why_none(
  prediction: prediction_lib.Prediction, reference: Reference
) -> str:
  """Say why a prediction has no SDS; '' if it has one."""
  if prediction.sds is not None:
    return ''
  if prediction.chronological_age is None:
    return (
      'no SDS: the chronological age is not known; give --chronological_age '
      '(months), where the DICOM header does not say it'
    )
  if prediction.sex not in reference:
    known = ' and '.join(groups.PLURAL[sex] for sex in reference)
    return f'no SDS: the reference has {known}, and the sex is {prediction.sex}'
  ages = reference[prediction.sex]['age']
  return (
    f'no SDS: the reference of {groups.PLURAL[prediction.sex]} reaches from '
    f'{ages[0]:g} to {ages[-1]:g} months, and the chronological age is '
    f'{prediction.chronological_age:g}'
  )
