"""Groups of films: sex, stage of puberty, age band."""

from collections.abc import Iterable

import numpy as np

BAND = 24  # months an age band is wide
OLDEST = 240  # months; the last band takes whatever is older

# Stages after Gilsanz and Ratib with the bounds of Iglovikov et al. 2017: first
# month of the stage for girls and for boys, inclusive.
STAGES = (
  ('infancy', 0, 0),
  ('toddler', 10, 14),
  ('pre-puberty', 24, 36),
  ('early and mid puberty', 84, 108),
  ('late puberty', 156, 168),
  ('post-puberty', 180, 192),
)


# Sexes as tables and people write them, and as nets read them.
SEX = {'M': 1.0, 'F': -1.0, 'unknown': 0.0}


def sex_number(text: Iterable[str]) -> np.ndarray:
  """Return float32 [N], the values of SEX, of what `sex_text` names."""
  return np.array([SEX[name] for name in text], np.float32)


def sex_text(sex: np.ndarray) -> np.ndarray:
  """Name the sexes, [N]: 'M' for +1, 'F' for -1, else 'unknown'."""
  sex = np.asarray(sex, np.float64)
  return np.select([sex == 1, sex == -1], ['M', 'F'], 'unknown')


def stage(age: np.ndarray, sex: np.ndarray) -> np.ndarray:
  """Name the developmental stage of each film.

  Args:
    age: months, [N].
    sex: +1 male, -1 female, else unknown, [N].

  Returns:
    Names of STAGES, [N], lower bounds inclusive; '' where the sex is unknown,
    as the bounds depend on it.
  """
  age, sexes = np.asarray(age, np.float64), sex_text(sex)
  names, girls, boys = map(np.array, zip(*STAGES, strict=True))
  out = np.full(age.shape, '', dtype=names.dtype)
  for name, bounds in (('F', girls), ('M', boys)):
    index = np.searchsorted(bounds, age, side='right') - 1
    out = np.where(sexes == name, names[np.maximum(index, 0)], out)
  return out


def age_band(age: np.ndarray) -> np.ndarray:
  """Name the 24-month band of each age, as '48-72', lower bound inclusive."""
  last = OLDEST // BAND - 1
  low = np.clip(np.asarray(age, np.float64) // BAND, 0, last).astype(int) * BAND
  return np.array([f'{start}-{start + BAND}' for start in low], dtype='<U16')


def sex_medians(age: np.ndarray, sex: np.ndarray) -> dict[str, float]:
  """Return the median age by sex; 'unknown' is the median of all films."""
  age, sexes = np.asarray(age, np.float64), sex_text(sex)
  out = {'unknown': float(np.median(age))}
  for name in ('F', 'M'):
    if np.any(sexes == name):
      out[name] = float(np.median(age[sexes == name]))
  return out
