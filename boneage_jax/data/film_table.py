"""Tables of films: columns of equal length, films.csv, and those of users."""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import os
import types
from typing import NamedTuple

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import scalars
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import groups
from tfds_rsna import labels

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
# Then those of scalars.SCALARS that any film has; NaN in memory and '' in the
# file where it is not known.


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
    for name in scalars.of(rows[0] if rows else {}):
      films[name] = np.array([row[name] or 'nan' for row in rows], np.float32)
    return films | {'sex': groups.sex_number(row['sex'] for row in rows)}


def write_films(path: str, films: Films) -> None:
  """Write a films.csv in one step; study, finding, marks need not be there."""
  empty = np.full(len(films['id']), '')
  films = {'study': films['id'], 'finding': empty, 'marks': empty} | films
  with storage.replacing(path) as file:
    writer = tables.Writer(file)
    known = scalars.of(films)
    writer.writerow([*COLUMNS, *known])
    films = films | {'sex': groups.sex_text(films['sex'])}
    columns = [np.asarray(films[name], COLUMNS[name]) for name in COLUMNS]
    columns += [
      ['' if np.isnan(x) else x for x in column] for column in known.values()
    ]
    writer.writerows(zip(*columns, strict=True))


def select(films: Films, keep: np.ndarray) -> Films:
  """Return the rows of a mask or an index array."""
  return {name: column[keep] for name, column in films.items()}


def check_inputs(films: Films, names: tuple[str, ...], stage: str) -> None:
  """Check that each film has the numbers that the net of a stage reads.

  Args:
    films: that train, choose or judge it.
    names: inputs of the net; those of `scalars.SCALARS` are looked at.
    stage: is named.

  Raises:
    ValueError: a film has none; names it, the column and the remedy.
  """
  for name in scalars.inputs(names):
    empty = np.full(len(films['id']), np.nan, np.float32)
    missing = films['id'][~np.isfinite(films.get(name, empty))].tolist()
    if missing:
      raise ValueError(
        f'Expected the {name} of every film, as the net of {stage} reads it, '
        f'but {len(missing)} of {len(films["id"])} films have none, such as '
        f'{", ".join(missing[:5])}: write it ({scalars.SCALARS[name].unit}) in '
        f'the column {name} of the table of films, or leave these films out, '
        'and prepare the data in a new --workdir; or take a net without it '
        f'(--config.{stage}.net.extra_inputs="()").'
      )


# Tables of new films, of a user's own.

SEXES = {'m': 'M', 'male': 'M', 'f': 'F', 'female': 'F', 'unknown': 'unknown'}
# In a column that is called so, and no other.
MALE = {'true': 'M', '1': 'M', 'false': 'F', '0': 'F'}
SPLITS = {
  **{name: 'train' for name in ('train', 'training')},
  **{name: 'validation' for name in ('validation', 'valid', 'val')},
  'test': 'test',
}


class Listed(NamedTuple):
  """A row of a user's table of films.

  Attributes:
    file: of the film, as written; if not absolute, beside the table.
    sex: 'M', 'F', 'unknown', or '' where the table does not say.
    age_true: bone age, months, or None.
    scalars: numbers that nets may read, of `scalars.SCALARS`, where known.
    group: of the user's, such as the patient, or ''.
    id: as written, or ''.
    split: 'train', 'validation', 'test', or '' where the table does not say.
    line: of the table, from 1.
  """

  file: str
  sex: str
  age_true: float | None
  scalars: Mapping[str, float]
  group: str
  id: str = ''
  split: str = ''
  line: int = 0

  def place(self, table: str) -> tuple[str, str]:
    """Return the path of the film's file, or of the archive that has it.

    Args:
      table: path of the table.

    Returns:
      the path, and the name of the film in it: '' of a plain file.
    """
    path = os.path.join(os.path.dirname(storage.absolute(table)), self.file)
    archive = path
    while not os.path.exists(archive) and archive != os.path.dirname(archive):
      archive = os.path.dirname(archive)
    with contextlib.suppress(OSError):
      if archive != path and os.path.isfile(archive):
        return archive, path[len(archive) + 1 :].replace(os.sep, '/')
    return path, ''


def listed() -> tuple[str, ...]:
  """Name the columns of a table, which are called so by default."""
  return (
    *('file', 'sex', 'age_true', *scalars.SCALARS, 'group', 'id', 'split'),
  )


def read_listed(
  path: str,
  needs: Collection[str] = (),
  columns: Mapping[str, str] = types.MappingProxyType({}),
  age_unit: str = labels.UNITS[0],
) -> list[Listed]:
  """Read a user's table of films, of any form that `tables.read` knows.

  Its columns are `file` and `sex`, and perhaps others of `listed`; more are
  left alone.

  Args:
    path: of the table.
    needs: columns of which each row must say something.
    columns: the user's names of columns, by ours; '' of one that is not read.
      Others have our names.
    age_unit: of its ages, of `labels.UNITS`.

  Raises:
    ValueError: a column is missing, or cells are wrong; names all of them.
  """
  rows, faults = parse_listed(path, needs, columns, age_unit)
  refuse(path, faults)
  return rows


def refuse(path: str, faults: Sequence[tuple[int, str, str]]) -> None:
  """Refuse a table with faults: line, column, what is wrong and its remedy.

  Raises:
    ValueError: there are faults; names all of them.
  """
  if not faults:
    return
  lines = [
    f'  line {line}, {column}: {text}.' for line, column, text in sorted(faults)
  ]
  count = '1 fault' if len(faults) == 1 else f'{len(faults)} faults'
  raise ValueError('\n'.join([f'{path}: {count}.', *lines]))


def parse_listed(
  path: str,
  needs: Collection[str],
  columns: Mapping[str, str],
  age_unit: str,
) -> tuple[list[Listed], list[tuple[int, str, str]]]:
  """Return the rows of a table, and its faults: see `read_listed`, `refuse`."""
  with storage.reading(path, 'rb') as file:
    data = file.read()
  fold = lambda row: [name.strip().lower() for name in row]
  theirs = {name: columns.get(name, name) for name in listed()}
  lowered = {name: column.strip().lower() for name, column in theirs.items()}
  must = {lowered['file'], lowered['sex']}
  table = tables.read(data, path, lambda row: must <= set(fold(row)))
  header = fold(table.header)
  renamed = [n for n in listed() if columns.get(n, n) not in (n, '')]
  asked = ('file', 'sex', *needs, *renamed)
  missing = dict.fromkeys(
    theirs[name] for name in asked if lowered[name] not in header
  )
  if missing:
    raise ValueError(
      f'{path}: expected a table with the columns {theirs["file"]} and '
      f'{theirs["sex"]} (and, where they are known, age_true, '
      'chronological_age, group), got no '
      f'{", ".join(missing)}, only {", ".join(header)}: name the columns in '
      'its first line' + (', or set data.columns.' if columns else '.')
    )
  tables.check_once(header, filter(None, lowered.values()), path)
  sexes = SEXES | (MALE if lowered['sex'] == 'male' else {})
  rows: list[Listed] = []
  faults: list[tuple[int, str, str]] = []
  lines: dict[str, int] = {}
  folder = os.path.dirname(storage.absolute(path))
  for line, row in table.rows:
    by_column = dict(zip(header, row, strict=False))
    cells = {
      name: by_column.get(column, '') if column else ''
      for name, column in lowered.items()
    }
    found, wrong = _listed(line, cells, sexes, age_unit)
    if len(row) > len(header) and any(row[len(header) :]):
      wrong['file'] = 'the line has more cells than the header: quote commas'
    wrong |= {
      name: 'the cell is empty: fill it, or remove the line'
      for name in ('file', *needs)
      if not cells[name]
    }
    # However it is written, such as with a dot or the whole path.
    place = os.path.abspath(os.path.join(folder, found.file))
    before = lines.setdefault(place, line)
    if before != line and 'file' not in wrong:
      wrong['file'] = (
        f'{door.shown(found.file)} is the film of line {before}, too: keep one'
      )
    rows.append(found)
    faults += [(line, theirs[name], text) for name, text in wrong.items()]
  if not rows:
    raise ValueError(f'{path}: expected films below the header, got none.')
  return rows, faults


def _listed(
  line: int, cells: Mapping[str, str], sexes: Mapping[str, str], age_unit: str
) -> tuple[Listed, dict[str, str]]:
  """Return a row, and by column what is wrong with its cells."""
  wrong, numbers, known = {}, {}, {}
  kinds = {'age_true': ('months', labels.MAX_AGE)}
  kinds |= {name: (one.unit, one.most) for name, one in scalars.SCALARS.items()}
  for name, (unit, most) in kinds.items():
    # Numbers of other units than those of ages stay as they are.
    theirs = age_unit if unit == 'months' else labels.UNITS[0]
    number = labels.months(cells[name], theirs, most)
    if number is not None:
      numbers[name] = number
    elif cells[name]:
      wrong[name] = (
        f'{cells[name]!r} is no number of '
        f'{theirs if unit == "months" else unit} from 0 to '
        f'{most // labels.MONTHS[theirs]:g}: mend it'
      )
  for name, words in (('sex', sexes), ('split', SPLITS)):
    known[name] = words.get(cells[name].lower(), '')
    if cells[name] and not known[name]:
      names = ', '.join(dict.fromkeys(words.values()))
      wrong[name] = f'{cells[name]!r} is none of {names}: write one of these'
  row = Listed(
    *(cells['file'], known['sex'], numbers.pop('age_true', None), numbers),
    group=door.shown(cells['group']),
    id=cells['id'],
    split=known['split'],
    line=line,
  )
  return row, wrong
