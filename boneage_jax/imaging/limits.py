"""How large one film may be, which is asked before it is decoded."""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import math
import os
import stat
import threading
from typing import Any
from typing import NamedTuple
import zlib

LARGE = 16_000_000  # pixels; such films are decoded one at a time
PIECE = 1 << 20  # bytes that are inflated at a time
FLOOR = threading.Lock()  # of this process: who holds it decodes a large film


class DamagedError(ValueError):
  """Deflated data that are not whole."""


class TooLargeError(ValueError):
  """A film is above a limit.

  Attributes:
    fact: what was expected and what came.
    remedy: the flag of a command that raises the limit.
  """

  def __init__(self, fact: str, remedy: str):
    """Say both."""
    super().__init__(f'{fact} {remedy}')
    self.fact, self.remedy = fact, remedy


class Limits(NamedTuple):
  """The most that is read of one film.

  Attributes:
    megapixels: rows times columns, in millions.
    megabytes: a file, and what is inflated of it, in millions.
  """

  megapixels: float = 64
  megabytes: float = 512


class Admission:
  """The limits of one film while it is decoded; see `admit`."""

  def __init__(self, limits: Limits | None = None, floor: Any = None):
    """Hold the limits, and the lock of large films if one is to be taken."""
    self.limits = limits or Limits()
    self._floor = floor
    self._holds = False

  def pixels(self, width: int, height: int) -> None:
    """Wait until a film of this size may be decoded.

    Raises:
      TooLargeError: it is too large.
    """
    if width * height > self.limits.megapixels * 1e6:
      wanted = math.ceil(width * height / 1e6)
      raise TooLargeError(
        f'Expected at most {self.limits.megapixels:g} megapixels, got '
        f'{width} x {height} ({wanted} megapixels).',
        remedy('max_megapixels', wanted),
      )
    if self._floor and width * height > LARGE and not self._holds:
      self._floor.acquire()
      self._holds = True

  def size(self, count: int) -> None:
    """Refuse what would be so many bytes, inflated or as a file."""
    if count > self.limits.megabytes * 1e6:
      raise too_many_bytes(self.limits.megabytes, count)

  def inflated(
    self, parts: Iterable[bytes], wbits: int = 15, library: Any = zlib
  ) -> Iterator[bytes]:
    """Yield the content of a deflated stream in pieces, as far as allowed.

    Args:
      parts: of the stream.
      wbits: its kind, as of zlib.
      library: zlib, or one like it.

    Raises:
      DamagedError: it does not inflate, or is cut off.
      ValueError: it is larger than the limit.
    """
    stream, count = library.decompressobj(wbits), 0
    for part in _slices(parts):
      left = part
      while not stream.eof:
        try:
          piece = stream.decompress(left, PIECE)
        except (zlib.error, library.error) as error:
          raise DamagedError(f'the data do not inflate ({error})') from error
        if not piece and not stream.unconsumed_tail:
          break
        count += len(piece)
        self.size(count)
        yield piece
        left = stream.unconsumed_tail
    if not stream.eof:
      raise DamagedError('the data do not inflate (incomplete or truncated)')

  def leave(self) -> None:
    """Let the next large film be decoded."""
    if self._holds:
      self._floor.release()
      self._holds = False


@contextlib.contextmanager
def admit(
  limits: Limits | None = None, floor: Any = FLOOR
) -> Iterator[Admission]:
  """Give the admission of one film, of which large ones wait for each other."""
  admission = Admission(limits, floor)
  try:
    yield admission
  finally:
    admission.leave()


def remedy(flag: str, wanted: int) -> str:
  """Say how to read a film nevertheless."""
  return (
    f'If it is a film, raise the limit with --{flag}={wanted} (of main: '
    f'--config.data.{flag}={wanted}).'
  )


def too_many_bytes(most: float, count: int) -> TooLargeError:
  """Say that something is larger than `most` megabytes."""
  wanted = math.ceil(count / 1e6)
  return TooLargeError(
    f'Expected at most {most:g} megabytes in a film, got '
    f'{"more" if wanted <= most + 2 else wanted}.',
    remedy('max_megabytes', max(wanted, 2 * math.ceil(most))),
  )


def read_file(path: str | os.PathLike, limits: Limits | None = None) -> bytes:
  """Read the file of a film.

  Raises:
    ValueError: it is no regular file, or larger than the limit.
    OSError: it cannot be read.
  """
  # Without waiting: a pipe might have no writer.
  flags = os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0)
  flags |= getattr(os, 'O_BINARY', 0)
  number = os.open(path, flags)
  try:
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode):
      raise ValueError(f'Expected a file, got {_kind(found.st_mode)}.')
    with open(number, 'rb', closefd=False) as f:
      return read_stream(f, found.st_size, limits)
  finally:
    os.close(number)


def read_stream(f: Any, size: int, limits: Limits | None = None) -> bytes:
  """Read a film of a stream that is said to have `size` bytes.

  Raises:
    ValueError: it says or has more than the limit.
  """
  limits = limits or Limits()
  most = int(limits.megabytes * 1e6)
  if size > most:
    raise too_many_bytes(limits.megabytes, size)
  data = f.read(most + 1)
  if len(data) > most:
    raise too_many_bytes(limits.megabytes, len(data))
  return data


def _slices(parts: Iterable[bytes]) -> Iterator[memoryview]:
  """Cut parts small, as what is left of one is copied at each step."""
  for part in parts:
    view = memoryview(part)
    for start in range(0, len(view), 1 << 16):
      yield view[start : start + (1 << 16)]


def _kind(mode: int) -> str:
  if stat.S_ISDIR(mode):
    return 'a folder'
  if stat.S_ISFIFO(mode):
    return 'a pipe'
  return 'a device or socket'
