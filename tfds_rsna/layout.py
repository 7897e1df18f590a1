"""The public archive layouts: where tables and films lie, by their names."""

import collections
from collections.abc import Iterator
import contextlib
import errno
import lzma
import os
import re
import struct
from typing import NamedTuple
import zipfile
import zlib

from boneage_jax.core import door
from boneage_jax.core import ids
from boneage_jax.core import tables

# Split: name in texts, films of the full release, pattern of file names.
SPLITS = {
  'train': ('training', 12611, 'train'),
  'validation': ('validation', 1425, 'valid'),
  'test': ('test', 200, 'test|ground.?truth'),
}
# Builder config: longest side of its films in pixels; None keeps them.
LONG_SIDES = {'original': None, 'px768': 768, 'px512': 512}
FILMS = ('.png', '.jpg', '.jpeg', '.dcm', '.tif', '.tiff', '.bmp')
TABLES = ('.csv', '.tsv', '.xlsx')
READ = (*FILMS, *TABLES, '.zip')
# Methods of zip files that Python unpacks.
PACKED = (
  zipfile.ZIP_STORED,
  zipfile.ZIP_DEFLATED,
  zipfile.ZIP_BZIP2,
  zipfile.ZIP_LZMA,
)
EXTRAS = ('phantom.json', 'films.csv', 'faults.csv')  # read by others
SHOWN = 10  # files that are named in a message
LAYOUT = """Expected in the folder, zip files or extracted folders alike:
  boneage-training-dataset.csv     id,boneage,male
  boneage-training-dataset.zip     <id>.png (or .jpg, .dcm, .tif, .bmp)
and of the official release, where at hand:
  Validation Dataset.csv           Image ID, male, Bone Age (months)
  boneage-validation-dataset-1.zip, boneage-validation-dataset-2.zip
  Bone Age Ground Truth.xlsx       Case ID, Sex, Ground truth bone age (months)
  boneage-test-dataset.zip
and, where at hand, annotations/ (here or beside this folder). One zip file that
holds these files and folders is read as well."""


class Found(NamedTuple):
  """What lies in a folder; a file is (zip file or '', path or member).

  Attributes:
    tables: files of tables, by split.
    films: files of films, by split.
    unread: other files and folders, each with the reason.
    notes: what a user should know.
  """

  tables: dict[str, list[tuple[str, str]]]
  films: dict[str, list[tuple[str, str]]]
  unread: list[str]
  notes: list[str]


def find(manual_dir: str) -> Found:
  """Finds label tables and film files by the names of files and folders."""
  tables, films = (collections.defaultdict(list) for _ in range(2))
  unread, notes, zips, loose = [], [], [], []
  seen: set[tuple[int, int]] = set()
  unnamed = "no 'train', 'valid' or 'test' in its name"
  for folder, folders, names in os.walk(manual_dir, followlinks=True):
    folders[:] = sorted(d for d in folders if d != '__MACOSX' and d[0] != '.')
    # Links may lead in a circle, or twice to one place.
    folders[:] = [d for d in folders if _is_new(os.path.join(folder, d), seen)]
    if folder == manual_dir:  # whatever else lies there is not ours
      ours = [d for d in folders if _split_of(d)]
      unread += [
        f'{d}/ ({unnamed})'
        for d in folders
        if d not in ours and d != 'annotations'
      ]
      folders[:] = ours
    where = os.path.relpath(folder, manual_dir)
    for name in sorted(names):
      kind = os.path.splitext(name)[1].lower()
      path = os.path.join(folder, name)
      relative = os.path.normpath(os.path.join(where, name))
      split = _split_of(relative)
      if _is_hidden(name) or name in EXTRAS:
        continue
      if kind in FILMS and _split_of(where):
        loose.append((where, path))
      elif kind == '.zip':
        zips.append((split, path))
      elif kind in TABLES and split is not None:
        tables[split].append(('', path))
      elif kind in FILMS:
        unread.append(f'{relative} (no split in the name of its folder)')
      elif kind in TABLES:
        unread.append(f'{relative} ({unnamed})')
      else:
        unread.append(f'{relative} (not of {", ".join(READ)})')

  extracted = set()
  for split, path in zips:
    inside = _split_members(path, split, unread)
    for part, member in inside:
      is_table = member.lower().endswith(TABLES)
      (tables if is_table else films)[part].append((path, member))
      if not is_table:
        stem = os.path.splitext(os.path.basename(path))[0]
        extracted |= {stem, member.split('/')[0]}
    if split is not None and not inside:
      notes.append(f'{path} holds no films.')
  skipped = set()
  for where, path in loose:
    shadow = extracted.intersection(where.split(os.sep))
    skipped |= shadow
    if not shadow:
      films[_split_of(where)].append(('', path))
  notes += [
    f'{stem} is read from a zip file; the folder {stem} beside it is not.'
    for stem in sorted(skipped)
  ]
  return Found(tables, films, unread, notes)


def describe_unread(unread: list[str]) -> str:
  """Says in a line which files are not read; nothing where there are none."""
  if not unread:
    return ''
  more = f' and {len(unread) - SHOWN} more' if len(unread) > SHOWN else ''
  names = ', '.join(map(door.shown, unread[:SHOWN]))
  return f'Not read there: {names}{more}.\n'


def named(container: str, member: str) -> str:
  """Names a file, or a member of a zip file, in one line of plain letters."""
  return door.shown(os.path.join(container, member))


def read_bytes(container: str, member: str) -> bytes:
  """Reads a table: a file, or a member of a zip file.

  Of one that is too large for a table no more than `tables.read` needs to see.

  Raises:
    ValueError: the zip file is damaged.
  """
  most = tables.MOST_BYTES + 1
  if not container:
    with open(member, 'rb') as file:
      return file.read(most)
  with (
    _whole(container),
    zipfile.ZipFile(container) as archive,
    archive.open(member) as file,
  ):
    return file.read(most)


@contextlib.contextmanager
def _whole(path: str) -> Iterator[None]:
  """Names a zip file that Python fails to read, in one of many ways.

  Raises:
    ValueError: it is damaged.
  """
  try:
    yield
  except (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, OSError),
  ) as error:
    if getattr(error, 'errno', None) not in (None, errno.EINVAL):
      raise  # of the disk
    raise ValueError(
      f'{path} is not a whole zip file ({door.reason(error)}); fetch it again.'
    ) from error


def index(
  films: list[tuple[str, str]],
) -> tuple[dict[str, tuple[str, str, int]], dict[str, list[str]]]:
  """Indexes film files by id; also lists ids that have several files."""
  sizes = {}
  for container in {c for c, _ in films if c}:
    with zipfile.ZipFile(container) as z:
      sizes.update({(container, i.filename): i.file_size for i in z.infolist()})
  files, twice = {}, collections.defaultdict(list)
  for container, member in films:
    try:
      film = ids.normalize(os.path.basename(member))
    except ValueError:  # no table can name such a file
      continue
    size = sizes[container, member] if container else _size(member)
    files.setdefault(film, (container, member, size))
    twice[film].append(named(container, member))
  return files, {i: paths for i, paths in twice.items() if len(paths) > 1}


def _is_new(path: str, seen: set[tuple[int, int]]) -> bool:
  """Whether a folder was not seen before, which it is now."""
  try:
    found = os.stat(path)
  except OSError:
    return False
  place = found.st_dev, found.st_ino
  is_new = place not in seen
  seen.add(place)
  return is_new


def _size(path: str) -> int:
  """Returns the size of a file; 0 of a link to nothing, which is bad later."""
  return os.path.getsize(path) if os.path.exists(path) else 0


def _split_of(path: str) -> str | None:
  """Names the split by the deepest part of a relative path that tells it."""
  for part in reversed(path.split(os.sep)):
    for split, (_, _, pattern) in SPLITS.items():
      if re.search(pattern, part.lower()):
        return split
  return None


def _split_members(
  path: str, split: str | None, unread: list[str]
) -> list[tuple[str, str]]:
  """Returns tables and films of a zip file, each with its split.

  Args:
    path: of the zip file.
    split: that its name says; folders in it may say another.
    unread: gets what is left out.

  Raises:
    ValueError: one that is named as ours is no zip file.
  """
  try:
    with _whole(path), zipfile.ZipFile(path) as archive:
      infos = archive.infolist()
      members = [info.filename for info in infos]
  except ValueError:
    if split is None:
      unread.append(f'{os.path.basename(path)} (not a whole zip file)')
      return []
    raise
  _check_form(path, infos)
  found, name = [], os.path.basename(path)
  for member in members:
    *folders, last = member.split('/')
    if not last or _is_hidden(last) or '__MACOSX' in folders:
      continue
    kind = os.path.splitext(last)[1].lower()
    told = '/'.join(folders if kind in FILMS else (*folders, last))
    part = _split_of(told) or split
    if part is not None and kind in (*FILMS, *TABLES):
      found.append((part, member))
    elif kind == '.zip':
      unread.append(f'{name}/{member} (a zip in a zip: extract {name})')
    elif kind in FILMS:
      unread.append(f'{name}/{member} (no split in the name of its folder)')
    else:
      unread.append(f'{name}/{member}')
  return found


def _check_form(path: str, infos: list[zipfile.ZipInfo]) -> None:
  """Refuses a zip file as a whole that Python has no means to read.

  Raises:
    ValueError: films in it are encrypted, or packed in a way it does not know.
  """
  ours = [i for i in infos if i.filename.lower().endswith((*FILMS, *TABLES))]
  for info in ours:
    if info.flag_bits & 1:
      found = 'is encrypted'
    elif info.compress_type not in PACKED:
      kind = {9: 'Deflate64'}.get(info.compress_type, info.compress_type)
      found = f'is packed with method {kind}, which Python does not read'
    else:
      continue
    raise ValueError(
      f'{path} {found} ({door.shown(info.filename)}): extract it with another '
      'program, or pack the files anew (zip -r).'
    )


def _is_hidden(name: str) -> bool:
  """Whether a file is the system's, or Excel's while a table is open."""
  return name.startswith(('.', '~$'))
