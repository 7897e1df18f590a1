"""predictions.csv of new films, written by one process or by several.

Rows are written as they come, and what is written stays. A command that goes on
skips the films that have rows. Processes that share a folder claim each film by
a lock on one byte of a file, which the system frees if they die.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import errno
import hashlib
import io
import os
from typing import Any

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables

try:
  import fcntl
except ImportError:  # Windows: one process at a time
  fcntl = None

SETTINGS = 'predictions.json'
LOCK = '.lock'
CLOSE = 1e-3  # months, by which other batches and machines may differ
# A file system without locks: whoever shares a folder there reads films twice.
_NONE = (*(errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),)


def settings(folder: str) -> dict[str, Any]:
  """Return what the rows of a folder depend on; {} where there are none."""
  return storage.read_json(os.path.join(folder, SETTINGS), {})


class RowFile:
  """Rows of films by name, in a folder; a context."""

  def __init__(self, folder: str):
    """Make the folder, and look at what is there.

    Raises:
      OSError: it cannot be written.
      ValueError: there is another table, or a damaged one.
    """
    os.makedirs(folder, exist_ok=True)
    self._folder = folder
    self._path = os.path.join(folder, stages.PREDICTIONS)
    self._columns: list[str] = []
    self._names: set[str] = set()
    self._place, self._read = None, 0  # of the file that was read, how far
    self._claims: dict[str, int] = {}
    self._lock = open(os.path.join(folder, LOCK), 'ab')  # noqa: SIM115
    with self._alone():
      self._refresh()

  def __enter__(self) -> 'RowFile':
    return self

  def __exit__(self, *error: object) -> None:
    self._lock.close()  # with all claims

  def __contains__(self, name: str) -> bool:
    return name in self._names

  def check(self, now: Mapping[str, Any]) -> None:
    """Write the settings of a new table, or compare with those of an old one.

    Numbers within `ages` may differ by CLOSE.

    Raises:
      ValueError: rows would be of other nets or settings than those there.
    """
    with self._alone():
      before = settings(self._folder)
      if not before:
        if self._names:
          raise ValueError(
            f'Expected no {self._path}, or one whose {SETTINGS} says how it '
            'was made, got rows alone: give another --out, or remove the file.'
          )
        path = os.path.join(self._folder, SETTINGS)
        storage.write_json(path, dict(now), indent=1)
        return
    other = [
      name
      for name in sorted({*before, *now})
      if not _same(name, before.get(name), now.get(name))
    ]
    if other:
      raise ValueError(
        f'{self._path} has rows of other nets or settings '
        f'({", ".join(other)} differ, see {SETTINGS}): give another --out, '
        'the former flags, or remove that folder.'
      )

  def check_cells(self, told: Mapping[str, Mapping[str, str]]) -> None:
    """Check that rows say of their films what a user's table says now.

    Args:
      told: cells by column, of films by name.

    Raises:
      ValueError: the table was changed since.
    """
    with self._alone():
      self._mend()
      rows = self._rows()
    other = [
      f'{row["file"]}: {name} {row.get(name) or "none"}, now {cell or "none"}'
      for row in rows
      for name, cell in told.get(row['file'], {}).items()
      if (row.get(name) or '') != cell
    ]
    if other:
      raise ValueError(
        f'The table says other things than {len(other)} cells of {self._path} '
        f'({"; ".join(other[:3])}): give another --out, or remove the lines of '
        'these films there.'
      )

  def claim(self, name: str) -> bool:
    """Whether a film is to be read here: it has no row, and nobody reads it."""
    if name in self._names:
      return False
    place = 1 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    if not self._take(place, wait=False):
      return False
    self._claims[name] = place
    self._refresh()  # whoever read it, has written its row before
    return name not in self._names

  def add(self, row: Mapping[str, str]) -> None:
    """Write the row of a film, by its cell `file`.

    Raises:
      OSError: it cannot be written; nothing is left of it.
    """
    with self._alone():
      self._refresh()
      self._mend()
      columns = list(dict.fromkeys([*self._columns, *row]))
      if columns == self._columns:
        self._append(row)
      else:  # the first, or nets of another kind, that say more
        rows = [*self._rows(), row]
        with storage.replacing(self._path) as file:
          tables.write_dicts(file, rows, columns)
      self._refresh()
    if place := self._claims.pop(row['file'], 0):
      self._free(place)

  def finish(self, order: Sequence[str]) -> list[dict[str, str]]:
    """Sort rows by the order of films; return them."""
    with self._alone():
      rows = self._rows() if self._place else []
      places = {name: k for k, name in enumerate(order)}
      key = lambda row: places.get(row['file'], len(places))
      found = sorted(rows, key=key)
      if found != rows:
        with storage.replacing(self._path) as file:
          tables.write_dicts(file, found, self._columns)
        self._refresh()
      return found

  def _rows(self) -> list[dict[str, str]]:
    if not self._place:
      return []
    with open(self._path, encoding='utf-8', newline='') as file:
      return tables.read_dicts(file, self._path, ('file',))

  def _refresh(self) -> None:
    """Learn the names of rows that were written since the last time."""
    try:
      info = os.stat(self._path)
    except FileNotFoundError:
      self._names, self._place, self._read = set(), None, 0
      self._columns = []
      return
    place = info.st_dev, info.st_ino
    if place == self._place and info.st_size == self._read:
      return
    with open(self._path, 'rb') as file:
      info = os.fstat(file.fileno())
      place = info.st_dev, info.st_ino
      if place != self._place or info.st_size < self._read:
        self._names, self._place, self._read = set(), place, 0
      header = file.readline()
      start = self._read or len(header)
      file.seek(start)
      data = file.read()
    data = data[: data.rfind(b'\n') + 1]  # a line may be half written
    text = io.StringIO((header + data).decode(), newline='')
    rows = tables.read_dicts(text, self._path, ('file',))
    self._names |= {row['file'] for row in rows}
    # Names of ours have no commas.
    self._columns = header.decode().rstrip('\n').split(',')
    self._read = start + len(data)

  def _mend(self) -> None:
    """Cut off the line that a killed process did not finish."""
    if self._place and os.path.getsize(self._path) > self._read:
      os.truncate(self._path, self._read)

  def _append(self, row: Mapping[str, str]) -> None:
    line = io.StringIO()
    tables.Writer(line).writerow(row.get(c, '') for c in self._columns)
    data = line.getvalue().encode()
    with open(self._path, 'ab', buffering=0) as file:
      try:
        if file.write(data) < len(data):
          raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
      except OSError:
        file.truncate(self._read)
        raise

  @contextlib.contextmanager
  def _alone(self) -> Iterator[None]:
    """Let no other process write meanwhile."""
    self._take(0, wait=True)
    try:
      yield
    finally:
      self._free(0)

  def _take(self, place: int, wait: bool) -> bool:
    """Lock a byte; False where another process has it."""
    if fcntl is None:
      return True
    kind = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    try:
      fcntl.lockf(self._lock, kind, 1, place)
    except OSError as error:
      if error.errno in (errno.EACCES, errno.EAGAIN):
        return False
      if error.errno not in _NONE:
        raise
    return True

  def _free(self, place: int) -> None:
    if fcntl is not None:
      with contextlib.suppress(OSError):
        fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, place)


def _same(name: str, before: Any, now: Any) -> bool:
  if name != 'ages' or not before or not now or set(before) != set(now):
    return before == now
  return all(abs(before[sex] - now[sex]) <= CLOSE for sex in before)
