"""A user's table of films as an archive, from which data are prepared."""

import collections
from collections.abc import Mapping
import hashlib
import os
import types
import zipfile

from boneage_jax.core import ids
from boneage_jax.core import storage
from boneage_jax.data import film_table
from tfds_rsna import archive as archives
from tfds_rsna import labels
from tfds_rsna import layout

Fault = tuple[int, str, str]  # line, our name of the column, what is wrong


def read(
  path: str,
  columns: Mapping[str, str] = types.MappingProxyType({}),
  age_unit: str = labels.UNITS[0],
  two_hands: str = '',
) -> archives.Archive:
  """Read a table of films with known ages, and look where the films lie.

  Films of one group have one study, so that they never stand in two splits or
  folds. Without a column `split` all films are the archive's training films,
  from which a run draws the others. Annotations may lie beside the table, as
  those of an archive do.

  Args:
    path: of the table, see `film_table.read_listed`.
    columns: the user's names of columns, by ours.
    age_unit: of its ages, of `labels.UNITS`.
    two_hands: of films that are wider than high the half that is kept, of
      `two_hands.SIDES`; '' keeps them whole.

  Raises:
    ValueError: what is wrong with the table, all of it.
  """
  path = storage.absolute(os.path.expanduser(path))
  needs = ('sex', 'age_true')
  rows, faults = film_table.parse_listed(path, needs, columns, age_unit)
  named, found = _names(rows)
  places = _Places(path)
  sizes = [places.size(row) for row in rows]
  found += [
    (
      row.line,
      'file',
      f'there is no {row.file}: mend the name, or add the film',
    )
    for row, size in zip(rows, sizes, strict=True)
    if size is None and row.file
  ]
  found += [
    (row.line, 'sex', 'unknown, but nets learn from it: write M or F')
    for row in rows
    if row.sex == 'unknown'
  ]
  found += _wrong_splits(rows)
  known = {(line, column) for line, column, _ in faults}
  theirs = {name: columns.get(name, name) for name in film_table.listed()}
  found = [(line, theirs[column], text) for line, column, text in found]
  faults += [fault for fault in found if fault[:2] not in known]
  film_table.refuse(path, faults)
  films: dict[str, list[archives.Film]] = collections.defaultdict(list)
  for row, film, size in zip(rows, named, sizes, strict=True):
    said = ({'study': row.group} if row.group else {}) | row.scalars
    place, member = row.place(path)
    films[row.split or 'train'].append(
      archives.Film(
        *(film, row.sex == 'M', row.age_true),
        *((place, member) if member else ('', place)),
        *(size, said, two_hands),
      )
    )
  with storage.reading(path, 'rb') as file:
    digest = hashlib.sha256(file.read()).hexdigest()
  films = {split: films[split] for split in layout.SPLITS if split in films}
  ages = [row.age_true for row in rows]
  archive = archives.Archive(
    os.path.dirname(path),
    age_unit,
    films,
    bad=[],
    label_files={
      split: {'file': os.path.basename(path), 'sha256': digest}
      for split in films
    },
    listed={split: {film.id for film in some} for split, some in films.items()},
    unlabelled={},
    notes=labels.doubts(path, ages) if age_unit == labels.UNITS[0] else [],
    annotations={},
    phantom=None,
  )
  archives.read_extras(archive)
  return archive


def _names(rows: list[film_table.Listed]) -> tuple[list[str], list[Fault]]:
  """Return the ids of films, of their files where the table has none."""
  named: list[str] = []
  faults: list[Fault] = []
  lines: dict[str, int] = {}
  for row in rows:
    column = 'id' if row.id else 'file'
    try:
      film = ids.normalize(row.id or os.path.basename(row.file))
    except ValueError as error:
      film = ''
      remedy = 'rename it, or name the film in a column id'
      faults.append((row.line, column, f'{str(error).rstrip(".")}: {remedy}'))
    named.append(film)
    before = lines.setdefault(film, row.line)
    if film and before != row.line:
      text = f'the id {film} stands in line {before}, too: give it another id'
      faults.append((row.line, column, text))
  return named, faults


def _wrong_splits(rows: list[film_table.Listed]) -> list[Fault]:
  """Return films without a split where others have one, and shared groups."""
  faults: list[Fault] = []
  if any(row.split for row in rows):
    faults += [
      (row.line, 'split', 'empty, but other lines say it: write it')
      for row in rows
      if not row.split
    ]
  home: dict[str, film_table.Listed] = {}
  for row in rows:
    first = home.setdefault(row.group, row) if row.group else row
    if first.split != row.split:
      text = (
        f'{row.group} is in {row.split or "no split"} here and in '
        f'{first.split or "no split"} in line {first.line}: keep a group in '
        'one split'
      )
      faults.append((row.line, 'group', text))
  return faults


class _Places:
  """Says how large the files of films are; each archive is opened once."""

  def __init__(self, table: str):
    self._table = table
    self._sizes: dict[str, dict[str, int]] = {}

  def size(self, row: film_table.Listed) -> int | None:
    """Return the bytes of a film's file; None where there is none."""
    path, member = row.place(self._table)
    if not member:
      return os.path.getsize(path) if os.path.isfile(path) else None
    if path not in self._sizes:
      try:
        with zipfile.ZipFile(path) as file:
          infos = file.infolist()
      except (zipfile.BadZipFile, OSError):
        infos = []
      self._sizes[path] = {info.filename: info.file_size for info in infos}
    return self._sizes[path].get(member)
