"""Archives to be changed by `fuzz_films`: zips of films, and label tables."""

import io
import pathlib
import tempfile
import zipfile

import cv2
import numpy as np

from boneage_jax.imaging import codec
from tfds_rsna import archive
from tfds_rsna import layout

NAME = 'boneage-training-dataset'
ROWS = [('id', 'boneage', 'male'), *((i, 30 * i, i % 2 == 0) for i in (1, 2))]


def seeds() -> list[bytes]:
  """Return sound zips and tables, in all forms that are read."""
  comma, semicolon = (_table(mark) for mark in ',;')
  tables = [comma.encode(), semicolon.encode('utf-16')]
  tables += [f'Bone ages\n\n{comma}\n'.encode()]
  films = {f'{NAME}/{i}.png': _film(i) for i in (1, 2)}
  zips = [
    _zip(films | more, how)
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    for more in ({}, {f'{NAME}.csv': comma.encode()})
  ]
  return [*zips, *tables, *_sheets()]


def read(data: bytes) -> None:
  """Read a zip, or a table, as part of an archive whose other part is sound.

  Raises:
    ValueError: it is refused, or one of its films.
  """
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    is_sheet = b'xl/w' in data
    if data.startswith(b'PK') and not is_sheet:
      outer = f'{NAME}.csv'.encode() in data
      (folder / ('all.zip' if outer else f'{NAME}.zip')).write_bytes(data)
      table = b'' if outer else _table(',').encode()
    else:
      (folder / NAME).mkdir()
      (folder / NAME / '1.png').write_bytes(_film(1))
      table = data
    if table:
      suffix = 'xlsx' if is_sheet else 'csv'
      (folder / f'{NAME}.{suffix}').write_bytes(table)
    try:
      found = archive.read(folder)
    except ValueError as error:
      # Where nothing is found, the lines of the layout are shown.
      said = str(error).replace(layout.LAYOUT, '').replace('\nNot read', ' Not')
      raise ValueError(said.strip()) from error
    for films in found.films.values():
      for film in films:
        try:
          codec.read(film.read())
        except Exception as error:  # as in tfds_rsna/shards.py
          raise ValueError(codec.reason(error)) from error


def _table(mark: str) -> str:
  return '\n'.join(mark.join(map(str, row)) for row in ROWS)


def _film(seed: int) -> bytes:
  rng = np.random.default_rng(seed)
  film = rng.integers(0, 256, (20, 14), np.uint8)
  return cv2.imencode('.png', film)[1].tobytes()


def _zip(members: dict[str, bytes], how: int) -> bytes:
  out = io.BytesIO()
  with zipfile.ZipFile(out, 'w', how) as file:
    for name, data in members.items():
      file.writestr(name, data)
  return out.getvalue()


def _sheets() -> list[bytes]:
  """Return a table as an Excel file; nothing without the package."""
  try:
    import openpyxl
  except ImportError:
    return []
  book = openpyxl.Workbook()
  for row in ROWS:
    book.active.append(list(row))
  out = io.BytesIO()
  book.save(out)
  return [out.getvalue()]
