"""A process that decodes films for `codec_pool`: films in, greys out.

Of one film it gets a line of JSON (`size`, `limits`, `seconds`) and the bytes.
It answers with a line when it has them, and one with what it found, behind
which the greys follow. Before a large film it asks, and waits for a line.
"""

import contextlib
import json
import os
import signal
import sys
from typing import Any
from typing import BinaryIO

import cv2

from boneage_jax.imaging import codec
from boneage_jax.imaging import dicom
from boneage_jax.imaging import limits as limits_lib

MEMORY = 1 << 30  # bytes over idle, for the default limits

try:
  import resource
except ImportError:  # Windows: no limit but the clock
  resource = None


def serve(films: BinaryIO, answers: BinaryIO) -> None:
  """Decode films until there are no more."""

  def say(message: dict[str, Any], *parts: Any) -> None:
    answers.write(json.dumps(message).encode() + b'\n')
    for part in parts:
      answers.write(part)
    answers.flush()

  say({})
  idle = _memory()
  while line := films.readline():
    task = json.loads(line)
    data = films.read(task['size'])
    limits = limits_lib.Limits(*task['limits'])
    _allow(idle, _needed(limits))
    say({})
    _stop_after(task['seconds'])
    try:
      with limits_lib.admit(limits, _Floor(films, say)) as admission:
        film = codec.read_here(data, admission)
      answer = {
        'shape': film.image.shape,
        'notes': film.notes,
        'header': dict(film.header),
        'plain': None if film.plain is None else len(film.plain),
      }
      if film.plain is data:
        answer['plain'] = 'same'
      parts = [film.image.reshape(-1).data]
      if film.plain is not None and film.plain is not data:
        parts.append(film.plain)
    except MemoryError:
      answer, parts = _refused(_too_much()), []
    except limits_lib.TooLargeError as error:
      answer, parts = _refused(error), []
    except Exception as error:  # decoders raise their own kinds on odd files
      answer, parts = {'error': codec.reason(error)}, []
    _stop_after(0)
    film = data = None
    with contextlib.suppress(OSError):  # forget what decoders said
      os.lseek(2, 0, os.SEEK_SET)
      os.ftruncate(2, 0)
    say(answer, *parts)


class _Floor:
  """Asks before a large film; who asked says when it is done."""

  def __init__(self, films: BinaryIO, say: Any):
    self._films, self._say = films, say

  def acquire(self) -> None:
    self._say({'large': True})
    if not self._films.readline():
      sys.exit()

  def release(self) -> None:
    """The answer says it."""


def _needed(limits: limits_lib.Limits) -> int:
  usual = limits_lib.Limits()
  more = max(a / b for a, b in zip(limits, usual, strict=True))
  return int(MEMORY * max(more, 1))


def _too_much() -> limits_lib.TooLargeError:
  return limits_lib.TooLargeError(
    f'Decoding needs more than {MEMORY >> 30} GiB of memory.',
    limits_lib.remedy('max_megabytes', 1024),
  )


def _refused(error: limits_lib.TooLargeError) -> dict[str, str]:
  return {'error': error.fact, 'remedy': error.remedy}


def _memory() -> int | None:
  """Return bytes of data that this process has, where the system says it."""
  try:
    with open('/proc/self/status', encoding='ascii') as f:
      sizes = [line.split()[1] for line in f if line.startswith('VmData')]
    return int(sizes[0]) << 10
  except (OSError, IndexError, ValueError):
    return None


def _allow(idle: int | None, more: int) -> None:
  if resource is not None and idle is not None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = idle + more
    if hard != resource.RLIM_INFINITY:
      most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _stop_after(seconds: float) -> None:
  """Let the system end this process after so much work, or not (0)."""
  if hasattr(signal, 'setitimer'):
    signal.setitimer(signal.ITIMER_PROF, seconds)


def main() -> None:
  """Serve on stdin and stdout, to which no decoder may write."""
  answers = os.fdopen(os.dup(1), 'wb')
  os.dup2(2, 1)
  if resource is not None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  cv2.setNumThreads(1)
  with contextlib.suppress(ValueError):  # a TIFF needs no pydicom
    dicom.import_pydicom()
  serve(sys.stdin.buffer, answers)


if __name__ == '__main__':
  main()
