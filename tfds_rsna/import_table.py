"""Writes one table of films from the folders and tables of other data sets.

  python -m tfds_rsna.import_table rhpe DIR --out=films.csv
  python -m tfds_rsna.import_table dha DIR --ages=AGES.csv --out=films.csv

The table is for --config.data.table and evaluate external.
"""

import argparse
from collections.abc import Sequence
import os
import pathlib
import re

from boneage_jax.core import door
from boneage_jax.core import storage
from boneage_jax.core import tables

COLUMNS = ('file', 'sex', 'age_true', 'chronological_age', 'split')
# Folders of the Digital Hand Atlas, such as ASIF05: origin, sex, years.
DHA_FOLDER = re.compile('(?:ASI|BLK|CAU|HIS)([FM])[0-9]{2}')
SEX = {'true': 'M', 'false': 'F'}

Row = dict[str, str]


def rhpe(folder: pathlib.Path) -> list[Row]:
  """Reads RHPE_Boneage_train.csv and RHPE_Boneage_val.csv, below a folder.

  Their columns are ID, Male, Boneage and Chronological, in months; the films
  are RHPE_train/00001.png and so on, as the loader of its authors reads them.

  Raises:
    ValueError: there is no such table, or a column is missing.
  """
  rows = []
  for split, name in (('train', 'train'), ('validation', 'val')):
    for path in sorted(folder.rglob(f'*Boneage_{name}.csv')):
      films = _by_stem(folder / f'RHPE_{name}', '*.png')
      needs = ('id', 'male', 'boneage', 'chronological')
      for line in _lines(path, needs):
        stem = line['id'].zfill(5)
        rows.append(
          {
            'file': str(films.get(stem, folder / f'RHPE_{name}/{stem}.png')),
            'sex': SEX.get(line['male'].lower(), line['male']),
            'age_true': line['boneage'],
            'chronological_age': line['chronological'],
            'split': split,
          }
        )
  if not rows:
    raise ValueError(
      f'Expected RHPE_Boneage_train.csv below {folder}, found none: name the '
      'folder that holds RHPE_train, RHPE_val and the annotations.'
    )
  return rows


def dha(folder: pathlib.Path, ages: str) -> list[Row]:
  """Joins the films of the Digital Hand Atlas with a user's table of ages.

  Films are JPEGimages/ASIF/ASIF05/5262.jpg: the name of the folder says the
  sex, the name of the film its number.

  Args:
    folder: that holds such folders.
    ages: table of the user's, with the columns id (the number of a film) and
      boneage.

  Raises:
    ValueError: there are no such folders, or ages without a film. How many
      films have no age, and are left out, is said.
  """
  films = {
    stem: path
    for stem, path in _by_stem(folder, '*.jpg').items()
    if DHA_FOLDER.fullmatch(path.parent.name)
  }
  if not films:
    raise ValueError(
      f'Expected films such as JPEGimages/ASIF/ASIF05/5262.jpg below {folder}, '
      'found none: name the folder that holds JPEGimages.'
    )
  rows, lost = [], []
  for line in _lines(pathlib.Path(ages), ('id', 'boneage')):
    path = films.get(line['id'].removesuffix('.jpg'))
    if path is None:
      lost.append(line['id'])
      continue
    sex = DHA_FOLDER.fullmatch(path.parent.name)[1]
    row = {'file': str(path), 'sex': sex, 'age_true': line['boneage']}
    rows.append(row)
  if lost:
    raise ValueError(
      f'{ages}: {len(lost)} lines have no film below {folder}: '
      f'{", ".join(map(door.shown, lost))}. Add these films, or remove the '
      'lines.'
    )
  if len(rows) < len(films):
    door.say(
      f'{len(films) - len(rows)} of {len(films)} films below {folder} have no '
      f'age in {ages}: they are left out.'
    )
  return rows


def write(rows: Sequence[Row], out: str) -> None:
  """Writes a table; names of films are relative to its folder."""
  top = os.path.dirname(os.path.abspath(out))
  columns = [name for name in COLUMNS if any(row.get(name) for row in rows)]
  rows = [row | {'file': os.path.relpath(row['file'], top)} for row in rows]
  storage.make_folder(top)
  with storage.replacing(out) as file:
    tables.write_dicts(file, rows, columns)


def _by_stem(folder: pathlib.Path, pattern: str) -> dict[str, pathlib.Path]:
  return {path.stem: path for path in sorted(folder.rglob(pattern))}


def _lines(path: pathlib.Path, needs: Sequence[str]) -> list[Row]:
  """Reads a table by columns in small letters."""
  fold = lambda row: [name.strip().lower() for name in row]
  table = tables.read(
    path.read_bytes(), str(path), lambda row: set(needs) <= set(fold(row))
  )
  header = fold(table.header)
  missing = [name for name in needs if name not in header]
  if missing:
    raise ValueError(
      f'{path}: expected the columns {", ".join(needs)}, got no '
      f'{", ".join(missing)}: name the columns in its first line.'
    )
  tables.check_once(header, needs, str(path))
  return [row for _, row in table._replace(header=header).by_column()]


def main(argv: Sequence[str] | None = None) -> None:
  """Runs the command."""
  parser = argparse.ArgumentParser(
    prog='python -m tfds_rsna.import_table',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('layout', choices=('rhpe', 'dha'))
  parser.add_argument('folder', help='that holds the films')
  parser.add_argument('--ages', default='', help='of dha: columns id, boneage')
  parser.add_argument('--out', required=True, help='table to write')
  chosen = parser.parse_args(argv)
  if (chosen.layout == 'dha') != bool(chosen.ages):
    parser.error('expected --ages=TABLE with dha, and with it alone')
  with door.one_line_errors():
    folder = pathlib.Path(os.path.abspath(os.path.expanduser(chosen.folder)))
    rows = dha(folder, chosen.ages) if chosen.ages else rhpe(folder)
    write(rows, chosen.out)
    door.say(f'{chosen.out}: {len(rows)} films.')


if __name__ == '__main__':
  main()
