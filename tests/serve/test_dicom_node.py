"""A DICOM node starts the process that predicts again, and goes on."""

import errno
import os
import threading
import types

import pytest

from boneage_jax.serve.dicom import node

pytest.importorskip('pydicom')
pytest.importorskip('highdicom')
import node_films


def test_on_a_full_disk_the_node_goes_on(folder, monkeypatch, capsys):
  def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  node_films.take(folder, node_films.film(1))
  answering = node.Answering(folder, {})
  with monkeypatch.context() as patch:
    patch.setattr(folder, '_say', full)
    for _ in range(node.MOST_ENDS):
      answering._blame()
  assert 'A film cannot be given up: No space left' in capsys.readouterr().out
  assert folder.films() == ['1.2.3.1']


@pytest.mark.parametrize(('ready', 'lost'), [(False, 0), (True, 1)])
def test_a_process_that_does_not_start_is_no_fault_of_films(
  folder, monkeypatch, ready, lost
):
  class Ended(node.Answering):
    starts = 0

    def launch(self):
      self.starts += 1
      process = types.SimpleNamespace(returncode=1, stdin=None, stdout=None)
      process.poll = lambda: 1
      self._process = process

    def end(self):
      if self.starts > node.MOST_ENDS:
        stop.set()

    def wait(self):
      return ready

  monkeypatch.setattr(node, 'PAUSE', 0)
  monkeypatch.setattr(node.send, 'backoff', lambda _: 0)
  node_films.take(folder, node_films.film(1))
  stop = threading.Event()
  answering = Ended(folder, {})
  answering.launch()
  answering.watch(stop)
  assert len(folder.dead()[0]) == lost


def test_a_machine_without_memory_ends_no_node(folder, monkeypatch, capsys):
  class Large(node.Answering):
    starts = 0

    def launch(self):
      self.starts += 1
      if self.starts in (2, 3):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
      process = types.SimpleNamespace(returncode=-9, stdin=None, stdout=None)
      process.poll = lambda: -9 if self.starts < 4 else stop.set()
      self._process = process

    def end(self):
      pass

    def wait(self):
      return True

  monkeypatch.setattr(node, 'PAUSE', 0)
  waits = []
  monkeypatch.setattr(node.send, 'backoff', lambda n: waits.append(n) or 0)
  stop = threading.Event()
  answering = Large(folder, {})
  answering.launch()
  answering.watch(stop)
  assert answering.starts == 4 and waits == [1, 2, 3]
  assert capsys.readouterr().out.count('Cannot allocate memory') == 2


def test_a_film_that_comes_again_is_not_blamed_for_the_one_before(folder):
  answering = node.Answering(folder, {})
  for _ in range(node.MOST_ENDS):
    node_films.take(folder, node_films.film(1))
    answering._blame()
  assert folder.films() == ['1.2.3.1']
  for _ in range(node.MOST_ENDS - 1):
    answering._blame()
  assert folder.dead()[0] == ['1.2.3.1']
