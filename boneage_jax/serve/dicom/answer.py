"""Predicts films that were received; a process of its own, started by `node`.

It reads its task from its input, and ends when that ends: with the node.
"""

import json
import os
import sys
import threading
import time
from typing import Any

import cv2

from boneage_jax.core import door
from boneage_jax.core import extend
from boneage_jax.core import startup
from boneage_jax.data import film_table
from boneage_jax.imaging import dicom
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.inference import dicom_out
from boneage_jax.inference import dicom_report
from boneage_jax.inference import dicom_source
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_list
from boneage_jax.inference import loading
from boneage_jax.inference import model_file
from boneage_jax.inference import quality
from boneage_jax.inference import views
from boneage_jax.serve.dicom import folder as folder_lib

PAUSE = 0.1  # seconds between looks into the folder
AT_ONCE = 32  # films of which headers are read before they are predicted
MOST_TRIES = 3  # of a film that cannot be predicted for what it does not show


class Answerer:
  """Predicts films of a folder, and leaves there what is to be sent."""

  def __init__(
    self,
    folder: folder_lib.Folder,
    nets: Any,
    settings: dict[str, Any],
    limits: limits_lib.Limits | None = None,
  ):
    """Predict nothing yet.

    Args:
      folder: of the node.
      nets: of `loading.load`.
      settings: of `dicom_out.settings`.
      limits: of the size of a film.
    """
    self._folder, self._nets, self._settings = folder, nets, settings
    self._reading = film_batches.Reading(
      film_list.Archives(), limits=limits or limits_lib.Limits()
    )
    self._tries: dict[str, int] = {}

  def run_once(self) -> int:
    """Answer films that wait; return how many were there."""
    waiting = self._folder.films()[:AT_ONCE]
    headers = {uid: self._header(uid) for uid in waiting}
    headers = {uid: film for uid, film in headers.items() if film}
    films = [
      film_list.Film(uid, self._folder.film(uid), listed=_listed(film))
      for uid, film in headers.items()
    ]
    for answer in film_batches.predict(self._nets, films, self._reading):
      self._answer(answer, headers[answer.film.name])
    return len(waiting)

  def _header(self, uid: str) -> Any:
    """Return the header of a film that is to be answered, or None."""
    try:
      data = limits_lib.read_file(self._folder.film(uid), self._reading.limits)
      film = dicom_source.read(data, self._reading.limits)
    except ValueError as error:
      self._folder.give_up_film(uid, door.shown(str(error)))
      return None
    if film.get('ManufacturerModelName') == dicom.MODEL_NAME:
      self._folder.answered(uid, folder_lib.OWN)
      return None
    return film

  def _answer(self, answer: film_batches.Answer, film: Any) -> None:
    """Leave what is to be sent of a film."""
    uid, prediction = answer.film.name, answer.prediction
    if answer.reason.startswith(film_batches.FAULT):
      self._tries[uid] = self._tries.get(uid, 0) + 1
      if self._tries[uid] >= MOST_TRIES:
        self._folder.give_up_film(uid, answer.reason)
      return
    if prediction is None:
      said = [answer.reason]
    else:
      inverted = self._nets.inverted
      said = list(views.warnings(prediction, answer.file.sex, inverted))
    reason = door.shown(' '.join(said))
    if no_hand(film, prediction, self._nets.checks is not None):
      self._folder.answered(uid, folder_lib.NO_HAND, reason)
      return
    refused = prediction is None or prediction.withheld
    paths = dicom_out.write(
      self._folder.objects, self._settings, film, prediction, said
    )
    kind = folder_lib.REFUSED if refused else folder_lib.AGE
    self._folder.answered(uid, kind, reason, paths)


def no_hand(film: Any, prediction: Any, is_judged: bool) -> bool:
  """Whether neither header nor picture are of a hand.

  Args:
    film: header, of `dicom_source.read`.
    prediction: of the film; None where it cannot be read.
    is_judged: whether fitted checks say what a film shows; without these the
      header alone counts.
  """
  part = film.get('BodyPartExamined', '')
  other = 'body_part' in quality.flags_of_header({'body_part': part})
  if prediction is None or not is_judged:
    return other
  return 'not_a_hand' in prediction.quality_flags and (other or not part)


def _listed(film: Any) -> film_table.Listed:
  """Say the sex of a header, so that it is known to be unknown."""
  sex = film.PatientSex if film.PatientSex in ('M', 'F') else 'unknown'
  return film_table.Listed('', sex, None, {}, '')


def main() -> None:
  """Load the nets of the task on the input, and answer films until it ends."""
  task = json.loads(sys.stdin.readline())
  threading.Thread(target=_end_with_input, daemon=True).start()
  with door.one_line_errors():
    cv2.setNumThreads(1)
    dicom_report.import_highdicom()
    startup.set_up()
    startup.check_device()
    extend.load(task['imports'])
    workdir = model_file.folder_of(task['workdir'], task['model'])
    stage = task['stage']
    nets = loading.load(workdir, stage, 1, task['site'], task['dtype'])
    settings = dicom_out.settings(nets, workdir, stage)
    folder = folder_lib.Folder(task['folder'])
    limits = limits_lib.Limits(*task['limits'])
    answerer = Answerer(folder, nets, settings, limits)
    slow = loading.slow(workdir, task['dtype'])
    said = (nets.basis.sentence, views.NOTICE, slow)
    print(door.shown(' '.join(filter(None, said))), flush=True)
    while True:
      if not answerer.run_once():
        time.sleep(PAUSE)


def _end_with_input() -> None:
  sys.stdin.read()
  os._exit(0)


if __name__ == '__main__':
  main()
