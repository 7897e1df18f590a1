"""Label tables of the RSNA bone age releases: columns matched by meaning."""

import csv
import dataclasses
import os
import re
from typing import Any

from boneage_jax.core import ids

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


def has_ages(path: str | os.PathLike) -> bool:
  """Tells a label table from a list of films to be assessed."""
  header = _table(path)[0]
  found = _match(header)
  return 'age' in found or not {'id', 'sex'} <= set(found)


def read(
  path: str | os.PathLike, age_unit: str = UNITS[0]
) -> tuple[list[Label], list[list[Any]], list[str]]:
  """Reads a label table (.csv or .xlsx).

  Args:
    path: of the table.
    age_unit: of its ages, one of UNITS.

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
  header, rows = _table(path)
  columns = _match(header)
  if set(columns) != set(COLUMNS):
    found = ', '.join(repr(c) for c in header)
    raise ValueError(f'{path}: expected columns for {EXPECTED}; found {found}.')
  told = _split_unit(header[columns['age']])[1]
  if told not in ('', age_unit):
    raise ValueError(
      f'{path}: the column {header[columns["age"]]!r} has ages in {told}, but '
      f'they are read as {age_unit}: set --age_unit={told}, or of a run '
      f'--config.data.age_unit={told}.'
    )
  labels, bad = [], []
  lines: dict[Any, list[int]] = {}
  for line, row in enumerate(rows, start=2):
    cells = {k: row[i] if i < len(row) else '' for k, i in columns.items()}
    if not any(cells.values()):
      continue
    try:
      film, fault = ids.normalize(cells['id']), ''
    except ValueError as error:
      film, fault = cells['id'], f'{str(error).rstrip(".")} (line {line})'
    lines.setdefault(film, []).append(line)
    if len(lines[film]) > 1:
      continue
    sex = _male(cells['sex'], 'male' in header[columns['sex']].lower())
    age = _age(cells['age'], age_unit)
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
    notes = _doubts(path, [label.age for label in labels], bool(told))
  return labels, bad, notes


def _doubts(
  path: str | os.PathLike, ages: list[float], told: bool
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


def _table(path: str | os.PathLike) -> tuple[list[str], list[list[str]]]:
  """Reads header and rows; every cell as stripped text."""
  if os.fspath(path).lower().endswith('.xlsx'):
    try:
      import openpyxl
    except ImportError as e:
      raise ValueError(
        f'{path}: reading Excel files needs openpyxl: pip install openpyxl, or '
        'save the table as .csv.'
      ) from e
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    rows = [
      ['' if c is None else str(c).strip() for c in row]
      for row in book.active.iter_rows(values_only=True)
    ]
    book.close()
  else:
    try:
      with open(path, newline='', encoding='utf-8-sig') as f:
        rows = [[c.strip() for c in row] for row in csv.reader(f)]
    except (UnicodeDecodeError, csv.Error) as e:
      raise ValueError(
        f'{path}: expected comma separated UTF-8 text ({e}).'
      ) from e
  return (rows[0], rows[1:]) if rows else ([], [])


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


def _age(cell: str, unit: str) -> float | None:
  """Returns months."""
  try:
    age = MONTHS[unit] * float(cell)
  except ValueError:
    return None
  return age if 0 <= age <= MAX_AGE else None  # nan compares false
