"""Tables of films: columns of equal length, and films.csv."""

import numpy as np

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
