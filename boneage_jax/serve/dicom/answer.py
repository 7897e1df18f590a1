"""Predicts films that were received; a process of its own, started by `node`.

It reads its task from its input, and ends when that ends: with the node.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import json
import os
import sys
import threading
import time
from typing import Any
from typing import NamedTuple

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
from boneage_jax.serve.dicom import send

PAUSE = 0.1  # seconds between looks into the folder
AT_ONCE = 32  # films of one round
HELD = 1e9  # bytes of films of one round, after which no more are read
# Of a film that cannot be predicted for what it does not show, with waits of 1,
# 2, 4 and 8 seconds.
MOST_TRIES = 5


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
    self._tries: dict[tuple[str, folder_lib.Version | None], int] = {}
    self._failed = False  # the machine was at fault in this round
    self._failures = 0  # rounds of that, one after the other

  @property
  def pause(self) -> float:
    """Seconds to wait after a round without films, or with a fault."""
    return send.backoff(self._failures) if self._failures else PAUSE

  def run_once(self) -> int:
    """Answer films that wait; return how many were there.

    It returns 0, too, where the machine is at fault. Where something could not
    be written, such as on a full disk, or no film can be decoded, that is said,
    no film is blamed for it, and all of it is tried again.
    """
    self._failed = False
    waiting = self._folder.films()[:AT_ONCE]
    taken: dict[str, _Taken] = {}
    films = self._take(waiting, taken)
    for answer in film_batches.predict(self._nets, films, self._reading):
      self._try(self._answer, answer, taken.pop(answer.film.name))
    self._failures = self._failures + 1 if self._failed else 0
    return 0 if self._failed else len(waiting)

  def _try(self, act: Callable[..., None], *arguments: Any) -> None:
    """Do what writes into the folder."""
    try:
      act(*arguments)
    except OSError as error:
      self._wait(f'answers cannot be written: {door.reason(error)}')

  def _wait(self, reason: str) -> None:
    """Let films wait for a machine that is well again."""
    if not self._failed and not self._failures:  # of many, the first one
      text = door.shown(f'Films wait: {reason}')
      print(text, file=sys.stderr, flush=True)
    self._failed = True

  def _take(
    self, waiting: Sequence[str], taken: dict[str, '_Taken']
  ) -> Iterator[film_list.Film]:
    """Yield films that are to be predicted, and leave in `taken` what they are.

    A film is read once, as another version may come at any time.
    """
    held = 0
    for uid in waiting:
      if held > HELD:
        return
      version = self._folder.version(uid)
      try:
        data, version = self._folder.read(uid, self._reading.limits)
        header = dicom_source.read(data, self._reading.limits)
      except FileNotFoundError:  # it was given up
        continue
      except ValueError as error:
        reason = door.shown(str(error))
        self._try(self._folder.give_up_film, uid, reason, version)
        continue
      except OSError as error:
        self._try(self._fault, uid, version, door.shown(door.reason(error)))
        continue
      if header.get('ManufacturerModelName') == dicom.MODEL_NAME:
        self._try(self._folder.answered, uid, folder_lib.OWN, '', (), version)
        continue
      held += len(data)
      taken[uid] = _Taken(header, version)
      path, listed = self._folder.film(uid), _listed(header)
      yield film_list.Film(uid, path, listed=listed, data=data)

  def _fault(
    self, uid: str, version: folder_lib.Version | None, reason: str
  ) -> None:
    """Give a film up of which the machine could make nothing, several times."""
    tries = self._tries.get((uid, version), 0) + 1
    self._tries[uid, version] = tries
    if tries >= MOST_TRIES:
      self._folder.give_up_film(uid, reason, version)
    else:
      self._wait(reason)

  def _answer(self, answer: film_batches.Answer, taken: '_Taken') -> None:
    """Leave what is to be sent of a film."""
    uid, prediction = answer.film.name, answer.prediction
    film, version = taken
    if answer.error:
      self._wait(f'no film can be decoded: {door.reason(answer.error)}')
      return
    if answer.reason.startswith(film_batches.FAULT):
      self._fault(uid, version, answer.reason)
      return
    if prediction is None:
      said = [answer.reason]
    else:
      inverted = self._nets.inverted
      said = list(views.warnings(prediction, answer.file.sex, inverted))
    reason = door.shown(' '.join(said))
    if no_hand(film, prediction, self._nets.checks is not None):
      self._folder.answered(uid, folder_lib.NO_HAND, reason, (), version)
      return
    refused = prediction is None or prediction.withheld
    paths = dicom_out.write(
      self._folder.objects, self._settings, film, prediction, said
    )
    kind = folder_lib.REFUSED if refused else folder_lib.AGE
    self._folder.answered(uid, kind, reason, paths, version)


class _Taken(NamedTuple):
  """A film that was read: its header, and which version of the film it is."""

  header: Any
  version: folder_lib.Version


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
    slow = loading.slow(workdir, stage, task['dtype'])
    said = (nets.basis.sentence, views.NOTICE, slow)
    print(door.shown(' '.join(filter(None, said))), flush=True)
    while True:
      if not answerer.run_once():
        time.sleep(answerer.pause)


def _end_with_input() -> None:
  sys.stdin.read()
  os._exit(0)


if __name__ == '__main__':
  main()
