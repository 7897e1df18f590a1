"""The picture of a film as a DICOM Secondary Capture."""

from collections.abc import Callable
from typing import Any

import numpy as np

from boneage_jax.inference import dicom_report
from boneage_jax.inference import dicom_source
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import views

SERIES = 'Bone age picture, for research'
NUMBER = dicom_report.NUMBER + 1  # of its series
KEPT = (
  *('StudyDescription', 'IssuerOfPatientID', 'BodyPartExamined'),
  'BurnedInAnnotation',
)


def make(
  film: Any,
  uid: Callable[[str], str],
  prediction: prediction_lib.Prediction,
) -> Any:
  """Return the film with what was found on it, a highdicom SC Image.

  Args:
    film: its header, of `dicom_source.read`.
    uid: gives the UID of what is so named.
    prediction: of the film.
  """
  highdicom = dicom_report.import_highdicom()
  image = highdicom.sc.SCImage(
    np.ascontiguousarray(views.picture(prediction)),
    photometric_interpretation='RGB',
    bits_allocated=8,
    coordinate_system='PATIENT',
    patient_orientation=('L', 'F'),  # asked for; taken back below
    study_instance_uid=film.StudyInstanceUID,
    series_instance_uid=uid('series of the picture'),
    series_number=NUMBER,
    sop_instance_uid=uid('picture'),
    instance_number=1,
    series_description=SERIES,
    patient_id=film.PatientID,
    patient_name=film.PatientName,
    patient_birth_date=film.PatientBirthDate,
    patient_sex=film.PatientSex,
    accession_number=film.AccessionNumber,
    study_id=film.StudyID,
    study_date=film.StudyDate,
    study_time=film.StudyTime,
    referring_physician_name=film.ReferringPhysicianName,
    **dicom_source.equipment(prediction),
  )
  image.PatientOrientation = None  # nobody says it of a film
  image.Laterality = dicom_source.laterality(film)
  for keyword in KEPT:
    if keyword in film:
      image.add(film[keyword])
  image.DerivationDescription = 'Film with what was found on it'
  source = type(film)()
  source.ReferencedSOPClassUID = film.SOPClassUID
  source.ReferencedSOPInstanceUID = film.SOPInstanceUID
  image.SourceImageSequence = [source]
  return image
