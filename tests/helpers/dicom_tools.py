"""What other people's programs say of DICOM objects; and films for these."""

import shutil
import subprocess

import dicom_film
import numpy as np
import pytest

CR = '1.2.840.10008.5.1.4.1.1.1'
# A film with all that a modality writes, of the visible sort.
TAGS = {
  **{'SOPClassUID': CR, 'SOPInstanceUID': '1.2.3.6', 'Modality': 'CR'},
  **{'StudyInstanceUID': '1.2.3.4', 'SeriesInstanceUID': '1.2.3.5'},
  **{'SpecificCharacterSet': 'ISO_IR 100', 'PatientName': 'Jürgens^Änne'},
  **{'PatientID': '42', 'PatientBirthDate': '20100203', 'PatientSex': 'F'},
  **{'StudyDate': '20200101', 'StudyTime': '101112.5', 'StudyID': '7'},
  **{'AccessionNumber': 'A1', 'ReferringPhysicianName': '', 'Laterality': 'L'},
  **{'BodyPartExamined': 'HAND', 'BurnedInAnnotation': 'NO'},
  **{'StudyDescription': 'Hand', 'IssuerOfPatientID': 'Clinic'},
}


def film(pixels=dicom_film.RAMP, **tags):
  """The bytes of a film; of `tags`, None leaves one of TAGS out."""
  every = {**TAGS, **tags}
  return dicom_film.encoded(
    pixels, **{k: v for k, v in every.items() if v is not None}
  )


def phantom(seed, long_side=256, **tags):
  """The bytes of a film of a synthetic hand."""
  from boneage_jax.phantom import render

  image = render.make_film(seed, 0, {'long_side': long_side})['image']
  return film(image.astype(np.uint16) * 257, **tags)


def program(name):
  """The path of a program of dcmtk or dicom3tools; skips where it is not."""
  found = shutil.which(name)
  if not found:
    pytest.skip(f'{name} is not here: apt-get install dcmtk dicom3tools')
  return found


def faults(path):
  """Errors and warnings that dciodvfy names in a file."""
  done = subprocess.run(
    [program('dciodvfy'), '-new', str(path)],
    capture_output=True,
    text=True,
    check=False,
  )
  lines = (done.stdout + done.stderr).splitlines()
  return [[x for x in lines if x.startswith(w)] for w in ('Error', 'Warning')]


def html(path, out):
  """What dsr2html makes of a report, and what it says of it."""
  done = subprocess.run(
    [program('dsr2html'), '+Cc', str(path), str(out)],
    capture_output=True,
    text=True,
    check=True,
  )
  return out.read_text(encoding='utf-8'), done.stderr
