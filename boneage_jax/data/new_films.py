"""Tables of new films: which files, of whom, with which true ages."""

import os
from typing import NamedTuple

import numpy as np

from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import groups


class NewFilm(NamedTuple):
  """A row: a file, the sex ('M', 'F', 'unknown') and the true age, months."""

  file: str
  sex: str
  age_true: float


def read(path: str) -> list[NewFilm]:
  """Read a table with the columns file, sex and age_true.

  A file that is no absolute path lies beside the table.

  Raises:
    ValueError: a column is missing, or a cell is not as expected; says where.
  """
  with storage.reading(path, 'rb') as file:
    table = tables.read(
      file.read(), path, lambda row: set(NewFilm._fields) <= set(row)
    )
  missing = [name for name in NewFilm._fields if name not in table.header]
  if missing or not table.rows:
    raise ValueError(
      f'{path}: expected a table of films with the columns '
      f'{", ".join(NewFilm._fields)}, got '
      f'{"no " + ", ".join(missing) if missing else "no rows"}.'
    )
  films: list[NewFilm] = []
  for line, row in table.by_column():
    try:
      age = float(row['age_true'])
    except (TypeError, ValueError):
      age = np.nan
    if not np.isfinite(age) or age < 0 or row['sex'] not in groups.SEX:
      raise ValueError(
        f'{path}, line {line}: expected a sex of {", ".join(groups.SEX)} and '
        f'age_true in months, got sex={row["sex"]!r} and '
        f'age_true={row["age_true"]!r} of {row["file"]}.'
      )
    place = os.path.join(os.path.dirname(os.path.abspath(path)), row['file'])
    films.append(NewFilm(place, row['sex'], age))
  files = [film.file for film in films]
  twice = [name for name in files if files.count(name) > 1]
  if twice:
    raise ValueError(f'{path}: expected each film once, got {twice[0]} twice.')
  return films
