"""Files of new films: their pixels, and the sex that their header knows."""

from typing import NamedTuple

import numpy as np

from boneage_jax.imaging import codec
from boneage_jax.imaging import dicom


class FilmFile(NamedTuple):
  """What a file holds.

  Attributes:
    image: uint8 [H, W]; of DICOM, bones are bright.
    sex: of the header, 'M', 'F' or 'unknown'.
    is_dicom: whether it is DICOM.
    notes: names of what is odd about it, see `codec.NOTES`.
    chronological_age: of the header, months, or None.
  """

  image: np.ndarray
  sex: str
  is_dicom: bool
  notes: tuple[str, ...]
  chronological_age: float | None = None

  def with_polarity(self, inverted: bool) -> np.ndarray:
    """Return the image as a run's films are: `inverted` has dark bones.

    The polarity of DICOM is known, so that it can be made that of the run; that
    of a PNG or JPEG is not, and it stays.
    """
    return 255 - self.image if self.is_dicom and inverted else self.image


def read(path: str) -> FilmFile:
  """Read a PNG, JPEG or DICOM file.

  Raises:
    ValueError: there is none, or it holds no film.
  """
  try:
    with open(path, 'rb') as f:
      data = f.read()
    if not codec.is_dicom(data):
      film = codec.read(data)
      return FilmFile(film.image, 'unknown', False, film.notes)
    film = dicom.read(data)
  except ValueError:
    raise
  except Exception as e:  # decoders raise their own kinds on odd files
    reason = getattr(e, 'strerror', None) or f'{type(e).__name__}: {e}'
    raise ValueError(f'Cannot be read: {reason}.') from e
  return FilmFile(
    *(film['image'], film['sex'], True, film['notes']),
    film['chronological_age'],
  )


def choose_sex(given: str | None, header: str) -> str:
  """Return the sex to predict with; it is never guessed.

  Args:
    given: 'M', 'F' or 'unknown' as the user says, which counts; or None.
    header: of the file, 'unknown' if it does not say.

  Raises:
    ValueError: nobody says.
  """
  if not given and header == 'unknown':
    raise ValueError(
      'The sex is not known, as the file does not say it. Give --sex=M or '
      '--sex=F, or --sex=unknown to predict without it.'
    )
  return given or header
