"""One radiograph of a DICOM file as the 8-bit grey film the nets expect."""

import io
import os
from typing import Any

import cv2
import numpy as np

SEXES = ('M', 'F')  # anything else, O included, is unknown


def read(source: bytes | str | os.PathLike) -> dict[str, Any]:
  """Reads a film and what its header says about the patient.

  Pixels go through modality LUT, VOI LUT (window), a rescale of the range that
  occurs to 0..255, inversion where low values are bright, and padding is made
  black (DICOM PS3.3 C.11.1, C.11.2, C.7.6.3.1.2).

  Args:
    source: the file's bytes or its path.

  Returns:
    `image` uint8 [H, W]; `sex` 'M', 'F' or 'unknown'; `sex_as_written`;
    `patient_age` as written ('010Y') or ''; `laterality`, `body_part`;
    `pixel_spacing` [row, column] in mm or None; `burned_in` True, False or
    None (not said).

  Raises:
    ValueError: not DICOM, not one film, or pixels that cannot be decoded.
  """
  pydicom = _import_pydicom()
  name = 'DICOM film' if isinstance(source, bytes) else os.fspath(source)
  try:
    dataset = pydicom.dcmread(
      io.BytesIO(source) if isinstance(source, bytes) else source
    )
  except pydicom.errors.InvalidDicomError as e:
    raise ValueError(
      f'{name}: expected a DICOM file (DICM at byte 128). Export the film '
      'again, or give it as PNG or JPEG.'
    ) from e
  spacing = dataset.get('ImagerPixelSpacing') or dataset.get('PixelSpacing')
  burned_in = {'YES': True, 'NO': False}.get(
    _text(dataset, 'BurnedInAnnotation').upper()
  )
  sex = _text(dataset, 'PatientSex').upper()
  return {
    'image': _film(dataset, name),
    'sex': sex if sex in SEXES else 'unknown',
    'sex_as_written': sex,
    'patient_age': _text(dataset, 'PatientAge'),
    'laterality': (
      _text(dataset, 'ImageLaterality') or _text(dataset, 'Laterality')
    ),
    'body_part': _text(dataset, 'BodyPartExamined'),
    'pixel_spacing': [float(s) for s in spacing] if spacing else None,
    'burned_in': burned_in,
  }


def _import_pydicom():
  try:
    import pydicom
    import pydicom.errors
    import pydicom.pixels
  except ImportError as e:
    raise ValueError(
      "Reading a DICOM film needs pydicom: pip install -e '.[dicom]' in the "
      'clone of boneage_jax.'
    ) from e
  return pydicom


def _text(dataset, keyword: str) -> str:
  value = dataset.get(keyword)
  return '' if value is None else str(value).strip()


def _film(dataset, name: str) -> np.ndarray:
  pydicom = _import_pydicom()
  if 'PixelData' not in dataset:
    raise ValueError(f'{name}: expected one radiograph, found no pixel data.')
  frames = int(dataset.get('NumberOfFrames') or 1)
  if frames != 1:
    raise ValueError(
      f'{name}: expected one radiograph, found {frames} frames. Export the '
      'frame with the hand as its own file.'
    )
  try:
    stored = dataset.pixel_array
  except Exception as e:  # each decoder plug-in raises its own kinds
    syntax = (
      getattr(dataset.file_meta.TransferSyntaxUID, 'name', 'unknown')
      if 'TransferSyntaxUID' in dataset.file_meta
      else 'unknown'
    )
    raise ValueError(
      f'{name}: the pixels cannot be decoded (transfer syntax: {syntax}): '
      f'{e} If the file is whole, pip install python-gdcm, or export it '
      'uncompressed.'
    ) from e
  if stored.ndim == 3:
    if stored.dtype != np.uint8:
      raise ValueError(
        f'{name}: expected grey or 8-bit colour pixels, found {stored.dtype} '
        'colour.'
      )
    return cv2.cvtColor(stored, cv2.COLOR_RGB2GRAY)

  values = pydicom.pixels.apply_modality_lut(stored, dataset)
  values = pydicom.pixels.apply_voi_lut(values, dataset)
  values = np.asarray(values, np.float32)
  padding = _padding(stored, dataset)
  inside = values[~padding]
  low, high = (inside.min(), inside.max()) if inside.size else (0.0, 0.0)
  if high <= low:
    raise ValueError(f'{name}: every pixel has the same value: no film.')
  values = np.clip((values - low) / (high - low), 0, 1)
  # MONOCHROME1 goes with INVERSE by the standard: one inversion, never two.
  if (
    _text(dataset, 'PhotometricInterpretation') == 'MONOCHROME1'
    or _text(dataset, 'PresentationLUTShape') == 'INVERSE'
  ):
    values = 1 - values
  values[padding] = 0
  return np.rint(values * 255).astype(np.uint8)


def _padding(stored: np.ndarray, dataset) -> np.ndarray:
  """Marks the pixels outside of the exposed field, bool [H, W]."""
  first = dataset.get('PixelPaddingValue')
  if first is None:
    return np.zeros(stored.shape, bool)
  last = dataset.get('PixelPaddingRangeLimit', first)
  return (stored >= min(first, last)) & (stored <= max(first, last))
