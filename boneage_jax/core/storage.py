"""Files of a folder or a bucket; what is written appears whole or not at all.

A path is a name on this host's file system, or gs://BUCKET/... (package gcsfs)
or s3://BUCKET/... (s3fs).
"""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import glob as glob_lib
import hashlib
import importlib.util
import io
import json
import os
import shutil
import tempfile
from typing import IO
from typing import Any
import zipfile
import zlib

import fsspec

PACKAGES = {'gs': 'gcsfs', 's3': 's3fs'}
CACHE = '~/.cache/boneage_jax/buckets'


def is_remote(path: str) -> bool:
  """Whether the path is that of a bucket."""
  return '://' in os.fspath(path)


def absolute(path: str) -> str:
  """Make a path independent of the current folder.

  Raises:
    ValueError: another kind of URL, or a package is missing.
  """
  if not is_remote(path):
    return os.path.abspath(os.path.expanduser(path))
  kind = path.partition('://')[0]
  if kind not in PACKAGES:
    raise ValueError(f'Expected a folder, gs://... or s3://..., got {path}')
  if not importlib.util.find_spec(PACKAGES[kind]):
    raise ValueError(f"{path} needs a package: pip install -e '.[{kind}]'")
  return path.rstrip('/')


def _system(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
  # Others write there, too: what was listed once may not be remembered.
  return fsspec.core.url_to_fs(path, use_listings_cache=False)


def exists(path: str) -> bool:
  """Whether there is such a file or folder."""
  system, name = _system(path)
  return system.exists(name)


def make_folder(path: str) -> None:
  """Make a folder unless it is there; buckets need none."""
  if not is_remote(path):
    os.makedirs(path, exist_ok=True)


def glob(folder: str, *pattern: str) -> list[str]:
  """Sorted paths below a folder, whose own name is taken as it is.

  Args:
    folder: to look in.
    pattern: parts of a path below it, with *, ? or ** for any depth.
  """
  if not is_remote(folder):
    whole = os.path.join(glob_lib.escape(folder), *pattern)
    return sorted(glob_lib.glob(whole, recursive=True))
  system, name = _system(folder)
  found = system.glob('/'.join([glob_lib.escape(name), *pattern]))
  return sorted(map(system.unstrip_protocol, found))


def remove(path: str) -> None:
  """Remove a file, or a folder with all that is in it."""
  system, name = _system(path)
  system.rm(name, recursive=True)


def move(path: str, to: str) -> None:
  """Give a file or folder another name; what has that name is removed."""
  if exists(to):
    remove(to)
  make_folder(os.path.dirname(to))
  system, name = _system(path)
  system.mv(name, _system(to)[1], recursive=True)


def reading(path: str, mode: str = 'r') -> IO:
  """Open a file, all of it at once; 'r' (UTF-8, newlines as written) or 'rb'.

  Raises:
    FileNotFoundError: there is none.
  """
  system, name = _system(path)
  data = system.cat_file(name)
  return io.BytesIO(data) if mode == 'rb' else io.StringIO(data.decode(), '')


def put(source: str, path: str) -> None:
  """Copy a file of this host to a path, in one step."""
  system, name = _system(path)
  system.put_file(source, name)


@contextlib.contextmanager
def staged(path: str) -> Iterator[str]:
  """Give the name of a file on this host that becomes `path` once written.

  `path` keeps its former content if the block raises or is killed.
  """
  where = path
  if is_remote(path):
    where = os.path.join(tempfile.gettempdir(), os.path.basename(path))
  temporary = f'{where}.{os.getpid()}.tmp'  # processes may share a folder
  os.makedirs(os.path.dirname(where) or '.', exist_ok=True)
  try:
    yield temporary
    if is_remote(path):
      put(temporary, path)
    else:
      os.replace(temporary, path)
  except OSError as error:
    if error.filename in (None, temporary):  # say what was to be written
      error.filename = path
    raise
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
  """Say in one line that a library could not write a file.

  Raises:
    ValueError: the block raised what is no mistake of a user.
  """
  try:
    yield
  except (RuntimeError, OSError) as error:
    first = str(error).strip().partition('\n')[0]
    raise ValueError(
      f'Cannot write {path} ({first}): free some space, mend the disk or write '
      'elsewhere, and give the same command again.'
    ) from error


@contextlib.contextmanager
def replacing(path: str, mode: str = 'w') -> Iterator[IO]:
  """Open a file that takes the name `path` once it is written.

  Args:
    path: keeps its former content if the block raises or is killed.
    mode: 'w' (UTF-8, newlines as written) or 'wb'.
  """
  text = {} if 'b' in mode else {'newline': '', 'encoding': 'utf-8'}
  with staged(path) as temporary, open(temporary, mode, **text) as file:
    yield file


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
  """Name a file of ours whose content is not what it was when written.

  Raises:
    ValueError: the block failed on what it read; says what to do.
  """
  try:
    yield
  except (
    *(ValueError, LookupError, TypeError, AttributeError, EOFError),
    *(zipfile.BadZipFile, zlib.error),
  ) as error:
    if path in str(error):
      raise
    raise ValueError(
      f'{path} is damaged or of another kind ({type(error).__name__}: {error}):'
      ' remove it, and run again the stage or command that writes it.'
    ) from error


def read_json(
  path: str, missing: Any = None, keys: Iterable[str] = ()
) -> dict[str, Any]:
  """Read a JSON file; `missing`, unless None, where there is none.

  Args:
    path: of the file, which holds an object.
    missing: to return in its place.
    keys: that the object must have.

  Raises:
    ValueError: the file is damaged; names it.
  """
  if missing is not None and not exists(path):
    return missing
  with naming(path), reading(path) as file:
    found = json.load(file)
    if not isinstance(found, dict):
      raise TypeError(f'expected an object, got {type(found).__name__}')
    for key in keys:
      found[key]
  return found


def write_json(path: str, values: Any, indent: int | None = None) -> None:
  """Write a JSON file in one step."""
  with replacing(path) as file:
    json.dump(values, file, indent=indent)
    file.write('\n')


def here(folder: str) -> str:
  """Return a folder, or one on this host for what a bucket cannot take."""
  return _cached(folder) if is_remote(folder) else folder


def _cached(name: str) -> str:
  folder = hashlib.sha256(name.encode()).hexdigest()[:16]
  folder = os.path.join(os.path.expanduser(CACHE), folder)
  os.makedirs(folder, exist_ok=True)
  return folder


def local(path: str) -> str:
  """Return a file or folder, or the copy of a bucket's one on this host.

  A copy is made once, and again when what is in the bucket has changed.
  """
  if not is_remote(path):
    return path
  system, name = _system(path)
  found = system.find(name, detail=True)
  if not found:
    raise FileNotFoundError(path)
  state = [
    (each, info['size'], info.get('etag', info.get('ETag')))
    for each, info in sorted(found.items())
  ]
  copy = os.path.join(_cached(f'{path} {state}'), os.path.basename(path))
  if not os.path.exists(copy):
    part = f'{copy}.{os.getpid()}.tmp'
    system.get(list(found), [part + each[len(name) :] for each in found])
    try:
      os.rename(part, copy)
    except OSError:  # another process of this host was first
      shutil.rmtree(part)
  return copy
