"""Maps of ages on a film, and the frame that a deformation layer sampled."""

import math
from typing import NamedTuple

import numpy as np

from boneage_jax.imaging import geometry
from boneage_jax.imaging import overlay

# Of a net's outputs: the map [B, h, w], and affine maps [B, 2, 3].
NAMES = ('age_map', 'deformation')
FINER = 8  # values of a drawn map to a step of the map of ages


class Places(NamedTuple):
  """Where what a net says of places lies on its input.

  Attributes:
    size_hw: height and width of the input in pixels.
    grid: (step, first) of the map of ages along y, then along x: pixels from
      one place to the next, and the middle of the first, from the input's edge.
    box: x0, y0, x1, y1 of the map that is deformed, in pixels of the input;
      None where nothing is.
    resize: how films become the input.
  """

  size_hw: tuple[int, int]
  grid: tuple[tuple[float, float], tuple[float, float]]
  box: tuple[float, float, float, float] | None = None
  resize: str = 'squash'


class Pose(NamedTuple):
  """What a deformation layer did: the frame that it took for the whole map.

  Attributes:
    turn_deg: clockwise.
    width, height: shares of those of the map.
    right, down: shifts of its middle, shares of width and height of the map.
    mirrored: left and right of the frame are exchanged.
  """

  turn_deg: float
  width: float
  height: float
  right: float
  down: float
  mirrored: bool


def picture(
  film: np.ndarray,
  places: Places,
  ages: np.ndarray,
  matrix: np.ndarray | None = None,
) -> np.ndarray:
  """Draw a map of ages, bright where it is oldest, and a sampled frame.

  Args:
    film: uint8 [H, W].
    places: of the net.
    ages: [h, w], months.
    matrix: of `frame`; None draws none.

  Returns:
    As of `overlay.overlay`.
  """
  return overlay.drawn(film, marks(film, places, ages, matrix))


def marks(
  film: np.ndarray,
  places: Places,
  ages: np.ndarray,
  matrix: np.ndarray | None = None,
) -> overlay.Marks:
  """Return what `picture` draws; arguments as of it."""
  frames = {}
  if matrix is not None:
    frames = {'sampled': frame(matrix, places, film.shape)}
  return overlay.Marks(film_heat(ages, places, film.shape), frames=frames)


def film_heat(
  ages: np.ndarray, places: Places, film_hw: tuple[int, int]
) -> np.ndarray:
  """Return how far ages lie above the least, over a film.

  Args:
    ages: [h, w], months.
    places: of the net.
    film_hw: height and width of the film.

  Returns:
    float32 over the film, 0 where the film is youngest and where the net did
    not look, 1 where it is oldest; bilinear, and beyond the outermost places
    their ages go on. Zeros where all ages are the same.
  """
  values = np.asarray(ages, np.float32) - np.min(ages)
  for axis in (0, 1):
    step, first = places.grid[axis]
    size = places.size_hw[axis]
    count = max(1, round(FINER * size / step))
    at = ((np.arange(count) + 0.5) * size / count - first) / step
    at = np.clip(at, 0, values.shape[axis] - 1)
    before = np.floor(at).astype(int)
    after = np.minimum(before + 1, values.shape[axis] - 1)
    share = np.expand_dims((at - before).astype(np.float32), 1 - axis)
    take = lambda i, axis=axis, values=values: np.take(values, i, axis)
    values = take(before) * (1 - share) + take(after) * share
  return overlay.film_heat(values[None], film_hw, places.resize)


def frame(
  matrix: np.ndarray, places: Places, film_hw: tuple[int, int]
) -> np.ndarray:
  """Return the corners of what a deformation layer sampled.

  Args:
    matrix: [2, 3], place in its output, (x, y, 1), to place in its map, both
      from -1 to 1 and from edge to edge.
    places: of the net.
    film_hw: height and width of the film.

  Returns:
    [4, 2], fractions of the film; those that became the output's upper left,
    upper right, lower right and lower left.
  """
  corners = np.array([(-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)])
  x0, y0, x1, y1 = places.box
  side = np.array([x1 - x0, y1 - y0])
  pixels = (x0, y0) + (corners @ np.transpose(matrix) + 1) / 2 * side
  to_film = geometry.inverse(
    geometry.fit_matrix(film_hw, places.size_hw, places.resize)
  )
  # Edges of pixels lie half a pixel from their centres.
  on_film = (pixels - 0.5) @ to_film[:, :2].T + to_film[:, 2] + 0.5
  return on_film / film_hw[::-1]


def pose(matrix: np.ndarray, places: Places) -> Pose:
  """Return the turn, the sides and the shift of what a layer sampled.

  Args:
    matrix, places: as of `frame`.
  """
  (a, b, right), (c, d, down) = np.asarray(matrix, np.float64)
  x0, y0, x1, y1 = places.box
  ratio = (x1 - x0) / (y1 - y0)
  b, c = b * ratio, c / ratio  # of pixels, where both were of halves of sides
  mirrored = a * d - b * c < 0
  if mirrored:
    a, c = -a, -c
  return Pose(
    turn_deg=math.degrees(math.atan2(c - b, a + d)),
    width=math.hypot(a, c),
    height=math.hypot(b, d),
    right=right / 2,
    down=down / 2,
    mirrored=mirrored,
  )
