"""A DICOM node predicts films, and leaves reports and pictures to be sent."""

import os
import time
import types

import fake_nets
import pytest

from boneage_jax.core import durable
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
  for _ in range(answer.MOST_TRIES - 1):
    work.run_once()
    assert folder.films() == ['1.2.3.1']
  work.run_once()
  assert (folder.films(), folder.jobs()) == ([], [])
  assert folder.dead() == (['1.2.3.1'], [])
  assert folder.revive() == 1
  node_films.answerer(folder).run_once()
  assert len(folder.jobs()) == 2


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
