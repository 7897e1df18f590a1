"""Sends reports and pictures, again and again until they are taken."""

from collections.abc import Sequence
import os
import threading
import time
from typing import Any
from typing import NamedTuple

from boneage_jax.core import door
from boneage_jax.serve.dicom import folder as folder_lib
from boneage_jax.serve.dicom import receive

# Storage of Comprehensive SR and Secondary Capture.
CLASSES = tuple(f'1.2.840.10008.5.1.4.1.1.{x}' for x in ('88.33', '7'))
SYNTAXES = ('1.2.840.10008.1.2.1', '1.2.840.10008.1.2')
FIRST, MOST = 1, 300  # seconds of waiting: twice as long after each failure
PAUSE = 0.2  # seconds between looks into the folder
# An answer that is no failure: success, or taken with a remark (PS3.4, B.2.3).
TAKEN = (0x0000, 0x0001, 0x0107, 0x0116, 0xB000, 0xB006, 0xB007)


class Peer(NamedTuple):
  """Who gets the objects: a host, a port and an AE title."""

  host: str
  port: int
  title: str


class Sender:
  """Sends what waits in a folder."""

  def __init__(
    self,
    folder: folder_lib.Folder,
    peer: Peer,
    title: str,
    give_up_hours: float,
  ):
    """Send nothing yet.

    Args:
      folder: of the node.
      peer: who gets the objects.
      title: AE title of the node.
      give_up_hours: after which an object goes to the dead letters.
    """
    self._folder, self._peer = folder, peer
    self._seconds = give_up_hours * 3600
    self._next: dict[str, float] = {}  # when an object is tried again
    self._failures = 0  # associations that failed, one after the other
    pynetdicom = receive.import_pynetdicom()
    self._entity = pynetdicom.AE(ae_title=title)
    for uid in CLASSES:
      self._entity.add_requested_context(uid, list(SYNTAXES))
    for name in ('acse_timeout', 'dimse_timeout', 'network_timeout'):
      setattr(self._entity, name, 60)
    self._entity.connection_timeout = 10

  def run(self, stop: threading.Event) -> None:
    """Send until it is to stop."""
    while not stop.is_set():
      try:
        if self._send_due(stop):
          self._failures = 0
          stop.wait(PAUSE)
          continue
      except OSError as error:  # of the folder
        door.say(f'Objects cannot be sent: {door.reason(error)}')
      self._failures += 1
      stop.wait(backoff(self._failures))

  def _send_due(self, stop: threading.Event) -> bool:
    """Send what is due; whether the receiver could be reached."""
    now = time.monotonic()
    jobs = self._folder.jobs()
    due = [job for job in jobs if self._next.get(job.uid, now) <= now]
    return not due or self._send(due, stop)

  def _send(
    self, jobs: Sequence[folder_lib.Job], stop: threading.Event
  ) -> bool:
    """Send objects over one association; whether there was one to the end."""
    link = self._entity.associate(*self._peer[:2], ae_title=self._peer.title)
    if not link.is_established:
      self._say_unreached(link)
      for job in jobs:
        self._give_up_if_old(job, 'the receiver cannot be reached')
      return False
    if self._failures:
      door.say(f'{self._peer.title} is reached again.')
    try:
      for job in jobs:
        if stop.is_set():
          break
        if not link.is_established:
          return False
        self._send_one(link, job)
    finally:
      if link.is_established:
        link.release()
    return True

  def _send_one(self, link: Any, job: folder_lib.Job) -> None:
    path = os.path.join(self._folder.objects, f'{job.uid}.dcm')
    try:
      status = link.send_c_store(path)
      code = status.Status if 'Status' in status else None
      reason = 'the connection was lost'
      if code is not None:
        reason = f'the receiver answered with status 0x{code:04X}'
    except FileNotFoundError:
      self._folder.give_up_job(job, f'there is no {path}')
      return
    except (ValueError, RuntimeError) as error:  # no context, or no link
      code, reason = None, door.reason(error)
    if code in TAKEN:
      self._next.pop(job.uid, None)
      self._folder.sent(job)
    elif not self._give_up_if_old(job, reason):
      job = self._folder.failed(job, reason)
      self._next[job.uid] = time.monotonic() + backoff(job.tries)

  def _give_up_if_old(self, job: folder_lib.Job, reason: str) -> bool:
    old = time.time() - job.since > self._seconds
    if old:
      door.say(f'{job.uid} is given up: {reason.removesuffix(".")}.')
      self._next.pop(job.uid, None)
      self._folder.give_up_job(job, reason)
    return old

  def _say_unreached(self, link: Any) -> None:
    if not self._failures:
      why = 'refused' if link.is_rejected else 'cannot be reached'
      host, port, title = self._peer
      door.say(
        f'{title} at {host}:{port} {why}: objects wait on the disk, and are '
        'sent later.'
      )


def backoff(failures: int) -> float:
  """Return how many seconds to wait after so many failures."""
  return min(FIRST * 2.0 ** min(failures - 1, 20), MOST)
