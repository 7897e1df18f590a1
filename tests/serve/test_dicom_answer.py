"""A DICOM node predicts films, and leaves reports and pictures to be sent."""

import errno
import os
import time
import types

import fake_nets
import pytest

from boneage_jax.core import durable
from boneage_jax.inference import dicom_out
from boneage_jax.inference import film_file
from boneage_jax.serve.dicom import answer
from boneage_jax.serve.dicom import folder as folder_lib

pydicom = pytest.importorskip('pydicom')
pytest.importorskip('highdicom')
import node_films  # noqa: E402


def test_films_become_reports_and_pictures(folder):
  node_films.take(
    folder, node_films.film(1), node_films.film(2, PatientSex='O')
  )
  assert node_films.answerer(folder).run_once() == 2
  assert folder.films() == []
  jobs = folder.jobs()
  assert [job.film for job in jobs].count('1.2.3.1') == 2
  assert {f'{job.uid}.dcm' for job in jobs} == set(node_films.objects(folder))
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
  nets.checks = node_films.NoHands() if judged else None
  node_films.take(folder, node_films.film(1, bright, **tags))
  node_films.answerer(folder, nets).run_once()
  (row,) = folder.answers().values()
  assert row['answer'] == expected, row
  reports = len(folder.jobs())
  assert reports == {'age': 2, 'refused': 2 - ('Rows' in tags)}.get(expected, 0)
  assert folder.films() == []
  assert folder.dead()[0] == (['1.2.3.1'] if expected == 'given_up' else [])


def test_a_fault_of_the_machine_is_no_answer(folder):
  nets = fake_nets.FakeNets(1, bad=255, error=RuntimeError('out of memory'))
  node_films.take(folder, node_films.film(1))
  work = node_films.answerer(folder, nets)
  pauses = []
  for _ in range(answer.MOST_TRIES - 1):
    work.run_once()
    pauses.append(work.pause)
    assert folder.films() == ['1.2.3.1']
  assert pauses == [1, 2, 4, 8]
  work.run_once()
  assert (folder.films(), folder.jobs()) == ([], [])
  assert folder.dead() == (['1.2.3.1'], [])
  assert folder.revive() == 1
  node_films.answerer(folder).run_once()
  assert len(folder.jobs()) == 2


@pytest.mark.parametrize('number', [errno.ENOMEM, errno.ENOSPC])
def test_where_no_film_can_be_decoded_all_wait(
  folder, monkeypatch, capsys, number
):
  def fail(*_):
    raise OSError(number, os.strerror(number))

  node_films.take(folder, node_films.film(1), node_films.film(2))
  work = node_films.answerer(folder)
  with monkeypatch.context() as patch:
    # The function's own default stands in the place of the module's.
    patch.setattr(film_file.read, '__defaults__', (None, fail))
    for _ in range(2 * answer.MOST_TRIES):
      assert work.run_once() == 0
  assert len(folder.films()) == 2 and folder.dead() == ([], [])
  assert not folder.answers()
  said = capsys.readouterr().err
  assert said.count(f'no film can be decoded: {os.strerror(number)}') == 1
  assert work.run_once() == 2 and folder.films() == []


def test_a_film_that_cannot_be_read_is_tried_with_pauses(folder, monkeypatch):
  def fail(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))

  node_films.take(folder, node_films.film(1))
  work, pauses = node_films.answerer(folder), []
  monkeypatch.setattr(folder, 'read', fail)
  while folder.films():
    work.run_once()
    pauses.append(work.pause)
  assert pauses == [1, 2, 4, 8, answer.PAUSE]
  assert folder.dead()[0] == ['1.2.3.1']


class Killed(BaseException):
  """Ends a step as a kill does: nothing is caught, nothing is tidied."""


@pytest.mark.parametrize('at', range(8))
def test_killed_between_any_two_steps_nothing_is_lost_or_changed(
  folder, monkeypatch, at
):
  """Each write and each removal is one step; before the step `at` it ends."""
  node_films.take(folder, node_films.film(1))
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
      node_films.answerer(folder).run_once()
    except Killed:
      assert at < 6
    else:
      assert steps == 6  # two objects, two tasks, a line, the film
  before = node_films.objects(folder)
  time.sleep(0.01)
  node_films.answerer(folder).run_once()
  after = node_films.objects(folder)
  assert len(after) == 2
  assert before.items() <= after.items()
  assert folder.films() == []
  assert {f'{job.uid}.dcm' for job in folder.jobs()} == set(after)


class Interrupted(fake_nets.FakeNets):
  """Has something happen while the first film is predicted."""

  def __init__(self, act, **settings):
    super().__init__(1, **settings)
    self.act = act

  def outputs(self, records):
    act, self.act = self.act, lambda: None
    act()
    return super().outputs(records)


def patients(folder):
  """Of each report that is sent, in order."""
  paths = [folder.place('objects', f'{x.uid}.dcm') for x in folder.jobs()]
  found = map(pydicom.dcmread, paths)
  return [str(one.PatientName) for one in found if one.Modality == 'SR']


@pytest.mark.parametrize('kind', ['age', 'no_hand', 'fault'])
def test_a_film_that_comes_again_while_it_is_predicted_is_kept(folder, kind):
  part = {'BodyPartExamined': 'CHEST' if kind == 'no_hand' else 'HAND'}
  second = node_films.film(1, False, PatientName='Second^B')
  nets = Interrupted(lambda: node_films.take(folder, second))
  if kind == 'fault':
    nets.bad, nets.error = 255, RuntimeError('out of memory')
  node_films.take(folder, node_films.film(1, PatientName='First^A', **part))
  work = node_films.answerer(folder, nets)
  if kind == 'fault':  # of the first version, and now is its last try
    version = folder.version('1.2.3.1')
    work._tries['1.2.3.1', version] = answer.MOST_TRIES - 1
  work.run_once()
  assert folder.films() == ['1.2.3.1']
  assert folder.dead()[0] == []
  work.run_once()
  assert folder.films() == []
  expected = ['First^A', 'Second^B'] if kind == 'age' else ['Second^B']
  assert patients(folder) == expected
  # Header and pixels are of one version.
  greys = [255.0, 0.0] if kind == 'age' else [0.0]
  ages = [100 + grey - 1 for grey in greys]
  assert nets.seen[-len(ages) :] == ages


def test_a_film_that_comes_again_between_header_and_pixels_is_one_film(
  folder, monkeypatch
):
  first = node_films.film(1, True, PatientName='First^A')
  second = node_films.film(1, False, PatientName='Second^B')
  node_films.take(folder, first)
  nets = fake_nets.FakeNets(1)
  read = answer.dicom_source.read

  def read_and_replace(*arguments):
    found = read(*arguments)
    if found.PatientName == 'First^A':
      node_films.take(folder, second)
    return found

  monkeypatch.setattr(answer.dicom_source, 'read', read_and_replace)
  work = node_films.answerer(folder, nets)
  work.run_once()
  work.run_once()
  assert patients(folder) == ['First^A', 'Second^B']
  assert nets.seen == [354.0, 99.0]  # of bright films, and of dark ones


def test_a_film_that_came_again_is_not_replaced_by_the_one_given_up(folder):
  node_films.take(folder, node_films.film(1, PatientName='First^A'))
  folder.give_up_film('1.2.3.1', 'why')
  node_films.take(folder, node_films.film(1, PatientName='Second^B'))
  folder.revive()
  assert folder.dead()[0] == []
  node_films.answerer(folder).run_once()
  assert patients(folder) == ['Second^B']
  assert folder.revive() == 0  # also after the new version was answered
  node_films.answerer(folder).run_once()
  assert patients(folder) == ['Second^B']


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize('at', ['objects', 'tasks', 'answers', 'given up'])
def test_on_a_full_disk_films_wait_and_none_is_given_up(
  folder, monkeypatch, capsys, at
):
  def full(*_):
    raise FULL

  tags = {'StudyInstanceUID': None} if at == 'given up' else {}
  node_films.take(folder, node_films.film(1, **tags), node_films.film(2))
  work = node_films.answerer(folder)
  with monkeypatch.context() as patch:
    place, name = {
      'objects': (dicom_out, 'write'),
      'tasks': (folder, '_write_job'),
      'answers': (folder, '_say'),
      'given up': (folder, '_say'),
    }[at]
    patch.setattr(place, name, full)
    pauses = []
    for _ in range(2 * answer.MOST_TRIES):
      assert work.run_once() == 0
      pauses.append(work.pause)
    assert len(folder.films()) == 2 and folder.dead() == ([], [])
  assert pauses[:3] == [1, 2, 4]  # seconds
  said = capsys.readouterr().err
  assert said.count('Films wait') == said.count('No space left') == 1
  assert work.run_once() == 2
  assert folder.films() == []
  assert work.pause == answer.PAUSE
  assert len({job.film for job in folder.jobs()}) == 2 - (at == 'given up')
