"""Files of this host that are whole and on the disk, or not there."""

import contextlib
import os
import threading


def write(path: str, data: bytes) -> None:
  """Write a file in one step, also in the place of another one."""
  with _written(path, data) as temporary:
    os.replace(temporary, path)


def write_once(path: str, data: bytes) -> None:
  """Write a file in one step, unless there is one: then that stays."""
  if os.path.exists(path):
    return
  with _written(path, data) as temporary, contextlib.suppress(FileExistsError):
    os.link(temporary, path)


def move(path: str, to: str) -> None:
  """Give a file another name, also in the place of another one."""
  os.replace(path, to)
  _sync_folder(os.path.dirname(to))


@contextlib.contextmanager
def _written(path: str, data: bytes):
  """Give the name of a file with these bytes, on the disk."""
  temporary = f'{path}.{os.getpid()}.{threading.get_ident()}.tmp'
  try:
    with open(temporary, 'wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    yield temporary
    _sync_folder(os.path.dirname(path))
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)


def _sync_folder(folder: str) -> None:
  """Bring the names in a folder to the disk, where the system can."""
  if os.name == 'posix':
    descriptor = os.open(folder or '.', os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)
