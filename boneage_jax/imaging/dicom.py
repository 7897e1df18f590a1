"""One radiograph of a DICOM file as the 8-bit grey film the nets expect."""

import datetime
import math
import os
import re
from typing import Any
import warnings

import cv2
import numpy as np

from boneage_jax.core import optional
from boneage_jax.core import scalars
from boneage_jax.imaging import dicom_elements
from boneage_jax.imaging import dicom_file
from boneage_jax.imaging import dicom_pixels
from boneage_jax.imaging import greys
from boneage_jax.imaging import limits
from boneage_jax.imaging import voi

MODEL_NAME = 'boneage_jax'  # ManufacturerModelName of what we make
_VALUE = MODEL_NAME.encode().ljust(len(MODEL_NAME) + len(MODEL_NAME) % 2)
_LITTLE, _BIG = (len(_VALUE).to_bytes(2, order) for order in ('little', 'big'))
_OWN = (  # that element: explicit, implicit and big-endian (PS3.5, 7.1)
  b'\x08\x00\x90\x10LO' + _LITTLE + _VALUE,
  b'\x08\x00\x90\x10' + _LITTLE + b'\0\0' + _VALUE,
  b'\x00\x08\x10\x90LO' + _BIG + _VALUE,
)
SEXES = ('M', 'F')  # anything else, O included, is unknown
# Values of the detector: SOP classes of films FOR PROCESSING (PS3.4, B.5).
PROCESSING = tuple(
  f'1.2.840.10008.5.1.4.1.1.{x}' for x in ('1.1.1', '1.2.1', '1.3.1')
)
DAYS = 365.25 / 12  # of a month
APART = 18  # months, by which two ages of a header may differ
# Elements that say how far rows and columns lie apart, in this order.
SPACINGS = ('ImagerPixelSpacing', 'PixelSpacing', 'NominalScannedPixelSpacing')
SQUARE = 0.01  # by which the sides of a square pixel may differ
MOST_ASPECT = 10  # of the sides of a pixel; beyond it a header is wrong
# Days of a unit of PatientAge, and the part of it that passed on average: whole
# years are written.
UNITS = {'D': (1, 0.0), 'W': (7, 0.5), 'M': (DAYS, 0.5), 'Y': (12 * DAYS, 0.5)}


def read(
  source: bytes | str | os.PathLike, admission: limits.Admission | None = None
) -> dict[str, Any]:
  """Reads a film and what its header says about the patient.

  Pixels go through modality LUT, VOI LUT (window) to 0..255, inversion where
  low values are bright, and padding is made black (DICOM PS3.3 C.11.1, C.11.2,
  C.7.6.3.1.2). Without a window that fits, the film's own range counts, see
  `greys`; what has 8 bits stays as it is. A film whose rows lie closer than its
  columns, or the reverse, gets square pixels.

  Args:
    source: the file's bytes or its path.
    admission: of the film, see `limits`.

  Returns:
    `image` uint8 [H, W]; `notes`, names of what is odd (`codec.NOTES`); `sex`
    'M', 'F' or 'unknown'; `sex_as_written`; `patient_age` as written ('010Y')
    or ''; `chronological_age`, months or None; `ages_said`, months by dates and
    by PatientAge, also those that are not used; `laterality`, `body_part`,
    `view`; `pixel_spacing` [row, column] in mm of `image`, or None; `burned_in`
    True, False or None (not said); `sop_instance_uid` or ''.

  Raises:
    ValueError: not DICOM, one of our own objects, not one film, too large, or
      pixels that cannot be decoded.
  """
  pydicom = import_pydicom()
  admission = admission or limits.Admission()
  name = 'DICOM film' if isinstance(source, bytes) else os.fspath(source)
  if not isinstance(source, bytes):
    source = limits.read_file(source, admission.limits)
  try:
    dataset, syntax = dicom_file.parse(source, admission, pydicom)
    header = dicom_elements.Header(dataset)
    if header.text('ManufacturerModelName') == MODEL_NAME:
      raise ValueError(
        f'made by this program (ManufacturerModelName {MODEL_NAME}): a report '
        'or a picture, and no film. Give the film that it was made of.'
      )
    image = _film(header, syntax, admission, pydicom)
    image, spacing = _square(image, header, admission)
  except MemoryError:
    raise
  except limits.TooLargeError as e:
    raise limits.TooLargeError(f'{name}: {e.fact}', e.remedy) from e
  except Exception as e:  # pydicom reads most of a header when it is asked
    what = '' if isinstance(e, ValueError) else f'{type(e).__name__}: '
    raise ValueError(f'{name}: {what}{e}') from e
  burned_in = {'YES': True, 'NO': False}.get(
    header.text('BurnedInAnnotation', 'header').upper()
  )
  sex = header.text('PatientSex', 'header').upper()
  age, ages_said = _ages(header)
  return {
    'image': image,
    'sex': sex if sex in SEXES else 'unknown',
    'sex_as_written': sex,
    'patient_age': header.text('PatientAge', 'header'),
    'chronological_age': age,
    'ages_said': ages_said,
    'laterality': (
      header.text('ImageLaterality', 'header')
      or header.text('Laterality', 'header')
    ),
    'body_part': header.text('BodyPartExamined', 'header'),
    'view': header.text('ViewPosition', 'header'),
    'pixel_spacing': spacing,
    'burned_in': burned_in,
    'sop_instance_uid': header.text('SOPInstanceUID', 'header'),
    'notes': tuple(header.notes),
  }


def is_own(head: bytes) -> bool:
  """Whether a DICOM file that begins so is a report or a picture of ours."""
  return any(element in head for element in _OWN)


def _ages(header: dicom_elements.Header) -> tuple[float | None, list[float]]:
  """Return the age at the film, and each age that the header says; months.

  The one by dates counts, or else PatientAge. There is none, with a note, where
  these two contradict each other, or one is no age of a human.
  """
  born = _date(header.text('PatientBirthDate', 'header'))
  taken = _date(header.text('AcquisitionDate', 'header')) or _date(
    header.text('StudyDate', 'header')
  )
  said = [(taken - born).days / DAYS] if born and taken else []
  written = re.fullmatch(
    r'(\d{1,3})([DWMY])', header.text('PatientAge', 'header').upper()
  )
  if written and (int(written[1]) or not said):  # 000Y fills the element
    days, passed = UNITS[written[2]]
    said.append((int(written[1]) + passed) * days / DAYS)
  if not said:
    return None, said
  low, high = min(said), max(said)
  most = scalars.SCALARS['chronological_age'].most
  if high - low > APART or low < 0 or high > most:
    header.note('age')
    return None, said
  return said[0], said


def _date(text: str) -> datetime.date | None:
  try:
    return datetime.datetime.strptime(text, '%Y%m%d').date()
  except ValueError:
    return None


def import_pydicom() -> Any:
  """Import the package, which is optional.

  Raises:
    ValueError: it is not installed.
  """
  parts = ('encaps', 'errors', 'pixels')
  pydicom = optional.load(
    *('Reading a DICOM film', 'dicom', 'pydicom'),
    *(f'pydicom.{part}' for part in parts),
  )
  # It warns of every value that is not written by the book.
  warnings.filterwarnings('ignore', module='pydicom')
  return pydicom


def _square(
  image: np.ndarray, header: dicom_elements.Header, admission: limits.Admission
) -> tuple[np.ndarray, list[float] | None]:
  """Give a film square pixels: as many more on the side that has fewer.

  Returns:
    The film, uint8 [H, W], and its spacing [row, column] in mm or None. What
    contradicts itself is noted and changes nothing.
  """
  pairs = [_pair(header, name) for name in (*SPACINGS, 'PixelAspectRatio')]
  spacing = next(filter(None, pairs[:-1]), None)
  ratios = [pair[0] / pair[1] for pair in pairs if pair]
  if not ratios or max(ratios + [1 / x for x in ratios]) <= 1 + SQUARE:
    return image, spacing
  low, high = min(ratios), max(ratios)
  if high > low * (1 + SQUARE) or not 1 / MOST_ASPECT <= low <= MOST_ASPECT:
    header.note('aspect')
    return image, spacing
  height, width = image.shape
  if ratios[0] > 1:
    height = round(height * ratios[0])
  else:
    width = round(width / ratios[0])
  admission.pixels(width, height)
  header.note('resampled')
  image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
  return image, spacing and [min(spacing)] * 2


def _pair(header: dicom_elements.Header, keyword: str) -> list[float] | None:
  """Return two numbers above 0, of rows and of columns, or None."""
  found = header.numbers(keyword, 'spacing')
  if len(found) == 2 and all(math.isfinite(x) and x > 0 for x in found):
    return found
  if found:
    header.note('spacing')
  return None


def _film(
  header: dicom_elements.Header,
  syntax: str,
  admission: limits.Admission,
  pydicom: Any,
) -> np.ndarray:
  """Return uint8 [H, W]."""
  stored = dicom_pixels.stored(header, syntax, admission, pydicom)
  if isinstance(stored, np.ndarray):  # colour
    if stored.min() == stored.max():
      raise ValueError('every pixel has the same value: no film.')
    return stored
  _check_intent(header)
  if stored.padding.all():
    raise ValueError(
      'every pixel is padding (PixelPaddingValue), so there is no film.'
    )
  photometric = header.text('PhotometricInterpretation')
  if photometric == dicom_pixels.PALETTE:
    table = dicom_pixels.palette_grey(stored.values, header, pydicom)
  else:
    table = _grey(stored, header, pydicom)
    # MONOCHROME1 goes with INVERSE by the standard: one inversion, never two.
    inverse = header.text('PresentationLUTShape') == 'INVERSE'
    if photometric == 'MONOCHROME1' or inverse:
      table = 255 - table
  inside = table[~stored.padding]
  if inside.min() == inside.max():
    raise ValueError('every pixel has the same value: no film.')
  table[stored.padding] = 0
  return greys.look_up(stored.words, stored.levels, table)


def _check_intent(header: dicom_elements.Header) -> None:
  """Note pixels that were not made to be looked at."""
  intent = header.text('PresentationIntentType').upper()
  if intent == 'FOR PROCESSING' or header.text('SOPClassUID') in PROCESSING:
    header.note('for_processing')


def _grey(
  stored: dicom_pixels.Stored, header: dicom_elements.Header, pydicom: Any
) -> np.ndarray:
  """Return the 8 bits of each level."""
  inside = ~stored.padding
  film, counts = stored.values[inside], stored.counts[inside]
  if film.min() == film.max():
    raise ValueError('every pixel has the same value: no film.')
  values = _modality(stored.values, header, pydicom)
  if values is not None and (
    not np.isfinite(values[inside]).all()
    or values[inside].min() == values[inside].max()
  ):
    header.note('rescale')
    values = None
  if values is None:
    values = stored.values.astype(np.float64)
  shown = voi.apply(values, inside, stored.counts, header, pydicom)
  if shown is not None:
    return greys.to_8_bit(shown, 0, 1)
  if np.array_equal(values, stored.values):
    ends = greys.without_window(film, counts, stored.bits, stored.least)
  else:
    ends = greys.film_range(values[inside], counts)
  return greys.to_8_bit(values, *ends)


def _modality(
  levels: np.ndarray, header: dicom_elements.Header, pydicom: Any
) -> np.ndarray | None:
  """Apply the modality LUT or rescale, float64 [N]; PS3.3 C.11.1.

  None, with a note, where it makes no sense.
  """
  if header.value('ModalityLUTSequence'):
    try:
      found = pydicom.pixels.apply_modality_lut(levels[None], header.dataset)
      return found[0].astype(np.float64)
    except Exception:  # a table that is short or missing
      header.note('rescale')
      return None
  slope = header.number('RescaleSlope', math.nan, 'rescale', 1)
  intercept = header.number('RescaleIntercept', math.nan, 'rescale', 0)
  if slope == 0:
    header.note('rescale')
  if not slope or not math.isfinite(slope * intercept):
    return None
  with np.errstate(over='ignore'):  # infinity is seen later
    return levels * slope + intercept
