"""Decoding in other processes, of what can crash, hang or fill the memory.

A film that ends a worker, by a fault of native code, by its time or by its
memory, is refused by name, and the next film gets a new worker. A worker is
`python -m boneage_jax.imaging.codec_worker`, which reads films from a pipe and
writes what it found; `multiprocessing` would run a user's script again.
"""

import atexit
import contextlib
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any
from typing import NamedTuple

import numpy as np

from boneage_jax.imaging import limits as limits_lib

SECONDS = 10  # of a worker's processor, for one film
PATIENCE = 30  # times as long on the clock, where others use the processor too
ENDED = 'The film ended the process that decoded it'
MODULE = 'boneage_jax.imaging.codec_worker'
_ROOT = str(pathlib.Path(__file__).parents[2])
_idle: list['_Worker'] = []
_lock = threading.Lock()


class Found(NamedTuple):
  """What a worker found: the fields of `codec.Film`."""

  image: np.ndarray
  plain: bytes | None
  notes: tuple[str, ...]
  header: dict[str, Any]


def read(data: bytes, limits: limits_lib.Limits | None = None) -> Found:
  """Decode a film in a worker.

  Raises:
    ValueError: it is refused (`limits.TooLargeError` above a limit), or it
      ended the worker.
    OSError: no worker can be started.
  """
  limits = limits or limits_lib.Limits()
  for last in (False, True):
    worker = _take()
    try:
      found = worker.read(data, limits)
    except BaseException as error:
      if isinstance(error, (_RefusedError, limits_lib.TooLargeError)):
        _give(worker)
      else:  # also Ctrl-C: what it says next is of a film that nobody wants
        worker.end()
      if isinstance(error, _GoneError) and not last:
        continue
      raise
    _give(worker)
    return found


def start() -> None:
  """Start a worker that the first film will find ready."""
  _give(_Worker())


class _GoneError(ValueError):
  """The worker ended before it had the film."""


class _RefusedError(ValueError):
  """The worker is well, the film is not."""


class _Worker:
  """A process that decodes one film at a time."""

  def __init__(self):
    # One folder is searched before all others; Python's own would be the
    # working directory, where films lie, and perhaps a `json.py`.
    paths = [_ROOT, os.environ.get('PYTHONPATH', '')]
    env = {
      **os.environ,
      'PYTHONPATH': os.pathsep.join(filter(None, paths)),
      'OPENBLAS_NUM_THREADS': '1',
    }
    self._said = tempfile.TemporaryFile()  # noqa: SIM115  (`end` closes it)
    self._process = subprocess.Popen(
      [sys.executable, '-P', '-m', MODULE],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._said,
      env=env,
      start_new_session=True,  # Ctrl-C is for us
    )
    self._pipe = self._process.stdout
    self._ready = False

  def wait_until_ready(self) -> None:
    """Wait for the process to start.

    Raises:
      OSError: it does not.
    """
    if self._ready:
      return
    try:
      self._message()
      self._ready = True
    except EOFError:
      self._said.seek(0)
      words = self._said.read().decode(errors='replace').split('\n')
      self.end()
      raise OSError(
        errno.EAGAIN,
        f'The decoding process `{sys.executable} -m {MODULE}` does not start: '
        f'{" ".join(words[-2:]).strip()}',
      ) from None

  def read(self, data: bytes, limits: limits_lib.Limits) -> Found:
    """Let the process decode a film."""
    holds = late = False
    seconds = SECONDS * PATIENCE
    task = {'size': len(data), 'limits': limits, 'seconds': SECONDS}

    def stop():
      nonlocal late
      late = True
      self._process.kill()

    def clock():
      timer = threading.Timer(seconds, stop)
      timer.daemon = True
      timer.start()
      return timer

    timer, kind = None, _GoneError
    try:
      self._process.stdin.write(json.dumps(task).encode() + b'\n')
      self._process.stdin.write(data)
      self._process.stdin.flush()
      self._message()  # it has the film
      kind = ValueError
      timer = clock()
      said = self._message()
      if said.get('large'):
        timer.cancel()
        holds = limits_lib.FLOOR.acquire()
        self._process.stdin.write(b'\n')
        self._process.stdin.flush()
        timer = clock()
        said = self._message()
      timer.cancel()
      return self._found(said, data)
    except (EOFError, OSError):
      raise kind(self._why(late)) from None
    finally:
      if timer:
        timer.cancel()
      if holds:
        limits_lib.FLOOR.release()

  def is_well(self) -> bool:
    """Whether the process waits for a film."""
    return self._process.poll() is None

  def end(self) -> None:
    """End the process."""
    self._process.kill()
    self._process.wait()
    for pipe in (self._process.stdin, self._pipe, self._said):
      with contextlib.suppress(OSError):  # a film that it did not take
        pipe.close()

  def _message(self) -> dict[str, Any]:
    line = self._pipe.readline()
    if not line.endswith(b'\n'):
      raise EOFError
    return json.loads(line)

  def _found(self, said: dict[str, Any], data: bytes) -> Found:
    if 'remedy' in said:
      raise limits_lib.TooLargeError(said['error'], said['remedy'])
    if 'error' in said:
      raise _RefusedError(said['error'])
    image = np.empty(said['shape'], np.uint8)
    view, done = memoryview(image).cast('B'), 0
    while done < len(view):
      count = self._pipe.readinto(view[done:])
      if not count:
        raise EOFError
      done += count
    plain = data if said['plain'] == 'same' else None
    if isinstance(said['plain'], int):
      plain = self._pipe.read(said['plain'])
    return Found(image, plain, tuple(said['notes']), said['header'])

  def _why(self, late: bool) -> str:
    """Say what ended the process."""
    try:
      code = self._process.wait(5)
    except subprocess.TimeoutExpired:  # it closed the pipe alone
      self._process.kill()
      code = self._process.wait()
    remedy = (
      'It is damaged, or its decoder has a fault: copy the file again, or '
      'export it as PNG or uncompressed.'
    )
    if late or code == -getattr(signal, 'SIGPROF', 0):
      return f'Decoding took more than {SECONDS} seconds. {remedy}'
    name = f'exit {code}'
    with contextlib.suppress(ValueError):
      name = signal.Signals(-code).name
    return f'{ENDED} ({name}). {remedy}'


def _take() -> _Worker:
  """Return a worker that waits for a film."""
  with _lock:
    while _idle:
      worker = _idle.pop()
      if worker.is_well():
        break
      worker.end()
    else:
      worker = _Worker()
  worker.wait_until_ready()
  return worker


def _give(worker: _Worker) -> None:
  with _lock:
    _idle.append(worker)


@atexit.register
def close() -> None:
  """End the workers that wait."""
  with _lock:
    while _idle:
      _idle.pop().end()


if hasattr(os, 'register_at_fork'):  # a child has no part in these pipes
  os.register_at_fork(after_in_child=_idle.clear)
