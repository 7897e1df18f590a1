"""Groups of films: sex, stage of puberty, age band."""

from collections.abc import Iterable

import numpy as np

BAND = 24  # months an age band is wide
OLDEST = 240  # months; the last band takes whatever is older
BANDS = tuple(f'{a}-{a + BAND}' for a in range(0, OLDEST, BAND))

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
# Parts of puberty, in fewer groups; ours.
PHASES = {
  'before puberty': ('infancy', 'toddler', 'pre-puberty'),
  'in puberty': ('early and mid puberty', 'late puberty'),
  'after puberty': ('post-puberty',),
}


# Sexes as tables and people write them, and as nets read them.
SEX = {'M': 1.0, 'F': -1.0, 'unknown': 0.0}
# Their words, in the order of every table.
SINGULAR = {'F': 'girl', 'M': 'boy', 'unknown': 'sex unknown'}
PLURAL = {'F': 'girls', 'M': 'boys', 'unknown': 'sex unknown'}


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


def phase(age: np.ndarray, sex: np.ndarray) -> np.ndarray:
  """Name the part of puberty of each film, of PHASES; '' where `stage` does.

  Args:
    age: months, [N].
    sex: +1 male, -1 female, else unknown, [N].
  """
  of = {name: part for part, names in PHASES.items() for name in names}
  return np.array([of.get(name, '') for name in stage(age, sex).tolist()], str)


def age_band(age: np.ndarray) -> np.ndarray:
  """Name the 24-month band of each age, as '48-72', lower bound inclusive."""
  band = np.asarray(age, np.float64) // BAND
  return np.array(BANDS)[np.clip(band, 0, len(BANDS) - 1).astype(int)]


def sex_medians(age: np.ndarray, sex: np.ndarray, of: np.ndarray) -> np.ndarray:
  """Return the median age of each film's sex, months, [N].

  Args:
    age: months, [N].
    sex: +1 male, -1 female, else unknown, [N]. A film of unknown sex, or of one
      that no film of `of` has, gets the median of all these.
    of: the films that medians are of, at least one, bool [N].
  """
  age, sexes = np.asarray(age, np.float64), sex_text(sex)
  out = np.full(age.shape, np.median(age[of]))
  for name in ('F', 'M'):
    known = of & (sexes == name)
    if known.any():
      out[sexes == name] = np.median(age[known])
  return out
