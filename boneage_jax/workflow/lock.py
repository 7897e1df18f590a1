"""One command at a time in the folder of a run."""

from collections.abc import Iterator
import contextlib
import errno
import json
import os
import socket
import sys
import time
from typing import IO

from boneage_jax.core import storage

FILE = '.lock'
# A file system without locks, or a folder that nobody writes to.
_NONE = (
  *(errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
  *(errno.EROFS, errno.EACCES, errno.EPERM),
)


@contextlib.contextmanager
def held(workdir: str) -> Iterator[None]:
  """Hold the lock of a run; the system frees that of a process that dies.

  In a bucket there is none, and none where files cannot be locked.

  Raises:
    ValueError: another process holds it; says which.
  """
  with contextlib.ExitStack() as stack:
    if not storage.is_remote(workdir):
      storage.make_folder(workdir)
      try:
        path = os.path.join(workdir, FILE)
        file = stack.enter_context(open(path, 'a+', encoding='utf-8'))
        _take(file, workdir)
      except OSError as error:
        if error.errno not in _NONE:
          raise
    yield


def _take(file: IO[str], workdir: str) -> None:
  import fcntl  # not on Windows

  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    file.seek(0)
    raise ValueError(
      f'{workdir} is in use by {_holder(file.read())}: wait until that ends, '
      'stop it, or give another --workdir.'
    ) from None
  file.truncate(0)
  holder = {
    'process': os.getpid(),
    'host': socket.gethostname(),
    'since': time.strftime('%Y-%m-%d %H:%M:%S'),
    'command': ' '.join(sys.argv),
  }
  json.dump(holder, file)
  file.flush()


def _holder(text: str) -> str:
  """Say who holds a lock, as `_take` wrote it."""
  try:
    known = json.loads(text)
    return (
      f'process {known["process"]} on {known["host"]} since {known["since"]} '
      f'({known["command"]})'
    )
  except (ValueError, LookupError, TypeError):  # it is writing that
    return 'another process'
