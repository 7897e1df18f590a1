"""Hands brought to one place, size and turn (Iglovikov 2017, registration).

Two points of a hand, the tip of the middle finger and the centre of the
capitate, go to fixed pixels of a canvas; a third, the tip of the thumb, says
whether the film is mirrored. Points are x, y of pixels, see `geometry`. A film
without good points is registered by its mask, see `palm`.
"""

from typing import NamedTuple

import numpy as np

from boneage_jax.imaging import geometry

# Names in annotations.POINTS of the three points, in the order taken here.
POINTS = ('middle_finger4', 'capitate', 'thumb4')
CANVAS_HW = (2080, 1600)  # paper
TIP, CAPITATE = (800.0, 100.0), (800.0, 1600.0)  # ours, from the paper's words
# Height and width, and centre (x, y), of the parts of the canvas. The sizes and
# the centre of `hand` are the paper's, the other centres are ours.
REGIONS = {
  'hand': ((2000, 1500), (800, 1040)),
  'carpal': ((750, 750), (800, 1600)),
  'metacarpal': ((600, 1400), (800, 1000)),
}
# Why no transform follows from three points.
MISSING, TOGETHER, ON_LINE = 'missing_point', 'points_together', 'thumb_on_line'
NEAR = 1.0  # pixels; points that are closer are one


class Registration(NamedTuple):
  """How a film lies on the canvas.

  Attributes:
    matrix: float64 [2, 3], film pixel -> canvas pixel.
    scale: pixels of the canvas to one of the film.
    angle_deg: by which the film is turned clockwise, once it is mirrored.
    mirrored: the film is mirrored left and right first.
  """

  matrix: np.ndarray
  scale: float
  angle_deg: float
  mirrored: bool


def thumb_side(points: np.ndarray) -> np.ndarray:
  """Tell on which side of the line from tip to capitate the thumb lies.

  Args:
    points: [..., 3, 2], those of POINTS in pixels.

  Returns:
    [...], the sign of cross(capitate - tip, thumb - tip): 1 is to the left of
    an upright hand, -1 to the right, 0 on the line, NaN where one is missing.
  """
  tip, capitate, thumb = np.moveaxis(np.asarray(points, np.float64), -2, 0)
  return np.sign(_cross(capitate - tip, thumb - tip))


def majority_side(points: np.ndarray) -> int:
  """Return the side on which most hands have their thumb, 1 or -1.

  Args:
    points: [N, 3, 2], those of POINTS in pixels, NaN where not marked.

  Raises:
    ValueError: as many thumbs on one side as on the other, such as none.
  """
  sides = thumb_side(points)
  left, right = int(np.sum(sides == 1)), int(np.sum(sides == -1))
  if left == right:
    raise ValueError(
      'Expected films whose thumbs lie on one side more often than on the '
      f'other, got {left} on the left and {right} on the right of {len(sides)} '
      f'films: mark {", ".join(POINTS)} on more of them.'
    )
  return 1 if left > right else -1


def register(
  points: np.ndarray, film_hw: tuple[int, int], side: int
) -> Registration:
  """Bring a film to the canvas by its points, in closed form.

  A film whose thumb lies on the wrong side is mirrored. Then scale, turn and
  shift take the tip of the middle finger to TIP and the capitate to CAPITATE.

  Args:
    points: [3, 2], those of POINTS in pixels of the film.
    film_hw: height and width of the film.
    side: on which the canvas has the thumb, see `majority_side`.

  Raises:
    ValueError: no transform follows; the message begins with MISSING, TOGETHER
      or ON_LINE.
  """
  points = np.asarray(points, np.float64)
  fault = degenerate(points)
  if fault:
    raise ValueError(
      f'{fault}: expected {", ".join(POINTS)} in three places that are not on '
      f'one line, got {points.tolist()}: register the film by its mask.'
    )
  mirrored = bool(thumb_side(points) == -side)
  tip, capitate = mirror(points, film_hw)[:2] if mirrored else points[:2]
  turned = np.subtract(CAPITATE, TIP)
  return similarity((tip, TIP), (capitate - tip, turned), film_hw, mirrored)


def mirror(points: np.ndarray, film_hw: tuple[int, int]) -> np.ndarray:
  """Mirror points [..., 2] left and right: x' = W - 1 - x."""
  return np.asarray(points) * (-1, 1) + (film_hw[1] - 1, 0)


def similarity(
  place: tuple[np.ndarray, np.ndarray],
  vector: tuple[np.ndarray, np.ndarray],
  film_hw: tuple[int, int],
  mirrored: bool,
) -> Registration:
  """Return the similarity that takes one place and one vector to another.

  Args:
    place: x, y on the film, mirrored if it is, and on the canvas.
    vector: x, y of that film and of the canvas; both give scale and turn.
    film_hw: height and width of the film.
    mirrored: the film is mirrored first.
  """
  (start, goal), (before, after) = place, vector
  # As complex numbers: linear = after / before.
  cos = np.dot(before, after) / np.dot(before, before)
  sin = _cross(before, after) / np.dot(before, before)
  linear = np.array([[cos, -sin], [sin, cos]])
  matrix = np.column_stack([linear, goal - linear @ start])
  if mirrored:
    flip = np.array([[-1, 0, film_hw[1] - 1], [0, 1, 0]], np.float64)
    matrix = geometry.compose(flip, matrix)
  angle = np.rad2deg(np.arctan2(sin, cos))
  return Registration(matrix, float(np.hypot(cos, sin)), float(angle), mirrored)


def degenerate(points: np.ndarray) -> str:
  """Name why no transform follows from points [3, 2]; '' where one does."""
  if not np.isfinite(points).all():
    return MISSING
  gaps = np.asarray(points) - np.roll(points, 1, axis=0)
  if np.hypot(*gaps.T).min() < NEAR:
    return TOGETHER
  return '' if thumb_side(points) else ON_LINE


def region_matrix(
  registration: Registration,
  region: str,
  size_hw: tuple[int, int],
  margin: float | np.ndarray = 0.0,
) -> np.ndarray:
  """Return the matrix from film pixels to those of a region's picture.

  Args:
    registration: of the film.
    region: a name of REGIONS.
    size_hw: height and width of the picture, margin included.
    margin: kept around the region for augmentation, share of its sides, or of
      width and height, [2].
  """
  return geometry.compose(
    registration.matrix, _from_canvas(region, size_hw, margin)
  )


def cut(
  film: np.ndarray,
  registration: Registration,
  region: str,
  size_hw: tuple[int, int],
  margin: float | np.ndarray = 0.0,
) -> np.ndarray:
  """Cut a region from a film, in one resampling.

  Args:
    film: uint8 [H, W].
    registration, region, size_hw, margin: as of `region_matrix`.

  Returns:
    uint8 [height, width], black beyond the film and beyond the canvas.
  """
  matrix = region_matrix(registration, region, size_hw, margin)
  canvas = _from_canvas(region, size_hw, margin)
  inside = geometry.covers(canvas, size_hw, CANVAS_HW)
  return geometry.warp(film, matrix, size_hw) * inside


def to_fractions(matrix: np.ndarray, film_hw: tuple[int, int]) -> np.ndarray:
  """Turn film pixel -> canvas pixel into film fraction -> canvas pixel.

  Fractions hold at any resolution of the film; m00 to m12 of registration.csv.
  """
  return geometry.compose(_pixels_of_fractions(film_hw), matrix)


def from_fractions(matrix: np.ndarray, film_hw: tuple[int, int]) -> np.ndarray:
  """Undo `to_fractions`, at this or another resolution of the film."""
  back = geometry.inverse(_pixels_of_fractions(film_hw))
  return geometry.compose(back, matrix)


def _from_canvas(
  region: str, size_hw: tuple[int, int], margin: float | np.ndarray
) -> np.ndarray:
  """Return the matrix from canvas pixels to those of a region's picture."""
  if region not in REGIONS:
    raise ValueError(
      f'Expected a region among {", ".join(REGIONS)}, got {region!r}.'
    )
  (height, width), (x, y) = REGIONS[region]
  half = np.array([width, height]) * (0.5 + margin)
  centre = np.array([x, y])
  box = np.divide((centre - half, centre + half), CANVAS_HW[::-1]).ravel()
  return geometry.fit_matrix(CANVAS_HW, size_hw, 'squash', box)


def _pixels_of_fractions(film_hw: tuple[int, int]) -> np.ndarray:
  height, width = film_hw
  return np.array([[width, 0, -0.5], [0, height, -0.5]], np.float64)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
