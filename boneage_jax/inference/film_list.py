"""Which films a command names: files, folders, zip archives, DICOMDIR, tables.

In folders and archives the content of a file says whether it is a film. Our own
reports and pictures of films are none.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
import os
import stat
import threading
from typing import NamedTuple
import zipfile

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import tables
from boneage_jax.data import film_table
from boneage_jax.imaging import codec
from boneage_jax.imaging import dicom
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.imaging import two_hands as two_hands_lib
from boneage_jax.inference import dicomdir
from boneage_jax.inference import row_file

HEAD = 4096  # bytes that say what a file is
ZIP = (b'PK\x03\x04', b'PK\x05\x06')
PICTURE = ('picture',)  # column of our rows that names films' pictures
OFFICE = '[Content_Types].xml'  # of documents, whose pictures are no films
_DAMAGED = (
  *(zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError),
  *(ValueError, EOFError, LookupError),
)


class Film(NamedTuple):
  """One film that is to be read.

  Attributes:
    name: as rows say it; no other film has it.
    path: of its file, or of the archive that holds it.
    member: its name within the archive, else ''.
    listed: what a table says of it, or None.
    side: of the picture that is read, of `two_hands.SIDES`; '' is all of it.
    data: of the file, where it is in memory; else b''.
  """

  name: str
  path: str
  member: str = ''
  listed: film_table.Listed | None = None
  side: str = ''
  data: bytes = b''


class Found(NamedTuple):
  """What is to be read.

  Attributes:
    films: in order.
    bad: `FILE: reason` of what cannot be looked into.
    others: how many files were passed over in folders and archives.
  """

  films: list[Film]
  bad: list[str]
  others: int


class Archives:
  """Zip archives, each opened once; threads may read at the same time."""

  def __init__(self):
    """Open none yet."""
    self._lock = threading.Lock()
    self._open: dict[str, zipfile.ZipFile] = {}

  def get(self, path: str) -> zipfile.ZipFile:
    """Return an archive.

    Raises:
      ValueError: it is none, or damaged.
    """
    with self._lock:
      if path not in self._open:
        try:
          self._open[path] = zipfile.ZipFile(path)
        except _DAMAGED as error:
          raise ValueError(
            f'Cannot be read as a zip archive ({door.reason(error)}): copy it '
            'again, or unpack it and name the folder.'
          ) from error
      return self._open[path]

  def read(self, film: Film, limits: limits_lib.Limits | None) -> bytes:
    """Read the bytes of a film.

    Raises:
      ValueError: there is none, or it is too large.
      OSError: it cannot be read.
    """
    if film.data:
      return film.data
    if not film.member:
      return limits_lib.read_file(film.path, limits)
    archive = self.get(film.path)
    try:
      info = archive.getinfo(film.member)
    except KeyError:
      raise ValueError(f'There is no {film.member} in {film.path}.') from None
    if info.flag_bits & 1:
      raise ValueError('Encrypted: unpack the archive with its password.')
    try:
      with archive.open(info) as file:
        return limits_lib.read_stream(file, info.file_size, limits)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
      raise ValueError(
        f'Cannot be unpacked ({door.reason(error)}): copy the archive again.'
      ) from error

  def close(self) -> None:
    """Close all."""
    for archive in self._open.values():
      archive.close()


def cut(films: Sequence[Film], two_hands: str) -> list[Film]:
  """Return the parts of films to read, named FILM#left and FILM#right.

  Args:
    films: whole ones.
    two_hands: of `two_hands.CHOICES`; '' leaves them whole.
  """
  sides = two_hands_lib.SIDES if two_hands == 'both' else (two_hands,)
  named = lambda film, side: f'{film.name}#{side}' if side else film.name
  return [
    film._replace(name=named(film, side), side=side)
    for film in films
    for side in sides
  ]


def find(
  names: Sequence[str], archives: Archives, table: str = '', out: str = ''
) -> Found:
  """Find films, each once.

  Args:
    names: of files, folders (with all folders in them), zip archives, DICOMDIR.
    archives: that are opened.
    table: of films, see `film_table.read_listed`; '' for none.
    out: folder of pictures that are no films.

  Raises:
    ValueError: the table is not as expected.
  """
  search = _Search(archives, out)
  rows = film_table.read_listed(table) if table else []
  each = [_listed(row, table) for row in rows]
  for name in names:
    try:
      each += search.named(name)
    except (ValueError, OSError) as error:
      search.bad.append(door.shown(f'{name}: {door.reason(error)}'))
  return Found(list(_once(each)), search.bad, search.others)


def _place(film: Film) -> tuple[str, str]:
  return os.path.abspath(film.path), film.member


def _once(films: Sequence[Film]) -> Iterator[Film]:
  """Yield each film once, as it is named first, under a name of its own."""
  places, names = set(), set()
  for film in films:
    place = _place(film)
    if place in places:
      continue
    places.add(place)
    name = film.name
    if name in names:  # beside a table, and where the command runs
      name = door.shown('/'.join(filter(None, place)))
    names.add(name)
    yield film._replace(name=name)


def of_file(path: str) -> Film:
  """Return the film of a file."""
  return Film(door.shown(path), path)


class _Search:
  """Looks into what a user names, and counts what is passed over."""

  def __init__(self, archives: Archives, out: str):
    self.bad: list[str] = []
    self.others = 0
    self._archives, self._out = archives, out

  def named(self, path: str) -> Iterator[Film]:
    """Yield the films of a file, folder or archive that the user names."""
    if os.path.isdir(path):
      yield from self._folder(path)
      return
    head = _head(path) or b''
    if head.startswith(ZIP):
      yield from self._archive(path)
    elif dicomdir.is_one(path, head):
      for one in dicomdir.films(path):
        if dicom.is_own(_head(one) or b''):
          self.others += 1
        else:
          yield of_file(one)
    else:
      yield of_file(path)

  def _folder(self, top: str) -> Iterator[Film]:
    def say(error):
      self.bad.append(door.shown(door.reason(error)))

    seen = set()
    for folder, folders, files in os.walk(top, onerror=say, followlinks=True):
      info = os.stat(folder)
      place = info.st_dev, info.st_ino
      own = self._out and os.path.isdir(self._out)
      if place in seen or (own and os.path.samefile(folder, self._out)):
        folders.clear()
        continue
      seen.add(place)
      folders.sort()
      pictures = _pictures_of(folder, files)
      self.others += len(pictures.intersection(files))
      for name in sorted({*files} - pictures):
        yield from self._inside(os.path.join(folder, name))

  def _inside(self, path: str) -> Iterator[Film]:
    """Yield the films of a file in a folder, which may be anything."""
    head = _head(path)
    if head is None:
      self.bad.append(door.shown(f'{path}: Cannot be read.'))
    elif head.startswith(ZIP):
      try:
        yield from self._archive(path, in_folder=True)
      except ValueError as error:
        self.bad.append(door.shown(f'{path}: {error}'))
    elif _may_be_film(path, head):
      yield of_file(path)
    else:
      self.others += 1

  def _archive(self, path: str, in_folder: bool = False) -> Iterator[Film]:
    archive = self._archives.get(path)
    if in_folder and OFFICE in archive.namelist():
      self.others += 1
      return
    pictures = _pictures_in(archive)
    self.others += len(pictures.intersection(archive.namelist()))
    for info in archive.infolist():
      if info.is_dir() or info.filename in pictures:
        continue
      name = f'{path}/{info.filename}'
      try:
        with archive.open(info) as file:
          head = file.read(HEAD)
      except _DAMAGED:
        yield Film(door.shown(name), path, info.filename)  # said when read
        continue
      if _may_be_film(info.filename, head):
        yield Film(door.shown(name), path, info.filename)
      else:
        self.others += 1


def _head(path: str) -> bytes | None:
  """Return how a file begins: b'' of what is no file, None if unreadable."""
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):
      return b''
    with open(path, 'rb') as file:
      return file.read(HEAD)
  except OSError:
    return None


def _may_be_film(path: str, head: bytes) -> bool:
  """Whether a file in a folder is of a kind that is read, and not ours."""
  no_film = dicomdir.is_one(path, head) or dicom.is_own(head)
  return codec.is_film(head) and not no_film


def _pictures_of(folder: str, files: Sequence[str]) -> set[str]:
  """Return names of the pictures that `predict --out` left in a folder."""
  path = os.path.join(folder, stages.PREDICTIONS)
  if row_file.SETTINGS in files:
    with contextlib.suppress(OSError), open(path, 'rb') as file:
      return _pictures(file.read(), path)
  return set()


def _pictures_in(archive: zipfile.ZipFile) -> set[str]:
  """Return names of such pictures in an archive."""
  found, names = set(), set(archive.namelist())
  for name in names:
    folder, base = os.path.split(name)
    settings = os.path.join(folder, row_file.SETTINGS)
    if base == stages.PREDICTIONS and settings in names:
      with contextlib.suppress(*_DAMAGED):
        some = _pictures(archive.read(name), name)
        found |= {os.path.join(folder, one) for one in some}
  return found


def _pictures(table: bytes, path: str) -> set[str]:
  """Return the pictures of a table, whose last row may be cut off."""
  with contextlib.suppress(ValueError):
    text = io.StringIO(table[: table.rfind(b'\n') + 1].decode(), '')
    return {row['picture'] for row in tables.read_dicts(text, path, PICTURE)}
  return set()


def _listed(row: film_table.Listed, table: str) -> Film:
  """Return the film of a row, whose file may be `ARCHIVE.zip/NAME`."""
  path, member = row.place(table)
  return Film(door.shown(row.file), path, member, row)
