"""Numbers that nets read beside a film, such as the chronological age.

Each has a column of its name in tables of films, in films.csv and in batches. A
net says which of them it reads, and a film without one of these is refused. The
sex is not among them: all nets may read it, and it may be unknown.
"""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple


class Scalar(NamedTuple):
  """A number of a film.

  Attributes:
    unit: of it. Of 'months' a user's table may hold years: `data.age_unit`.
    middle, spread: a head reads (number - middle) / spread.
    most: the largest that is taken; the least is 0.
    remedy: what else says it of a new film.
  """

  unit: str
  middle: float
  spread: float
  most: float
  remedy: str = ''


SCALARS = {
  'chronological_age': Scalar(
    *('months', 127.3, 41.2, 1500),  # as heads/age.py; months of a life
    ' or with --chronological_age (a DICOM header may say it, too)',
  ),
}


def inputs(names: tuple[str, ...]) -> tuple[str, ...]:
  """Return those of a net's inputs that are numbers of SCALARS."""
  return tuple(name for name in names if name in SCALARS)


def of(record: Mapping[str, Any]) -> dict[str, Any]:
  """Return the numbers of SCALARS that a record of a film has."""
  return {name: record[name] for name in SCALARS if name in record}


def typical(names: tuple[str, ...]) -> dict[str, float]:
  """Return middles of a net's inputs, for films whose ages nobody looks at."""
  return {name: SCALARS[name].middle for name in inputs(names)}
