"""Label tables of the RSNA bone age releases: columns matched by meaning."""

import dataclasses
import os
import re
from typing import Any

from boneage_jax.core import ids
from boneage_jax.core import tables

MAX_AGE = 240  # months
MONTHS = {'months': 1, 'years': 12}  # of the units of ages in label files
UNITS = tuple(MONTHS)
# Ages of which none reaches this are those of infants in months, or of children
# in years.
YOUNG = 25
# Share of ages with a fraction above which months are doubted; means of several
# readers have them, too, as those of the RSNA's test films, whose header says
# months.
FRACTIONS = 0.3

# Names without case, blanks, punctuation and the unit.
COLUMNS = {
  'id': ('id', 'imageid', 'caseid', 'filename', 'image', 'filmid'),
  'age': ('boneage', 'groundtruthboneage'),
  'sex': ('male', 'sex', 'gender'),
}
EXPECTED = (
  "an id ('id', 'Image ID', 'Case ID' or 'fileName'), the bone age "
  "('boneage', 'Bone Age (months)' or 'Ground truth bone age (months)') and "
  "the sex ('male' with True/False or 'Sex' with M/F)"
)
SEX = {'m': True, 'male': True, 'f': False, 'female': False}
TRUTH = {
  'true': True,
  '1': True,
  '1.0': True,
  'false': False,
  '0': False,
  '0.0': False,
}


@dataclasses.dataclass(frozen=True)
class Label:
  """One labelled film: age in months."""

  id: str
  male: bool
  age: float


def has_ages(path: str | os.PathLike, data: bytes | None = None) -> bool:
  """Tells a label table from a list of films to be assessed; see `read`."""
  header = _table(path, data).header
  found = _match(header)
  return 'age' in found or not {'id', 'sex'} <= set(found)


def read(
  path: str | os.PathLike, age_unit: str = UNITS[0], data: bytes | None = None
) -> tuple[list[Label], list[list[Any]], list[str]]:
  """Reads a label table, of any form that `tables.read` knows.

  Args:
    path: of the table.
    age_unit: of its ages, one of UNITS.
    data: of the file, where it is read already.

  Returns:
    The good labels in file order, the bad ones as [id, reason], and a note
    where ages that were read as months may be years.

  Raises:
    ValueError: the columns are not those of a label table, or their header
      names another unit.
  """
  if age_unit not in UNITS:
    raise ValueError(
      f'Expected age_unit to be one of {", ".join(UNITS)}, got {age_unit!r}.'
    )
  header, rows, sheet = _table(path, data)
  columns = _match(header)
  if set(columns) != set(COLUMNS):
    found = ', '.join(repr(c) for c in header) or 'none'
    where = f' in the sheet {sheet!r}' if sheet else ''
    raise ValueError(
      f'{path}: expected columns for {EXPECTED}; found {found}{where}.'
    )
  lowered = [name.strip().lower() for name in header]
  tables.check_once(lowered, [lowered[i] for i in columns.values()], str(path))
  told = _split_unit(header[columns['age']])[1]
  if told not in ('', age_unit):
    raise ValueError(
      f'{path}: the column {header[columns["age"]]!r} has ages in {told}, but '
      f'they are read as {age_unit}: set --age_unit={told}, or of a run '
      f'--config.data.age_unit={told}.'
    )
  if rows and not any(len(row) == len(header) for _, row in rows):
    line, row = rows[0]
    raise ValueError(
      f'{path}: expected rows of {len(header)} cells, as the header has; found '
      f'{len(row)} in line {line}: is a comma or semicolon missing there?'
    )
  labels, bad = [], []
  lines: dict[Any, list[int]] = {}
  for line, row in rows:
    cells = {k: row[i] if i < len(row) else '' for k, i in columns.items()}
    if not any(cells.values()):
      continue
    longer = any(row[len(header) :])
    try:
      film, fault = ids.normalize(cells['id']), ''
    except ValueError as error:
      film, fault = cells['id'], f'{str(error).rstrip(".")} (line {line})'
    lines.setdefault(film, []).append(line)
    if len(lines[film]) > 1:
      continue
    sex = _male(cells['sex'], 'male' in header[columns['sex']].lower())
    age = months(cells['age'], age_unit)
    if longer and not fault:
      fault = f'line {line} has more cells than the header'
    if fault:
      bad.append([film, fault])
    elif sex is None:
      bad.append(
        [film, f'sex {cells["sex"]!r} is neither male nor female (line {line})']
      )
    elif age is None:
      bad.append(
        [
          film,
          f'bone age {cells["age"]!r} is not a number of {age_unit} '
          f'from 0 to {MAX_AGE // MONTHS[age_unit]} (line {line})',
        ]
      )
    else:
      labels.append(Label(film, sex, age))
  # Which of two rows is right cannot be known: neither is used.
  twice = {film: where for film, where in lines.items() if len(where) > 1}
  labels = [label for label in labels if label.id not in twice]
  bad = [entry for entry in bad if entry[0] not in twice]
  bad += [
    [film, f'listed more than once (lines {", ".join(map(str, where))})']
    for film, where in twice.items()
  ]
  name = os.path.basename(path)
  bad = [[film, f'{name}: {reason}'] for film, reason in bad]
  notes = []
  if age_unit == UNITS[0] and labels:
    notes = doubts(path, [label.age for label in labels], bool(told))
  return labels, bad, notes


def doubts(
  path: str | os.PathLike, ages: list[float], told: bool = False
) -> list[str]:
  """Returns a note where ages that were read as months may be years.

  Args:
    path: of the table, for the note.
    ages: as read.
    told: whether the header names the unit.
  """
  broken = sum(age % 1 != 0 for age in ages)
  if max(ages) < YOUNG:
    why = f'none of {len(ages)} is {YOUNG} or more'
  elif broken > FRACTIONS * len(ages) and not told:
    why = f'{broken} of {len(ages)} have fractions'
  else:
    return []
  return [
    f'{path}: ages from {min(ages):g} to {max(ages):g} are read as months, but '
    f'{why}. Where they are years, set --age_unit=years, or of a run '
    '--config.data.age_unit=years.'
  ]


def _table(path: str | os.PathLike, data: bytes | None) -> tables.Table:
  """Reads a label table of any form; see `tables.read`."""
  if data is None:
    with open(path, 'rb') as file:
      data = file.read()
  # A list of films to be assessed has no ages; a label table all three.
  is_header = lambda row: {'id', 'sex'} <= set(_match(row))
  return tables.read(data, os.fspath(path), is_header)


def _match(header: list[str]) -> dict[str, int]:
  """Finds the position of each meaning; the first that fits is taken."""
  found = {}
  for i, column in enumerate(header):
    name, _ = _split_unit(column)
    for meaning, names in COLUMNS.items():
      if name in names:
        found.setdefault(meaning, i)
  return found


def _split_unit(column: str) -> tuple[str, str]:
  """Returns a column's name without its unit, and the unit or ''."""
  name = re.sub(r'[^a-z0-9]', '', column.lower())
  for unit in UNITS:
    if name.endswith(unit):
      return name.removesuffix(unit), unit
  return name, ''


def _male(cell: str, is_truth: bool) -> bool | None:
  cell = cell.lower()
  return SEX.get(cell, TRUTH.get(cell) if is_truth else None)


def months(cell: str, unit: str, most: float = MAX_AGE) -> float | None:
  """Returns an age in months, or None of what is none up to `most` months.

  A comma can only be that of decimals.
  """
  try:
    age = MONTHS[unit] * float(re.sub(r'^(\d+),(\d+)$', r'\1.\2', cell))
  except ValueError:
    return None
  return age if 0 <= age <= most else None  # nan compares false
