"""Runs a node: takes films in, has them predicted, sends what came of them."""

from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import Any

from boneage_jax.core import door
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.serve.dicom import folder as folder_lib
from boneage_jax.serve.dicom import receive
from boneage_jax.serve.dicom import send

MODULE = 'boneage_jax.serve.dicom.answer'
PAUSE = 0.5  # seconds between looks at the process that predicts
PATIENCE = 10  # seconds for an object that is being sent at the end
MOST_ENDS = 3  # of that process with the same film
_ROOT = str(pathlib.Path(__file__).parents[3])


def run(
  folder: folder_lib.Folder,
  task: Mapping[str, Any],
  receiving: tuple[str, int, str, Sequence[str]],
  peer: send.Peer,
  give_up_hours: float,
) -> None:
  """Run until SIGTERM or Ctrl-C.

  Args:
    folder: of the node.
    task: what `answer` predicts with: `workdir`, `model`, `stage`, `site`,
      `dtype`, `imports` and `limits`.
    receiving: address, port and AE title of the node, and who may send.
    peer: who gets reports and pictures.
    give_up_hours: after which what the peer does not take is given up.

  Raises:
    ValueError: the nets cannot be loaded, or the port is in use.
  """
  address, port, title, allow = receiving
  stop = threading.Event()
  with folder.alone():
    answering = Answering(folder, task)

    def end(*_: Any) -> None:
      stop.set()
      answering.kill()

    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, end)
    try:
      answering.launch()  # loads nets while films are taken
      sender = send.Sender(folder, peer, title, give_up_hours)
      limits = limits_lib.Limits(*task['limits'])
      server = receive.start(folder, (address, port), title, allow, limits)
      run_sender = lambda: sender.run(stop)
      sending = threading.Thread(target=run_sender, daemon=True)
      sending.start()
      door.say(
        f'{title} takes films at port {port}, keeps them in {folder.path} and '
        f'sends to {peer.title} at {peer.host}:{peer.port}.'
      )
      if not answering.wait() and not stop.is_set():
        raise ValueError('The process that predicts did not start: see above.')
      answering.watch(stop)
      server.shutdown()
      sending.join(PATIENCE)
    finally:
      stop.set()
      answering.end()
  print('Stopped. What waits is in the folder.', flush=True)


class Answering:
  """The process that predicts, started again where it ends."""

  def __init__(self, folder: folder_lib.Folder, task: Mapping[str, Any]):
    """Start nothing yet."""
    self._folder = folder
    self._task = json.dumps({**task, 'folder': folder.path}).encode() + b'\n'
    self._process: subprocess.Popen | None = None
    # By the film that was the oldest then, and its version.
    self._ends: dict[tuple[str, folder_lib.Version | None], int] = {}

  def launch(self) -> None:
    """Start it."""
    paths = [_ROOT, os.environ.get('PYTHONPATH', '')]
    self._process = subprocess.Popen(
      [sys.executable, '-P', '-m', MODULE],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))},
      start_new_session=True,  # Ctrl-C is for the node
    )
    with contextlib.suppress(BrokenPipeError):  # it has ended
      self._process.stdin.write(self._task)
      self._process.stdin.flush()

  def wait(self) -> bool:
    """Wait for its nets, and say what they rest on; whether there are any."""
    line = self._process.stdout.readline().decode().strip()
    if line:
      door.say(line)
    return bool(line)

  def watch(self, stop: threading.Event) -> None:
    """Start it again where it ends, until it is to stop."""
    failures, ready = 0, True
    while not stop.wait(PAUSE):
      if self._process.poll() is None:
        continue
      door.say(f'The process that predicts ended ({self._process.returncode}).')
      if ready:  # else it was at no film
        self._blame()
      self.end()
      failures += 1
      if stop.wait(send.backoff(failures)):
        break
      try:
        self.launch()
      except OSError as error:  # such as of a machine without memory
        door.say(f'The process that predicts: {door.reason(error)}')
        ready = False
        continue
      if stop.is_set():  # since it ended
        break
      ready = self.wait()
      failures = 0 if ready else failures

  def kill(self) -> None:
    """Kill it; a film that it was at is predicted at the next start."""
    if self._process:
      self._process.kill()

  def end(self) -> None:
    """Kill it, and free what it holds here."""
    if self._process:
      self._process.kill()
      self._process.wait()
      for pipe in (self._process.stdin, self._process.stdout):
        with contextlib.suppress(BrokenPipeError):
          pipe.close()

  def _blame(self) -> None:
    """Give a film up that ended the process again and again.

    Where that cannot be written, as on a full disk, the film waits.
    """
    try:
      for uid in self._folder.films()[:1]:
        version = self._folder.version(uid)
        ends = self._ends.get((uid, version), 0) + 1
        self._ends[uid, version] = ends
        if ends >= MOST_ENDS:
          reason = 'It ended the process that predicts, several times.'
          self._folder.give_up_film(uid, reason, version)
    except OSError as error:
      door.say(f'A film cannot be given up: {door.reason(error)}')
