"""Tables of films: columns of equal length, films.csv, and those of users."""

from collections.abc import Collection
import re
from typing import NamedTuple

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import groups

Films = dict[str, np.ndarray]  # columns of equal length
COLUMNS = {
  'id': str,
  'split': str,
  'sex': str,  # M, F, unknown; in memory float32 [N], see groups.SEX
  'age': np.float32,
  'position': np.int64,
  'study': str,  # films of one hand share it
  'finding': str,  # '' where nobody said
  'marks': str,  # kinds of masks and points drawn on the film, with spaces
}


# Tables of films.


def read_films(path: str) -> Films:
  """Read a films.csv.

  Raises:
    ValueError: it is damaged; names it.
  """
  with storage.naming(path), storage.reading(path) as file:
    rows = tables.read_dicts(file, path, ('id', 'split', 'sex'))
    # Tables from before there were studies: every film is one.
    rows = [
      {'study': row['id'], 'finding': '', 'marks': ''} | row for row in rows
    ]
    films = {
      name: np.array([row[name] for row in rows], kind)
      for name, kind in COLUMNS.items()
      if name != 'sex'
    }
    return films | {'sex': groups.sex_number(row['sex'] for row in rows)}


def write_films(path: str, films: Films) -> None:
  """Write a films.csv in one step; study, finding, marks need not be there."""
  empty = np.full(len(films['id']), '')
  films = {'study': films['id'], 'finding': empty, 'marks': empty} | films
  with storage.replacing(path) as file:
    writer = tables.Writer(file)
    writer.writerow(COLUMNS)
    films = films | {'sex': groups.sex_text(films['sex'])}
    columns = [np.asarray(films[name], COLUMNS[name]) for name in COLUMNS]
    writer.writerows(zip(*columns, strict=True))


def select(films: Films, keep: np.ndarray) -> Films:
  """Return the rows of a mask or an index array."""
  return {name: column[keep] for name, column in films.items()}


# Tables of new films, of a user's own.

SEXES = {'m': 'M', 'male': 'M', 'f': 'F', 'female': 'F', 'unknown': 'unknown'}
OLDEST = 240  # months of a bone age


class Listed(NamedTuple):
  """A row of a user's table of films.

  Attributes:
    file: of the film, as written; if not absolute, beside the table.
    sex: 'M', 'F', 'unknown', or '' where the table does not say.
    age_true: bone age, months, or None.
    chronological_age: months, or None.
    group: of the user's, or ''.
  """

  file: str
  sex: str
  age_true: float | None
  chronological_age: float | None
  group: str


def read_listed(path: str, needs: Collection[str] = ()) -> list[Listed]:
  """Read a user's table of films, of any form that `tables.read` knows.

  Its columns are `file` and `sex`, and perhaps `age_true`,
  `chronological_age` and `group`; others are left alone.

  Args:
    path: of the table.
    needs: columns of which each row must say something.

  Raises:
    ValueError: a column is missing, or cells are wrong; says which lines.
  """
  with storage.reading(path, 'rb') as file:
    data = file.read()
  fold = lambda row: [name.strip().lower() for name in row]
  table = tables.read(data, path, lambda row: {'file', 'sex'} <= set(fold(row)))
  header = fold(table.header)
  missing = {'file', 'sex', *needs} - set(header)
  if missing:
    raise ValueError(
      f'{path}: expected a table with the columns file and sex (and, where '
      'they are known, age_true, chronological_age, group), got no '
      f'{", ".join(sorted(missing))}: name the columns in its first line.'
    )
  found: list[Listed] = []
  wrong: list[str] = []
  lines: dict[str, int] = {}
  for line, row in table.rows:
    cells = dict(zip(header, row, strict=False))
    if len(row) > len(header) and any(row[len(header) :]):
      wrong.append(f'line {line}: more cells than the header')
      continue
    file, group = (door.shown(cells.get(n, '')) for n in ('file', 'group'))
    sex = cells.get('sex', '')
    ages = {}
    for name, most in (('age_true', OLDEST), ('chronological_age', 1500)):
      text = cells.get(name, '')
      ages[name] = _months(text, most)
      if text and ages[name] is None:
        wrong.append(f'line {line}: {name} {text!r}, not 0 to {most} months')
    empty = [name for name in ('file', *needs) if not cells.get(name)]
    if empty:
      wrong.append(f'line {line}: no {", ".join(empty)}')
    elif sex and sex.lower() not in SEXES:
      wrong.append(f'line {line}: sex {sex!r}, not M, F or unknown')
    elif file in lines:
      wrong.append(f'line {line}: {file} stands in line {lines[file]}, too')
    lines.setdefault(file, line)
    found.append(
      Listed(
        cells.get('file', ''), SEXES.get(sex.lower(), ''), **ages, group=group
      )
    )
  if wrong:
    more = f'; and {len(wrong) - 5} more' if len(wrong) > 5 else ''
    raise ValueError(
      f'{path}: {"; ".join(wrong[:5])}{more}. Mend or remove these lines.'
    )
  if not found:
    raise ValueError(f'{path}: expected films below the header, got none.')
  return found


def _months(text: str, most: float) -> float | None:
  """Return an age; a comma can only be that of decimals."""
  try:
    age = float(re.sub(r'^(\d+),(\d+)$', r'\1.\2', text))
  except ValueError:
    return None
  return age if 0 <= age <= most else None  # nan compares false
