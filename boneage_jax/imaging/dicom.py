"""One radiograph of a DICOM file as the 8-bit grey film the nets expect."""

import datetime
import io
import math
import os
import re
from typing import Any
import warnings

import cv2
import numpy as np

from boneage_jax.imaging import dicom_pixels
from boneage_jax.imaging import greys
from boneage_jax.imaging import voi

SEXES = ('M', 'F')  # anything else, O included, is unknown
DAYS = 365.25 / 12  # of a month
# Days of a unit of PatientAge, and the part of it that passed on average: whole
# years are written.
UNITS = {'D': (1, 0.0), 'W': (7, 0.5), 'M': (DAYS, 0.5), 'Y': (12 * DAYS, 0.5)}


def read(source: bytes | str | os.PathLike) -> dict[str, Any]:
  """Reads a film and what its header says about the patient.

  Pixels go through modality LUT, VOI LUT (window) to 0..255, inversion where
  low values are bright, and padding is made black (DICOM PS3.3 C.11.1, C.11.2,
  C.7.6.3.1.2). Without a window that fits, the film's own range counts, see
  `greys`; what has 8 bits stays as it is.

  Args:
    source: the file's bytes or its path.

  Returns:
    `image` uint8 [H, W]; `notes`, names of what is odd (`codec.NOTES`); `sex`
    'M', 'F' or 'unknown'; `sex_as_written`; `patient_age` as written ('010Y')
    or ''; `chronological_age`, months or None; `laterality`, `body_part`;
    `pixel_spacing` [row, column] in mm or None; `burned_in` True, False or None
    (not said).

  Raises:
    ValueError: not DICOM, not one film, or pixels that cannot be decoded.
  """
  pydicom = _import_pydicom()
  name = 'DICOM film' if isinstance(source, bytes) else os.fspath(source)
  try:
    dataset = pydicom.dcmread(
      io.BytesIO(source) if isinstance(source, bytes) else source
    )
  except OSError:
    raise
  except pydicom.errors.InvalidDicomError as e:
    raise ValueError(
      f'{name}: expected a DICOM file (DICM at byte 128). Export the film '
      'again, or give it as PNG or JPEG.'
    ) from e
  except Exception as e:  # damaged headers raise many kinds
    raise ValueError(f'{name}: the DICOM header cannot be read: {e}') from e
  try:
    image, notes = _film(dataset, pydicom)
  except Exception as e:  # pydicom reads most of a header when it is asked
    raise ValueError(f'{name}: {e}') from e
  spacing = dataset.get('ImagerPixelSpacing') or dataset.get('PixelSpacing')
  burned_in = {'YES': True, 'NO': False}.get(
    _text(dataset, 'BurnedInAnnotation').upper()
  )
  sex = _text(dataset, 'PatientSex').upper()
  return {
    'image': image,
    'notes': notes,
    'sex': sex if sex in SEXES else 'unknown',
    'sex_as_written': sex,
    'patient_age': _text(dataset, 'PatientAge'),
    'chronological_age': _chronological_age(dataset),
    'laterality': (
      _text(dataset, 'ImageLaterality') or _text(dataset, 'Laterality')
    ),
    'body_part': _text(dataset, 'BodyPartExamined'),
    'pixel_spacing': [float(s) for s in spacing] if spacing else None,
    'burned_in': burned_in,
  }


def _chronological_age(dataset: Any) -> float | None:
  """Return the age at the film, months: by dates, or else by PatientAge."""
  born = _date(_text(dataset, 'PatientBirthDate'))
  taken = _date(_text(dataset, 'AcquisitionDate')) or _date(
    _text(dataset, 'StudyDate')
  )
  if born and taken and born <= taken:
    return (taken - born).days / DAYS
  written = re.fullmatch(r'(\d{1,3})([DWMY])', _text(dataset, 'PatientAge'))
  if not written:
    return None
  days, passed = UNITS[written[2]]
  return (int(written[1]) + passed) * days / DAYS


def _date(text: str) -> datetime.date | None:
  try:
    return datetime.datetime.strptime(text, '%Y%m%d').date()
  except ValueError:
    return None


def _import_pydicom():
  try:
    import pydicom
    import pydicom.encaps
    import pydicom.errors
    import pydicom.pixels
  except ImportError as e:
    raise ValueError(
      "Reading a DICOM film needs pydicom: pip install -e '.[dicom]' in the "
      'clone of boneage_jax.'
    ) from e
  # It warns of every value that is not written by the book.
  warnings.filterwarnings('ignore', module='pydicom')
  return pydicom


def _text(dataset, keyword: str) -> str:
  value = dataset.get(keyword)
  return '' if value is None else str(value).strip()


def _film(dataset: Any, pydicom: Any) -> tuple[np.ndarray, tuple[str, ...]]:
  """Return uint8 [H, W] and names of what is odd."""
  if 'PixelData' not in dataset:
    raise ValueError('expected one radiograph, found no pixel data.')
  frames = int(dataset.get('NumberOfFrames') or 1)
  if frames != 1:
    raise ValueError(
      f'expected one radiograph, found {frames} frames. Export the frame with '
      'the hand as its own file.'
    )
  values, padding = dicom_pixels.stored(dataset, pydicom)
  if padding.all():
    raise ValueError(
      'every pixel is padding (PixelPaddingValue), so there is no film.'
    )
  odd = False
  if values.ndim == 3:
    image = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)
  elif _text(dataset, 'PhotometricInterpretation') == dicom_pixels.PALETTE:
    image = dicom_pixels.palette_grey(values, dataset, pydicom)
  else:
    image, odd = _grey(values, ~padding, dataset, pydicom)
    # MONOCHROME1 goes with INVERSE by the standard: one inversion, never two.
    if (
      _text(dataset, 'PhotometricInterpretation') == 'MONOCHROME1'
      or _text(dataset, 'PresentationLUTShape') == 'INVERSE'
    ):
      image = 255 - image
  inside = image[~padding]
  if inside.min() == inside.max():
    raise ValueError('every pixel has the same value: no film.')
  image[padding] = 0
  return image, ('window',) if odd else ()


def _grey(
  stored: np.ndarray, inside: np.ndarray, dataset: Any, pydicom: Any
) -> tuple[np.ndarray, bool]:
  """Map stored values to 8 bits; and whether windows had to be left out."""
  values = _modality(stored, dataset, pydicom)
  if not np.isfinite(values[inside]).all():
    raise ValueError('the modality LUT leads to values that are no numbers.')
  film = values[inside]
  if film.min() == film.max():
    raise ValueError('every pixel has the same value: no film.')
  shown, odd = voi.apply(values, inside, dataset, pydicom)
  if shown is not None:
    return greys.to_8_bit(shown, 0, 1), odd
  if np.array_equal(film, stored[inside]):
    bits = int(dataset.BitsStored)
    least = -(1 << (bits - 1)) if dataset.PixelRepresentation else 0
    return greys.without_window(stored, film, bits, least), odd
  return greys.to_8_bit(values, *greys.film_range(film)), odd


def _modality(stored: np.ndarray, dataset: Any, pydicom: Any) -> np.ndarray:
  """Apply the modality LUT or rescale, float64 [H, W]; PS3.3 C.11.1."""
  if dataset.get('ModalityLUTSequence'):
    try:
      return pydicom.pixels.apply_modality_lut(stored, dataset).astype(float)
    except Exception as e:  # a table that is short or missing
      raise ValueError(f'the ModalityLUTSequence cannot be read: {e}') from e
  slope = _number(dataset, 'RescaleSlope', 1)
  if slope == 0:
    raise ValueError('expected a RescaleSlope other than 0.')
  intercept = _number(dataset, 'RescaleIntercept', 0)
  with np.errstate(over='ignore'):  # infinity is refused later
    return stored * slope + intercept


def _number(dataset: Any, keyword: str, default: float) -> float:
  """Return a number of the header, or the default where there is none."""
  try:
    value = dataset.get(keyword)
    number = default if value is None or value == '' else float(value)
  except (TypeError, ValueError):
    number = math.nan
  if not math.isfinite(number):
    raise ValueError(
      f'expected a number as {keyword}, found {_text(dataset, keyword)!r}. '
      'Correct the header, or export the film again.'
    )
  return number
