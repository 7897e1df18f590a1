"""Predictions as DICOM objects in a folder, each written once.

An object's UID follows from its film and from all that its content depends on,
so a film that comes again with another name, age or picture gets other objects.
A file that is there stays as it is: whoever gets an object twice gets the same
bytes.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
import io
import json
import os
from typing import Any
from typing import NamedTuple
import uuid

from boneage_jax.core import durable
from boneage_jax.core import stages
from boneage_jax.inference import contents
from boneage_jax.inference import dicom_picture
from boneage_jax.inference import dicom_report
from boneage_jax.inference import dicom_source
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_list
from boneage_jax.inference import model_file
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import reference as reference_lib
from boneage_jax.inference import row_settings
from boneage_jax.runs import run as run_lib

DIGITS = 2  # of months in UIDs: further ones differ between machines
SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, 'boneage_jax')


def settings(
  nets: Any,
  workdir: str,
  stage: str = '',
  norm: reference_lib.Norm = reference_lib.NO_NORM,
  force: bool = False,
) -> dict[str, Any]:
  """Return what the objects of a film depend on, besides the film and its sex.

  Args:
    nets: of `loading.load`.
    workdir: they were loaded from.
    stage: they were loaded from, '' for the one that the run reports.
    norm: that ages are compared with.
    force: whether films that are refused get their age.
  """
  config = run_lib.read_config(workdir)
  return {
    'model': contents.digest(nets),
    'config': model_file.bare(config, stages.chosen(config, stage)),
    'site': nets.site,
    'version': nets.basis.version,
    **row_settings.of_answers(nets, norm, force),
  }


def uid(settings_of: Mapping[str, Any], film: str, sex: str, what: str) -> str:
  """Return the UID of an object, or of what is in one (PS3.5, B.2).

  Args:
    settings_of: of `settings`.
    film: its SOP Instance UID, the side that was read, and `content`; '' for
      none.
    sex: that was used, or ''.
    what: is named by it.
  """
  name = json.dumps([film, sex, what, settings_of], sort_keys=True)
  return f'2.25.{uuid.uuid5(SPACE, name).int}'


def content(
  film: Any,
  prediction: prediction_lib.Prediction | None,
  said: Sequence[str],
) -> str:
  """Return a hash of what is said of a film; arguments as of `write`.

  The SOP Instance UID alone does not tell films apart: a film whose header or
  pixels were corrected keeps it.
  """
  numbers, flags = {}, ()
  if prediction:
    flags = prediction.quality_flags
    names = ('age_predicted', 'age_if_male', 'age_if_female')
    names += ('chronological_age', 'sds')
    numbers = {name: getattr(prediction, name) for name in names}
    for level, ends in prediction.intervals.items():
      numbers |= {f'lo{level}': ends[0], f'hi{level}': ends[1]}
  numbers = {
    name: round(float(x), DIGITS)
    for name, x in numbers.items()
    if x is not None
  }
  said_of = [film.looks, dicom_source.texts(film), numbers, flags, list(said)]
  text = json.dumps(said_of, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def write(
  folder: str,
  settings_of: Mapping[str, Any],
  film: Any,
  prediction: prediction_lib.Prediction | None,
  said: Sequence[str],
  side: str = '',
) -> list[str]:
  """Write the report and the picture of a film; return their paths.

  Args:
    folder: for files named by their UIDs; it is made.
    settings_of: of `settings`.
    film: header, of `dicom_source.read`.
    prediction: of the film; without one there is no picture.
    said: see `dicom_report.make`.
    side: of the film that was read, '' for all of it.

  Raises:
    OSError: the folder cannot be written.
    ValueError: highdicom is not installed.
  """
  os.makedirs(folder, exist_ok=True)
  sex = prediction.sex if prediction else ''
  name = f'{film.SOPInstanceUID}#{side}#{content(film, prediction, said)}'
  of = lambda what: uid(settings_of, name, sex, what)
  device = uid(settings_of, '', '', 'device')
  makers = {
    'report': lambda: dicom_report.make(film, device, of, prediction, said),
    'picture': lambda: dicom_picture.make(film, of, prediction),
  }
  paths = []
  for what in makers if prediction else ('report',):
    path = os.path.join(folder, f'{of(what)}.dcm')
    if not os.path.exists(path):
      data = io.BytesIO()
      makers[what]().save_as(data, enforce_file_format=True)
      durable.write_once(path, data.getvalue())
    paths.append(path)
  return paths


class Objects(NamedTuple):
  """Where the objects of films go.

  Attributes:
    folder: for files named by their UIDs.
    settings: of `settings`.
    read: returns the bytes of a film.
  """

  folder: str
  settings: Mapping[str, Any]
  read: Callable[[film_list.Film], bytes]

  def add(
    self,
    answer: film_batches.Answer,
    prediction: prediction_lib.Prediction,
    said: Sequence[str],
  ) -> None:
    """Write the report and the picture of a film.

    Args:
      answer: of the film.
      prediction: as it is to be shown.
      said: `views.warnings` of it.

    Raises:
      OSError: the folder cannot be written.
      ValueError: the film is no DICOM, or its header has no identifiers.
    """
    if not answer.file.is_dicom:
      raise ValueError('No DICOM film, so that it gets no DICOM objects.')
    film = dicom_source.read(self.read(answer.film))
    side = answer.film.side
    write(self.folder, self.settings, film, prediction, said, side)
