"""DICOMDIR files: lists of the films beside them."""

from collections.abc import Iterator
import os
import re

from boneage_jax.core import door
from boneage_jax.imaging import codec
from boneage_jax.imaging import dicom

DIRECTORY = b'1.2.840.10008.1.3.10'  # SOP class


def is_one(path: str, head: bytes) -> bool:
  """Whether a file that begins so is a DICOMDIR."""
  if not codec.is_dicom(head):
    return False
  return os.path.basename(path).upper() == 'DICOMDIR' or DIRECTORY in head


def films(path: str) -> Iterator[str]:
  """Yield the paths of images that a DICOMDIR lists (PS3.3, F.3).

  Raises:
    ValueError: it is damaged, or names what is no file beside it.
  """
  pydicom = dicom.import_pydicom()
  try:
    dataset = pydicom.dcmread(path)
    records = dataset.DirectoryRecordSequence
    files = [
      record.ReferencedFileID
      for record in records
      if record.DirectoryRecordType == 'IMAGE'
    ]
  except Exception as error:  # damaged headers raise many kinds
    raise ValueError(
      f'Cannot be read as a DICOMDIR ({type(error).__name__}: '
      f'{door.reason(error)}): name its folder instead.'
    ) from error
  top = os.path.dirname(path)
  for one in files:
    parts = [one] if isinstance(one, str) else [str(part) for part in one]
    if not all(re.fullmatch('[A-Za-z0-9_ ]+', part) for part in parts):
      raise ValueError(
        f'Expected names of files in the DICOMDIR, got {"/".join(parts)!r}: '
        'name its folder instead.'
      )
    exact = os.path.join(top, *parts)
    lower = os.path.join(top, *(part.lower() for part in parts))
    found = lower if os.path.exists(lower) else exact
    yield exact if os.path.exists(exact) else found
