"""A DICOM node, part by part: its folder, and who reads and writes there."""

import os
import threading
import time
import types

import dicom_tools
import fake_nets
import numpy as np
import pytest

from boneage_jax.core import durable
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.inference import quality_checks
from boneage_jax.serve.dicom import __main__ as command
from boneage_jax.serve.dicom import answer
from boneage_jax.serve.dicom import folder as folder_lib
from boneage_jax.serve.dicom import send
from boneage_jax.serve.dicom import status

pydicom = pytest.importorskip('pydicom')
pytest.importorskip('highdicom')
pytest.importorskip('pynetdicom')
import dicom_peers  # noqa: E402

SETTINGS = {'model': 'a'}


class NoHands:
  """Says that films whose first pixel is dark show no hand."""

  def measure(self, film, outputs):
    value = float(film[0, 0] < 128)
    return {'not_a_hand': quality_checks.Measure(value, 0.5)}


def film(number=1, bright=True, **tags):
  pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
  pixels[0, 0] = 65535 if bright else 0
  uid = {'SOPInstanceUID': f'1.2.3.{number}'}
  return dicom_tools.film(pixels, **{**uid, **tags})


@pytest.fixture
def folder(tmp_path):
  return folder_lib.Folder(str(tmp_path / 'node'))


def answerer(folder, nets=None):
  return answer.Answerer(folder, nets or fake_nets.FakeNets(1), SETTINGS)


def take(folder, *films):
  for one in films:
    uid = str(
      pydicom.dcmread(pydicom.filebase.DicomBytesIO(one)).SOPInstanceUID
    )
    folder.take(uid, one)


def objects(folder):
  names = os.listdir(folder.objects)
  return {
    name: (open(folder.place('objects', name), 'rb').read()) for name in names
  }


# Receiving.


def test_a_film_is_on_the_disk_when_it_is_answered(folder):
  films = [film(1), film(2, SOPClassUID='1.2.840.10008.5.1.4.1.1.1.1')]
  with dicom_peers.listening(folder) as port:
    assert dicom_peers.store(port, films) == [0, 0]
  assert folder.films() == ['1.2.3.1', '1.2.3.2']
  for uid, data in zip(folder.films(), films, strict=True):
    kept = pydicom.dcmread(folder.film(uid))
    sent = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    assert kept == sent


def test_what_is_no_film_is_refused(folder, monkeypatch):
  sr = '1.2.840.10008.5.1.4.1.1.88.33'
  limits = limits_lib.Limits(64, 0.001)
  with dicom_peers.listening(folder, limits=limits) as port:
    of = (*dicom_peers.receive.CLASSES, sr)
    films = [film(1), film(2, SOPClassUID=sr)]
    films.append(film(3, PatientComments='x' * 999))
    assert dicom_peers.store(port, films, classes=of) == [0, None, 0xA700]
    monkeypatch.setattr(dicom_peers.receive.re, 'fullmatch', lambda *_: None)
    assert dicom_peers.store(port, [film(4)]) == [0x0117]
  assert folder.films() == ['1.2.3.1']


def test_a_full_disk_is_no_yes(folder, monkeypatch):
  def full(path, data):
    raise OSError(28, 'No space left on device')

  with dicom_peers.listening(folder) as port:
    with monkeypatch.context() as patch:
      patch.setattr(durable, 'write', full)
      assert dicom_peers.store(port, [film(1)]) == [0xA700]
    assert dicom_peers.store(port, [film(1)]) == [0]
  assert folder.films() == ['1.2.3.1']


def test_only_named_senders_are_let_in(folder):
  with dicom_peers.listening(folder, allow=['CR1', 'CR2']) as port:
    assert dicom_peers.store(port, [film(1)], calling='OTHER') == [None]
    assert dicom_peers.store(port, [film(2)], calling='CR2') == [0]
  assert folder.films() == ['1.2.3.2']


# Answering.


def test_films_become_reports_and_pictures(folder):
  take(folder, film(1), film(2, PatientSex='O'))
  assert answerer(folder).run_once() == 2
  assert folder.films() == []
  jobs = folder.jobs()
  assert [job.film for job in jobs].count('1.2.3.1') == 2
  assert {f'{job.uid}.dcm' for job in jobs} == set(objects(folder))
  sexes = []
  for job in jobs:
    dataset = pydicom.dcmread(folder.place('objects', f'{job.uid}.dcm'))
    if dataset.Modality == 'SR' and job.film == '1.2.3.2':
      groups = dataset.ContentSequence[-1].ContentSequence
      sexes = [
        part.ConceptCodeSequence[0].CodeValue
        for group in groups
        for part in group.ContentSequence
        if part.ConceptNameCodeSequence[0].CodeMeaning == 'Subject Sex'
      ]
  assert sexes == ['U', 'M', 'F']  # of the one whose header does not say it
  assert {row['answer'] for row in folder.answers().values()} == {'age'}


@pytest.mark.parametrize(
  ('tags', 'bright', 'judged', 'expected'),
  [
    ({'BodyPartExamined': 'HAND'}, False, True, 'refused'),
    ({'BodyPartExamined': 'CHEST'}, False, True, 'no_hand'),
    ({'BodyPartExamined': None}, False, True, 'no_hand'),
    ({'BodyPartExamined': 'CHEST'}, True, True, 'age'),
    ({'BodyPartExamined': 'CHEST'}, True, False, 'no_hand'),
    ({'BodyPartExamined': None}, False, False, 'age'),
    ({'BodyPartExamined': 'HAND', 'Rows': 9}, True, True, 'refused'),
    ({'BodyPartExamined': 'CHEST', 'Rows': 9}, True, True, 'no_hand'),
    ({'ManufacturerModelName': 'boneage_jax'}, True, True, 'own'),
    ({'StudyInstanceUID': None}, True, True, 'given_up'),
  ],
)
def test_what_comes_of_an_image(folder, tags, bright, judged, expected):
  nets = fake_nets.FakeNets(1)
  nets.checks = NoHands() if judged else None
  take(folder, film(1, bright, **tags))
  answerer(folder, nets).run_once()
  (row,) = folder.answers().values()
  assert row['answer'] == expected, row
  reports = len(folder.jobs())
  assert reports == {'age': 2, 'refused': 2 - ('Rows' in tags)}.get(expected, 0)
  assert folder.films() == []
  assert folder.dead()[0] == (['1.2.3.1'] if expected == 'given_up' else [])


def test_a_fault_of_the_machine_is_no_answer(folder):
  nets = fake_nets.FakeNets(1, bad=255, error=RuntimeError('out of memory'))
  take(folder, film(1))
  work = answerer(folder, nets)
  for _ in range(answer.MOST_TRIES - 1):
    work.run_once()
    assert folder.films() == ['1.2.3.1']
  work.run_once()
  assert (folder.films(), folder.jobs()) == ([], [])
  assert folder.dead() == (['1.2.3.1'], [])
  assert folder.revive() == 1
  answerer(folder).run_once()
  assert len(folder.jobs()) == 2


class Killed(BaseException):
  """Ends a step as a kill does: nothing is caught, nothing is tidied."""


@pytest.mark.parametrize('at', range(8))
def test_killed_between_any_two_steps_nothing_is_lost_or_changed(
  folder, monkeypatch, at
):
  """Each write and each removal is one step; before the step `at` it ends."""
  take(folder, film(1))
  steps = 0

  def counted(act):
    def step(*args):
      nonlocal steps
      if steps == at:
        raise Killed
      steps += 1
      return act(*args)

    return step

  with monkeypatch.context() as patch:
    for name in ('write', 'write_once'):
      patch.setattr(durable, name, counted(getattr(durable, name)))
    patch.setattr(folder, '_say', counted(folder._say))
    remove = counted(os.remove)
    own = types.SimpleNamespace(**{**vars(os), 'remove': remove})
    patch.setattr(folder_lib, 'os', own)
    try:
      answerer(folder).run_once()
    except Killed:
      assert at < 6
    else:
      assert steps == 6  # two objects, two tasks, a line, the film
  before = objects(folder)
  time.sleep(0.01)
  answerer(folder).run_once()
  after = objects(folder)
  assert len(after) == 2
  assert before.items() <= after.items()
  assert folder.films() == []
  assert {f'{job.uid}.dcm' for job in folder.jobs()} == set(after)


# Sending.


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
      take(folder, film(1))
      answerer(folder).run_once()
      sending(folder, receiver, done)
      assert [len(copies) for copies in receiver.got.values()] == [times] * 2
  for first, second in receiver.got.values():
    assert first == second
  assert {f'{uid}.dcm' for uid in receiver.got} == set(objects(folder))


def test_what_is_not_taken_is_tried_again_and_at_last_given_up(folder, swift):
  take(folder, film(1))
  answerer(folder).run_once()
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
  take(folder, film(1))
  answerer(folder).run_once()
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


# The folder, and the command.


def test_status_lists_what_waits_and_what_was_not_sent(folder, capsys):
  nets = fake_nets.FakeNets(1)
  nets.checks = NoHands()
  take(folder, film(1), film(2, False, BodyPartExamined='CHEST'))
  take(folder, film(3, StudyInstanceUID=None))
  answerer(folder, nets).run_once()
  take(folder, film(4))
  with open(folder.place('answers.jsonl'), 'ab') as file:
    file.write(b'{"film": "1.2.')  # cut off by a kill
  folder.answered('1.2.3.5', 'own')
  text = '\n'.join(status.lines(folder))
  for words in (
    'does not run', 'films to predict: 1, the oldest for', 'objects to send: 2',
    'films with an age: 1', 'no hand, of which nothing was sent: 1',
    '  1.2.3.2: the film does not show a hand', 'given up: 1 films, 0 objects',
    '  1.2.3.3: Expected StudyInstanceUID', 'ours that came back: 1',
  ):  # fmt: skip
    assert words in text, text
  with folder.alone():
    assert ' runs.' in next(status.lines(folder))
    other = folder_lib.Folder(folder.path).alone()
    with pytest.raises(ValueError, match='Another node uses'), other:
      pass
  with pytest.raises(SystemExit) as stop:
    command.main(['status', f'--folder={folder.path}'])
  assert stop.value.code == 1  # something was given up
  assert 'given up: 1 films' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (['--workdir=a'], 'expected --send_to=HOST:PORT:AET'),
    (['--send_to=a:1:B'], 'expected --workdir or --model'),
    (['--workdir=a', '--send_to=a:B'], "HOST:PORT:AET, got 'a:B'"),
    (['--workdir=a', '--send_to=a:1:' + 'B' * 17], 'AE title of 1 to 16'),
    (['--workdir=a', '--send_to=a:1:B', '--port=0'], 'expected 1 to 65535'),
    (['status', '--folder=none'], 'Expected the folder of a node'),
  ],
)
def test_wrong_arguments_end_in_one_line(arguments, words, capsys):
  with pytest.raises(SystemExit) as stop:
    command.main(arguments)
  said = f'{stop.value.code}{capsys.readouterr().err}'
  assert words in said
