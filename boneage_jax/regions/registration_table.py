"""The table registration.csv: how each film lies on the canvas."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.imaging import registration
from boneage_jax.regions import placement

MATRIX = ('m00', 'm01', 'm02', 'm10', 'm11', 'm12')
COLUMNS = ('id', *MATRIX, 'scale', 'angle_deg', 'mirrored', 'status', 'reason')
# A film: its id, its height and width, and how it was registered.
Row = tuple[str, tuple[int, int], placement.Placed]


class Entry(NamedTuple):
  """What the table says of a film.

  Attributes:
    matrix: float64 [2, 3], film fraction -> canvas pixel; None of a film that
      is kept as it is, as are the next three.
    scale: pixels of the canvas to one of the film.
    angle_deg: by which the film is turned clockwise, once it is mirrored.
    mirrored: the film is mirrored left and right first.
    status: one of placement.STATUS.
    reason: why not by its points, words with blanks between; '' if so.
  """

  matrix: np.ndarray | None
  scale: float | None
  angle_deg: float | None
  mirrored: bool | None
  status: str
  reason: str


def write(path: str, rows: Iterable[Row]) -> None:
  """Write the table; numbers of a film that is kept as it is are ''."""
  with storage.replacing(path) as file:
    tables.write_dicts(file, list(map(_columns, rows)), COLUMNS)


def _columns(row: Row) -> dict[str, str]:
  film, film_hw, placed = row
  written = {'id': film, 'status': placed.status, 'reason': placed.reason}
  known = placed.registration
  if known is None:
    return written
  matrix = registration.to_fractions(known.matrix, film_hw).ravel()
  for name, value in zip(MATRIX, matrix.tolist(), strict=True):
    written[name] = f'{value:.4f}'
  return written | {
    'scale': f'{known.scale:.5f}',
    'angle_deg': f'{known.angle_deg:.3f}',
    'mirrored': str(int(known.mirrored)),
  }


def read(path: str) -> dict[str, Entry]:
  """Read the table: what it says, by film id.

  Raises:
    ValueError: the stage has not run.
  """
  if not storage.exists(path):
    raise ValueError(
      f'{path} is missing: run the stage that registers films first.'
    )
  with storage.naming(path), storage.reading(path) as file:
    rows = tables.read_dicts(file, path, COLUMNS)
    return {row['id']: _entry(row) for row in rows}


def write_points(path: str, hands: placement.Hands) -> None:
  """Write where a net says registration.POINTS are: id, <point>_x, <point>_y.

  Fractions of the film, also of points that are not plausible.
  """
  with storage.replacing(path) as file:
    writer = tables.Writer(file)
    names = [f'{name}_{axis}' for name in registration.POINTS for axis in 'xy']
    writer.writerow(['id', *names])
    for film, found in zip(hands.id.tolist(), hands.found, strict=True):
      writer.writerow([film, *(f'{value:.5f}' for value in found.ravel())])


def read_points(path: str) -> dict[str, np.ndarray]:
  """Read what `write_points` wrote: [3, 2] by film id."""
  with storage.naming(path), storage.reading(path) as file:
    rows = tables.read_dicts(file, path, ('id',))
    return {
      row.pop('id'): np.array(list(row.values()), float).reshape(-1, 2)
      for row in rows
    }


def _entry(row: dict[str, str]) -> Entry:
  said = row['status'], row['reason']
  if not row['m00']:
    return Entry(None, None, None, None, *said)
  matrix = np.array([float(row[name]) for name in MATRIX]).reshape(2, 3)
  scale, angle = float(row['scale']), float(row['angle_deg'])
  return Entry(matrix, scale, angle, row['mirrored'] == '1', *said)
