"""What DICOM objects of ours take over from the header of their film."""

from collections.abc import Iterator
import hashlib
from typing import Any

from boneage_jax.imaging import dicom
from boneage_jax.imaging import dicom_elements
from boneage_jax.imaging import dicom_file
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.inference import prediction as prediction_lib

# Without these nothing can be filed beside the film.
UIDS = ('StudyInstanceUID', 'SeriesInstanceUID', 'SOPInstanceUID')
TEXTS = (
  *('PatientName', 'PatientID', 'IssuerOfPatientID', 'PatientBirthDate'),
  *('StudyDate', 'StudyTime', 'StudyID', 'StudyDescription'),
  *('AccessionNumber', 'ReferringPhysicianName', 'BodyPartExamined'),
  'ManufacturerModelName',
)
PATIENT = ('PatientName', 'PatientID')  # taken over as they are
# Elements that an object has, void where the film does not say them (type 2).
TYPE_2 = (
  *('PatientName', 'PatientID', 'PatientBirthDate', 'PatientSex', 'StudyID'),
  *('StudyDate', 'StudyTime', 'AccessionNumber', 'ReferringPhysicianName'),
)
CHOICES = {
  'PatientSex': ('M', 'F', 'O'),
  'Laterality': ('L', 'R', 'B'),
  'ImageLaterality': ('L', 'R', 'B', 'U'),
  'BurnedInAnnotation': ('YES', 'NO'),
}

# Groups of elements that say how a film is shown (PS3.6): the picture, look-up
# tables, pixels.
LOOKS = (0x0028, 0x2050, 0x7FE0)


def read(data: bytes, limits: limits_lib.Limits | None = None) -> Any:
  """Return what counts of a film's header, as a pydicom Dataset of its own.

  What is damaged, or no value of its kind, counts as absent. The attribute
  `looks` is a hash of the film's pixels and of how they are shown. It does not
  depend on how the file is encoded, unless the pixels are compressed otherwise.

  Args:
    data: the film's file.
    limits: of its size.

  Raises:
    ValueError: no DICOM, or an identifier without which nothing can be filed.
  """
  pydicom = dicom.import_pydicom()
  dataset, _ = dicom_file.parse(data, limits_lib.Admission(limits), pydicom)
  header, film = dicom_elements.Header(dataset), pydicom.Dataset()
  for keyword in (*UIDS, 'SOPClassUID'):
    setattr(film, keyword, _uid(header, keyword, pydicom))
  for keyword in (*TEXTS, *CHOICES):
    value = header.text(keyword)
    if keyword in CHOICES:
      value = value.upper() if value.upper() in CHOICES[keyword] else ''
    elif keyword not in PATIENT and not _is_valid(keyword, value, pydicom):
      value = ''
    if value or keyword in TYPE_2:
      setattr(film, keyword, value)
  spacings = repr(list(map(header.numbers, dicom.SPACINGS)))
  looks = '\n'.join([*_looks(dataset), spacings])
  film.looks = hashlib.sha256(looks.encode()).hexdigest()
  return film


def texts(film: Any) -> dict[str, str]:
  """Return what `read` returns, by keyword."""
  return {one.keyword: str(one.value) for one in film}


def laterality(film: Any) -> str:
  """Return 'L', 'R' or '' of what `read` returns."""
  given = film.get('ImageLaterality') or film.get('Laterality')
  return given if given in ('L', 'R') else ''


def equipment(prediction: prediction_lib.Prediction | None) -> dict[str, str]:
  """Return what objects of ours say of who made them."""
  basis = prediction.basis if prediction else None
  return {
    'manufacturer': dicom.MODEL_NAME,
    'manufacturer_model_name': dicom.MODEL_NAME,
    'specific_character_set': 'ISO_IR 192',  # UTF-8
    'software_versions': basis.version if basis else 'unknown',
  }


def _uid(header: dicom_elements.Header, keyword: str, pydicom: Any) -> str:
  value = header.text(keyword)
  if not pydicom.uid.UID(value).is_valid:
    raise ValueError(
      f'Expected {keyword} in the DICOM header, found {value[:64]!r}: no DICOM '
      'object can be filed beside this film. Export it again.'
    )
  return value


def _looks(dataset: Any, nested: bool = False) -> Iterator[str]:
  """Yield tag and hash of each element of LOOKS, and of all that is in it."""
  for tag in sorted(dataset.keys()):
    if not nested and tag.group not in LOOKS:
      continue
    try:
      value, is_sequence = dataset[tag].value, dataset[tag].VR == 'SQ'
    except Exception:  # a damaged one
      value, is_sequence = dataset.get_item(tag).value, False
    if is_sequence:
      for item in value:
        yield from _looks(item, nested=True)
      continue
    data = value if isinstance(value, bytes) else str(value).encode()
    yield f'{tag} {hashlib.sha256(data).hexdigest()}'


def _is_valid(keyword: str, value: str, pydicom: Any) -> bool:
  """Whether a value is one that the element can have (PS3.5, 6.2)."""
  kind = pydicom.datadict.dictionary_VR(keyword)
  convert = {'DA': pydicom.valuerep.DA, 'TM': pydicom.valuerep.TM}.get(
    kind, str
  )
  try:
    pydicom.valuerep.validate_value(kind, value, pydicom.config.RAISE)
    convert(value)
  except ValueError:
    return False
  return value.isprintable()
