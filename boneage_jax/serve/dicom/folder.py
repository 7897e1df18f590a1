"""What a node has to do and has done, as files that outlast it.

  films/UID.dcm      received, to be predicted
  objects/UID.dcm    reports and pictures; they stay, and are sent as they are
  sending/UID.json   objects to send: of which film, and what went wrong
  dead/              films and objects that were given up, in the same folders
  answers.jsonl      what came of each film

Each step leaves its result before it removes its task. A step that was cut off
is done again, and finds the objects that are there. A film may come again, in
another version, while the one before is predicted: whoever removes a film says
which version is meant, and a newer one stays.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import datetime
import fcntl
import json
import os
import time
from typing import IO
from typing import NamedTuple

from boneage_jax.core import durable
from boneage_jax.imaging import limits as limits_lib

FILMS, SENDING, OBJECTS, DEAD = 'films', 'sending', 'objects', 'dead'
ANSWERS, LOCK, FILMS_LOCK = 'answers.jsonl', 'lock', 'films.lock'
Version = tuple[int, int]  # of a film: its inode, and when it was written, ns
# Answers.
AGE, REFUSED, NO_HAND, OWN = 'age', 'refused', 'no_hand', 'own'
GIVEN_UP = 'given_up'


class Job(NamedTuple):
  """An object to send.

  Attributes:
    uid: of the object.
    film: its SOP Instance UID.
    since: when it was first to be sent, seconds of the clock.
    tries: that the receiver answered with a failure.
    reason: of the last one.
  """

  uid: str
  film: str
  since: float
  tries: int = 0
  reason: str = ''


class Folder:
  """The folder of a node."""

  def __init__(self, path: str):
    """Make what is not there.

    Raises:
      OSError: it cannot be written.
    """
    self.path = os.path.abspath(os.path.expanduser(path))
    os.makedirs(self.path, 0o700, exist_ok=True)  # there are names of patients
    for name in (FILMS, SENDING, OBJECTS):
      os.makedirs(self.place(name), exist_ok=True)
    for name in (FILMS, SENDING):
      os.makedirs(self.place(DEAD, name), exist_ok=True)

  def place(self, *names: str) -> str:
    """Return a path in the folder."""
    return os.path.join(self.path, *names)

  @property
  def objects(self) -> str:
    """Where reports and pictures lie."""
    return self.place(OBJECTS)

  def take(self, uid: str, data: bytes) -> None:
    """Keep a film that was received; it is on the disk then.

    A version of it that was given up is gone: this one counts.

    Raises:
      OSError: it cannot be written.
    """
    with self._films_alone():
      durable.write(self.film(uid), data)
      with contextlib.suppress(FileNotFoundError):
        os.remove(self._dead_film(uid))

  def films(self) -> list[str]:
    """Return UIDs of films to predict, the oldest first."""
    return _names(self.place(FILMS), '.dcm')

  def film(self, uid: str) -> str:
    """Return the path of a film."""
    return self.place(FILMS, f'{uid}.dcm')

  def read(
    self, uid: str, limits: limits_lib.Limits | None = None
  ) -> tuple[bytes, Version]:
    """Return the bytes of a film, and which version has them.

    Raises:
      ValueError: it is larger than the limit.
      OSError: it cannot be read.
    """
    with open(self.film(uid), 'rb') as file:
      found = os.fstat(file.fileno())
      return limits_lib.read_stream(file, found.st_size, limits), _of(found)

  def version(self, uid: str) -> Version | None:
    """Return which version of a film waits; None if there is none."""
    with contextlib.suppress(FileNotFoundError):
      return _of(os.stat(self.film(uid)))
    return None

  def answered(
    self,
    uid: str,
    answer: str,
    reason: str = '',
    objects: Sequence[str] = (),
    version: Version | None = None,
  ) -> None:
    """Have objects sent, say what came of a film, and remove the film.

    Args:
      uid: of the film.
      answer: AGE, REFUSED, NO_HAND or OWN.
      reason: in words.
      objects: paths of what is to be sent.
      version: that was answered, another one stays; None for any.
    """
    for path in objects:
      name, _ = os.path.splitext(os.path.basename(path))
      self._write_job(Job(name, uid, time.time()))
    self._say(uid, answer, reason)
    with self._films_alone():
      if self._is(uid, version):
        os.remove(self.film(uid))

  def give_up_film(
    self, uid: str, reason: str, version: Version | None = None
  ) -> None:
    """Move a film to the dead letters; see `answered`."""
    self._say(uid, GIVEN_UP, reason)
    with self._films_alone():
      if self._is(uid, version):
        durable.move(self.film(uid), self._dead_film(uid))

  def jobs(self) -> list[Job]:
    """Return objects to send, the oldest first."""
    return list(_jobs(self.place(SENDING)))

  def sent(self, job: Job) -> None:
    """Remove the task of an object that the receiver has."""
    with contextlib.suppress(FileNotFoundError):
      os.remove(self._job(job))

  def failed(self, job: Job, reason: str) -> Job:
    """Remember why a receiver did not take an object."""
    job = job._replace(tries=job.tries + 1, reason=reason)
    self._write_job(job)
    return job

  def give_up_job(self, job: Job, reason: str) -> None:
    """Move the task of an object to the dead letters."""
    self._write_job(job._replace(reason=reason))
    durable.move(self._job(job), self.place(DEAD, SENDING, f'{job.uid}.json'))

  def dead(self) -> tuple[list[str], list[Job]]:
    """Return UIDs of films, and objects, that were given up."""
    films = _names(self.place(DEAD, FILMS), '.dcm')
    return films, list(_jobs(self.place(DEAD, SENDING)))

  def revive(self) -> int:
    """Have all that was given up tried again; return how much that is."""
    films, jobs = self.dead()
    for uid in films:
      with self._films_alone(), contextlib.suppress(FileNotFoundError):
        if self._is(uid):  # it came again
          os.remove(self._dead_film(uid))
        else:
          durable.move(self._dead_film(uid), self.film(uid))
    for job in jobs:
      self._write_job(Job(job.uid, job.film, time.time()))
      os.remove(self.place(DEAD, SENDING, f'{job.uid}.json'))
    return len(films) + len(jobs)

  def answers(self) -> dict[str, dict[str, str]]:
    """Return what came of each film at last, by UID: `answer`, `reason`."""
    found = {}
    if os.path.exists(self.place(ANSWERS)):
      with open(self.place(ANSWERS), encoding='utf-8') as file:
        for line in file:
          with contextlib.suppress(ValueError):  # cut off
            row = json.loads(line)
            found[row['film']] = row
    return found

  @contextlib.contextmanager
  def alone(self) -> Iterator[None]:
    """Be the one node of this folder; what others left half written, goes.

    Raises:
      ValueError: another node runs in it.
    """
    with open(self.place(LOCK), 'ab') as file:
      if not _locked(file):
        raise ValueError(
          f'Another node uses {self.path}: stop it, or name another --folder.'
        )
      for name in (FILMS, SENDING, OBJECTS):
        for one in os.scandir(self.place(name)):
          if one.name.endswith('.tmp'):
            os.remove(one.path)
      yield

  def is_used(self) -> bool:
    """Whether a node runs in it."""
    with open(self.place(LOCK), 'ab') as file:
      return not _locked(file)

  @contextlib.contextmanager
  def _films_alone(self) -> Iterator[None]:
    """Keep others, also processes, from changing which films there are."""
    with open(self.place(FILMS_LOCK), 'ab') as file:
      fcntl.flock(file, fcntl.LOCK_EX)
      yield

  def _is(self, uid: str, version: Version | None = None) -> bool:
    """Whether a film waits, in this version or, without one, in any."""
    found = self.version(uid)
    return found is not None and version in (None, found)

  def _dead_film(self, uid: str) -> str:
    return self.place(DEAD, FILMS, f'{uid}.dcm')

  def _job(self, job: Job) -> str:
    return self.place(SENDING, f'{job.uid}.json')

  def _write_job(self, job: Job) -> None:
    durable.write(self._job(job), json.dumps(job._asdict()).encode())

  def _say(self, uid: str, answer: str, reason: str) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    row = {'time': now, 'film': uid, 'answer': answer, 'reason': reason}
    with open(self.place(ANSWERS), 'ab') as file:
      # A line of a node that was killed may be cut off.
      file.write(b'\n' + json.dumps(row).encode() + b'\n')
      file.flush()
      os.fsync(file.fileno())


def _of(found: os.stat_result) -> Version:
  return found.st_ino, found.st_mtime_ns


def _locked(file: IO) -> bool:
  """Lock a file until it is closed; whether that can be."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  return True


def _names(folder: str, end: str) -> list[str]:
  """Return names of files without their end, the oldest first."""
  found = []
  for one in os.scandir(folder):
    with contextlib.suppress(FileNotFoundError):
      if one.name.endswith(end):
        found.append((one.stat().st_mtime_ns, one.name.removesuffix(end)))
  return [name for _, name in sorted(found)]


def _jobs(folder: str) -> Iterator[Job]:
  for name in _names(folder, '.json'):
    path = os.path.join(folder, f'{name}.json')
    with contextlib.suppress(FileNotFoundError), open(path, 'rb') as file:
      yield Job(**json.load(file))
