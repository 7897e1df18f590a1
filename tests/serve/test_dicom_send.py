"""A DICOM node sends objects, again and again until they are taken."""

import threading
import time
import types

import pytest

from boneage_jax.serve.dicom import send

pytest.importorskip('pydicom')
pytest.importorskip('highdicom')
pytest.importorskip('pynetdicom')
import dicom_peers
import node_films


@pytest.fixture
def swift(monkeypatch):
  monkeypatch.setattr(send, 'FIRST', 0.01)
  monkeypatch.setattr(send, 'PAUSE', 0.01)


def sending(folder, receiver, until, hours=72.0):
  """Sends until a condition holds."""
  peer = send.Peer('127.0.0.1', receiver.port, 'PACS')
  stop = threading.Event()
  sender = send.Sender(folder, peer, 'BONEAGE', hours)
  thread = threading.Thread(target=sender.run, args=(stop,))
  thread.start()
  try:
    end = time.monotonic() + 60
    while not until():
      assert time.monotonic() < end, 'not within a minute'
      time.sleep(0.01)
  finally:
    stop.set()
    thread.join()


def test_objects_are_sent_once_and_again_as_the_same_bytes(folder, swift):
  done = lambda: not folder.jobs()
  with dicom_peers.Receiver() as receiver:
    for times in (1, 2):  # the film comes again
      node_films.take(folder, node_films.film(1))
      node_films.answerer(folder).run_once()
      sending(folder, receiver, done)
      assert [len(copies) for copies in receiver.got.values()] == [times] * 2
  for first, second in receiver.got.values():
    assert first == second
  assert {f'{uid}.dcm' for uid in receiver.got} == set(
    node_films.objects(folder)
  )


def test_what_is_not_taken_is_tried_again_and_at_last_given_up(folder, swift):
  node_films.take(folder, node_films.film(1))
  node_films.answerer(folder).run_once()
  with dicom_peers.Receiver(status=0xA700) as receiver:
    sending(folder, receiver, lambda: min(j.tries for j in folder.jobs()) > 2)
    assert 'status 0xA700' in folder.jobs()[0].reason
    assert not receiver.got
    sending(folder, receiver, lambda: not folder.jobs(), hours=0)
    films, jobs = folder.dead()
    assert (films, len(jobs)) == ([], 2)
    assert folder.revive() == 2
    receiver.status = 0x0000
    sending(folder, receiver, lambda: not folder.jobs())
    assert len(receiver.got) == 2


def test_a_receiver_that_is_away_gets_all_later(folder, swift, capsys):
  node_films.take(folder, node_films.film(1))
  node_films.answerer(folder).run_once()
  with dicom_peers.Receiver() as receiver:
    away = receiver.port
  stop = time.monotonic() + 0.3
  later = lambda: time.monotonic() > stop
  sending(folder, types.SimpleNamespace(port=away), later)
  assert len(folder.jobs()) == 2
  assert capsys.readouterr().out.count('objects wait on the disk') == 1
  with dicom_peers.Receiver() as receiver:
    sending(folder, receiver, lambda: not folder.jobs())
  assert len(receiver.got) == 2


def test_waits_are_doubled_up_to_five_minutes():
  waits = [send.backoff(k) for k in (1, 2, 3, 9, 10, 5000)]
  assert waits == [1, 2, 4, 256, 300, 300]
