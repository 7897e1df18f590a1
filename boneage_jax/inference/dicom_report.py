"""A prediction as a DICOM structured report (TID 1500, Measurement Report)."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from boneage_jax.core import optional
from boneage_jax.imaging import dicom
from boneage_jax.inference import dicom_source
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import tables
from boneage_jax.inference import views

SERIES = 'Bone age report, for research'
NUMBER = 9901  # of its series
Code = tuple[str, str, str]  # value, scheme, meaning
# LOINC 85151-9 (component Bone age, property Time, scale Qn, method XR, active)
# "is used to report the bone age (e.g. in years, months), which can be computed
# by various x-ray methods": loinc.org/85151-9. DICOM PS3.16 has no code of its
# own, and LOINC 37362-1 is the study, not the number.
BONE_AGE = ('85151-9', 'LN', 'XR Bone age')
# No public scheme has the ends of such an interval, the status of a film or
# its quality flags, so these are private codes (PS3.16, 8.2).
SCHEME = '99BONEAGE'
STATUS = ('STATUS', SCHEME, 'Status of the film')
FLAG = ('FLAG', SCHEME, 'Quality flag')
STATUSES = {
  quality.OK: 'ok',
  quality.CHECK: 'check: look at the film before the age',
  quality.REFUSED: 'refused: no age is given',
}
MONTH = ('mo', 'UCUM', 'month')
COMMENT = ('121106', 'DCM', 'Comment')
DEVICE = ('121007', 'DCM', 'Device')
RADIOGRAPHY = ('43468-8', 'LN', 'XR unspecified body region')  # of CID 100
HAND = ('85562004', 'SCT', 'Hand')
SIDES = {'L': ('7771000', 'SCT', 'Left'), 'R': ('24028007', 'SCT', 'Right')}
SEX = ('121032', 'DCM', 'Subject Sex')
SEXES = {  # CID 7455
  'M': ('M', 'DCM', 'Male'),
  'F': ('F', 'DCM', 'Female'),
  'unknown': ('U', 'DCM', 'Unknown sex'),
}


class Group(NamedTuple):
  """What one group of measurements says (TID 1501).

  Attributes:
    name: of the group, which tracks it.
    numbers: code and months of each.
    words: code and coded answer of each.
    lines: in plain words.
  """

  name: str
  numbers: tuple[tuple[Code, float], ...]
  words: tuple[tuple[Code, Code], ...]
  lines: tuple[str, ...] = ()


def import_highdicom() -> Any:
  """Import the package, which is optional.

  Raises:
    ValueError: it is not installed.
  """
  parts = ('coding_schemes', 'sc', 'sr')
  return optional.load(
    *('Writing DICOM', 'dicom-out', 'highdicom'),
    *(f'highdicom.{part}' for part in parts),
  )


def make(
  film: Any,
  device: str,
  uid: Callable[[str], str],
  prediction: prediction_lib.Prediction | None,
  said: Sequence[str] = (),
) -> Any:
  """Return the report of a film, a highdicom Comprehensive SR; ages in months.

  Args:
    film: its header, of `dicom_source.read`.
    device: UID of the nets that measured.
    uid: gives the UID of what is so named.
    prediction: of the film; where it withholds the age, the report has none.
    said: `views.warnings` of it, or why there is none.
  """
  highdicom = import_highdicom()
  sr, name = highdicom.sr, dicom.MODEL_NAME
  measured_by = sr.DeviceObserverIdentifyingAttributes(
    device, name=name, manufacturer_name=name, model_name=name
  )
  observer = sr.ObserverContext(_coded(DEVICE), measured_by)
  content = sr.MeasurementReport(
    sr.ObservationContext(observer_device_context=observer),
    procedure_reported=_coded(RADIOGRAPHY),
    imaging_measurements=[
      _made(group, film, uid, prediction) for group in groups(prediction, said)
    ],
  )
  _separate(content[0])
  scheme = highdicom.coding_schemes.CodingSchemeIdentificationItem(
    SCHEME,
    name='Private codes of boneage_jax',
    responsible_organization=name,
  )
  return sr.ComprehensiveSR(
    evidence=[film],
    content=content[0],
    series_instance_uid=uid('series of the report'),
    series_number=NUMBER,
    sop_instance_uid=uid('report'),
    instance_number=1,
    series_description=SERIES,
    coding_schemes=[scheme],
    is_complete=False,
    is_final=False,
    is_verified=False,
    **dicom_source.equipment(prediction),
  )


def groups(
  prediction: prediction_lib.Prediction | None, said: Sequence[str] = ()
) -> Iterator[Group]:
  """Yield what is said; of an unknown sex one group more for each sex."""
  lines = tuple(text[:1].upper() + text[1:] for text in said)
  if prediction is None:
    words = ((STATUS, _status(quality.REFUSED)),)
    yield Group('no bone age', (), words, (*lines, views.NOTICE))
    return
  words = (
    (STATUS, _status(prediction.status)),
    *((FLAG, _flag(name)) for name in prediction.quality_flags),
    (SEX, SEXES[prediction.sex]),
  )
  lines = (tables.format_line(prediction), *lines, views.NOTICE)
  if prediction.withheld:
    yield Group('no bone age', (), words, lines)
    return
  numbers = [(BONE_AGE, prediction.age_predicted)]
  for level, ends in sorted(prediction.intervals.items()):
    for word, age in zip(('Lower', 'Upper'), ends, strict=True):
      meaning = f'{word} end of the {level} % interval of the bone age'
      numbers.append(((f'{word.upper()}{level}', SCHEME, meaning), age))
  yield Group('bone age', tuple(numbers), words, lines)
  by_sex = {'M': prediction.age_if_male, 'F': prediction.age_if_female}
  for sex, age in by_sex.items():
    if age is not None:
      name = f'bone age if {SEXES[sex][2].lower()}'
      yield Group(name, ((BONE_AGE, age),), ((SEX, SEXES[sex]),))


def _made(
  group: Group,
  film: Any,
  uid: Callable[[str], str],
  prediction: prediction_lib.Prediction | None,
) -> Any:
  """Return a group of measurements for the content of a report."""
  sr = import_highdicom().sr
  basis = prediction.basis if prediction else None
  side = SIDES.get(dicom_source.laterality(film))
  site = sr.FindingSite(_coded(HAND), side and _coded(side))
  method = basis and sr.AlgorithmIdentification(
    basis.method,
    basis.version,
    [f'trained on {basis.trained_on}'],
    manufacturer=dicom.MODEL_NAME,
  )
  made = sr.MeasurementsAndQualitativeEvaluations(
    sr.TrackingIdentifier(uid(f'tracking of {group.name}'), group.name),
    algorithm_id=method or None,
    finding_sites=[site] if group.numbers else None,
    measurements=[
      sr.Measurement(_coded(code), round(months, 4), _coded(MONTH))
      for code, months in group.numbers
    ],
    qualitative_evaluations=[
      sr.QualitativeEvaluation(_coded(name), _coded(value))
      for name, value in group.words
    ],
    source_images=[
      sr.SourceImageForMeasurementGroup(film.SOPClassUID, film.SOPInstanceUID)
    ],
  )
  made[0].ContentSequence.extend(
    sr.TextContentItem(
      _coded(COMMENT), line, sr.RelationshipTypeValues.CONTAINS
    )
    for line in group.lines
  )
  return made


def _separate(item: Any) -> None:
  """Have viewers show each item under its name, not as flowing text."""
  if item.ValueType == 'CONTAINER':
    item.ContinuityOfContent = 'SEPARATE'
  for part in item.get('ContentSequence', ()):
    _separate(part)


def _status(name: str) -> Code:
  return (name.upper(), SCHEME, STATUSES[name])


def _flag(name: str) -> Code:
  return (name.upper(), SCHEME, name.replace('_', ' '))


def _coded(code: Code) -> Any:
  return import_highdicom().sr.CodedConcept(code[0], code[1], code[2])
