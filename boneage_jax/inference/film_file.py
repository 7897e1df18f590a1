"""Files of new films: their pixels, and the sex that their header knows."""

from collections.abc import Callable
from collections.abc import Mapping
import types
from typing import Any
from typing import NamedTuple

import numpy as np

from boneage_jax.core import scalars
from boneage_jax.imaging import codec
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.inference import quality


class FilmFile(NamedTuple):
  """What a file holds.

  Attributes:
    image: uint8 [H, W]; of DICOM, bones are bright.
    sex: of the header, 'M', 'F' or 'unknown'.
    is_dicom: whether it is DICOM.
    notes: names of what is odd about it, see `codec.NOTES`.
    flags: what its header says against it, see `quality.flags_of_header`.
    sop_instance_uid: of the DICOM header, else ''.
    scalars: numbers of `scalars.SCALARS` that its header says.
  """

  image: np.ndarray
  sex: str
  is_dicom: bool
  notes: tuple[str, ...]
  flags: tuple[str, ...] = ()
  sop_instance_uid: str = ''
  scalars: Mapping[str, float] = types.MappingProxyType({})

  def with_polarity(self, inverted: bool) -> np.ndarray:
    """Return the image as a run's films are: `inverted` has dark bones.

    The polarity of DICOM is known, so that it can be made that of the run; that
    of a PNG or JPEG is not, and it stays.
    """
    return 255 - self.image if self.is_dicom and inverted else self.image


def read(
  load: Callable[[], bytes],
  limits: limits_lib.Limits | None = None,
  decode: Callable[..., Any] = codec.read,
) -> FilmFile:
  """Read a PNG, JPEG, DICOM, TIFF or BMP file.

  Args:
    load: reads its bytes.
    limits: of its size.
    decode: `codec.read`, or `codec_pool.read`, which decodes every kind of film
      in another process.

  Raises:
    ValueError: there is none, it holds no film, or it is too large.
    OSError, MemoryError: no fault of the film: the machine cannot decode it.
  """
  try:
    data = load()
  except OSError as e:
    raise ValueError(f'Cannot be read: {e.strerror or codec.reason(e)}.') from e
  try:
    film = decode(data, limits)
  except (ValueError, MemoryError):
    raise
  except Exception as e:  # decoders raise their own kinds on odd files
    if isinstance(e, OSError) and e.errno:
      raise
    raise ValueError(codec.reason(e)) from e
  sex = film.header.get('sex', 'unknown')
  return FilmFile(
    *(film.image, sex, bool(film.header), film.notes),
    quality.flags_of_header(film.header),
    film.header.get('sop_instance_uid', ''),
    {n: x for n, x in scalars.of(film.header).items() if x is not None},
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
      '--sex=F, or --sex=unknown to predict without it; or a --table with a '
      'column sex.'
    )
  return given or header
