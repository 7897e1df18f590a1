"""Geometry and tone of films: numpy and OpenCV on uint8 grey images.

Coordinates are pixel centres: pixel 0 covers [-0.5, 0.5]. A matrix is float64
[2, 3] and takes (x, y, 1) of the source to (x, y) of the output. A box is
(x0, y0, x1, y1) in fractions of width and height, origin top left.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

# Least half-width, in pixels, of the triangle that is left to a halved film: a
# wider halving filter would show in the shape of the whole.
LEFT = 2.2
# Between these half-widths a film's pixels are too few to interpolate what a
# triangle about each place would give: it is worked out at half pixels too.
TWICE = (1.02, 1.93)
NARROWER = 1.1  # see `tent_width`; found by trial, against the filter itself
PARTS = 8  # see `over_film`
EDGE = 1e-6  # pixels; a place on the film's edge lies in the film


def fit_matrix(
  film_hw: tuple[int, int],
  size_hw: tuple[int, int],
  resize: str = 'squash',
  box: Sequence[float] | None = None,
) -> np.ndarray:
  """Return the matrix that fits a film, or a box of it, into an output.

  Args:
    film_hw: height and width of the source in pixels.
    size_hw: height and width of the output in pixels.
    resize: 'squash' takes the edges of the box to the edges of the output;
      'letterbox' keeps the aspect ratio and centres the box.
    box: fractions of the film; the whole film when None.
  """
  (height, width), (out_height, out_width) = film_hw, size_hw
  x0, y0, x1, y1 = (0.0, 0.0, 1.0, 1.0) if box is None else map(float, box)
  if not (x1 > x0 and y1 > y0):
    raise ValueError(
      f'Expected a box with x0 < x1 and y0 < y1, got {(x0, y0, x1, y1)}'
    )
  scale_x = out_width / ((x1 - x0) * width)
  scale_y = out_height / ((y1 - y0) * height)
  if resize == 'letterbox':
    scale_x = scale_y = min(scale_x, scale_y)
  elif resize != 'squash':
    raise ValueError(f"Expected resize 'squash' or 'letterbox', got {resize!r}")
  # Centre of the box to centre of the output; 0.5 turns edges into centres.
  shift_x = (out_width - scale_x * (x0 + x1) * width + scale_x - 1) / 2
  shift_y = (out_height - scale_y * (y0 + y1) * height + scale_y - 1) / 2
  return np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]], np.float64)


def inverse(matrix: np.ndarray) -> np.ndarray:
  """Return the matrix that undoes `matrix`."""
  return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]


def augment_matrix(
  size_hw: tuple[int, int],
  rng: np.random.Generator,
  *,
  rotate: float = 0.0,
  zoom: float = 0.0,
  shift: float = 0.0,
  flip: bool = False,
) -> np.ndarray:
  """Draw a rotation, scale, shift and mirror about the output's centre.

  Args:
    size_hw: height and width of the output in pixels.
    rng: five numbers are drawn whatever the settings are.
    rotate: largest angle in degrees, either way.
    zoom: the scale is drawn from [1 - zoom, 1 + zoom].
    shift: largest shift, either way, as a fraction of height and width.
    flip: mirror left and right in half of the draws.
  """
  angle, scale, shift_x, shift_y = rng.uniform(-1, 1, 4)
  mirror = rng.random() < 0.5 and flip
  matrix = view_matrix(size_hw, rotate * angle, mirror, 1 + zoom * scale)
  height, width = size_hw
  matrix[:, 2] += shift * np.array([shift_x * width, shift_y * height])
  return matrix


def view_matrix(
  size_hw: tuple[int, int],
  degrees: float = 0.0,
  mirror: bool = False,
  scale: float = 1.0,
) -> np.ndarray:
  """Mirror left and right, then turn clockwise about the output's centre."""
  angle = np.deg2rad(degrees)
  cos, sin = scale * np.cos(angle), scale * np.sin(angle)
  linear = np.array([[cos, -sin], [sin, cos]])
  if mirror:
    linear[:, 0] *= -1
  centre = np.array([size_hw[1] - 1, size_hw[0] - 1]) / 2
  return np.column_stack([linear, centre - linear @ centre])


def compose(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Return the matrix that applies `first`, then `second`."""
  return second @ np.vstack([first, [0, 0, 1]])


def warp(
  image: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int]
) -> np.ndarray:
  """Resample uint8 [H, W] once, at any scale and angle.

  A pixel of the output is the mean of the film about its place, weighted by a
  triangle along each axis of the film. An axis that shrinks to `scale` has one
  of half-width 1 / scale pixels, as Pillow's BILINEAR; else it is 1 pixel,
  which is bilinear. The film's edge goes on for the weights. A pixel whose
  centre lies beyond the film is black.

  The film is smoothed by the triangle and then sampled bilinearly, which is
  exact where 1 / scale is a whole number. Stripes of amplitude 120 come out
  with an amplitude within 5 of that of the triangle itself, see the tests.
  """
  small, to_small = _smoothed(image, np.hypot(*matrix[:, :2]))
  out = cv2.warpAffine(
    small,
    compose(inverse(to_small), matrix),
    size_hw[::-1],
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
  return out * covers(matrix, size_hw, image.shape)


def unwarp(
  values: np.ndarray,
  matrix: np.ndarray,
  size_hw: tuple[int, int],
  film_hw: tuple[int, int],
) -> np.ndarray:
  """Carry a map over a net's input back to the film, bilinear.

  Args:
    values: [h, w] at any resolution; it covers the net's input.
    matrix: film pixel -> input pixel, as given to `warp`.
    size_hw: height and width of the net's input.
    film_hw: height and width of the film.

  Returns:
    float32 [H, W] of the film, 0 where the net did not look.
  """
  matrix = compose(matrix, fit_matrix(size_hw, values.shape))
  film = cv2.warpAffine(
    np.asarray(values, np.float32),
    matrix,
    film_hw[::-1],
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_REPLICATE,
  )
  return film * covers(inverse(matrix), film_hw, values.shape)


def over_film(
  values: np.ndarray,
  matrix: np.ndarray,
  size_hw: tuple[int, int],
  film_hw: tuple[int, int],
) -> np.ndarray:
  """Carry a map over a net's input back to the film, at the map's resolution.

  Args:
    values, matrix, size_hw, film_hw: as of `unwarp`.

  Returns:
    float32 over the film, as `unwarp`, of PARTS pixels to each of the map's
    along each axis, or of the film's own where they are fewer.
  """
  cells = np.array(values.shape) / size_hw * film_hw
  cells *= np.hypot(*matrix[:, :2])[::-1]
  hw = np.minimum(np.ceil(PARTS * cells), film_hw).astype(int).tolist()
  grid = compose(inverse(fit_matrix(film_hw, hw)), matrix)
  return unwarp(values, grid, size_hw, hw)


def covers(
  matrix: np.ndarray, size_hw: tuple[int, int], film_hw: tuple[int, int]
) -> np.ndarray:
  """Return which centres of an output's pixels lie in the film.

  Args:
    matrix: film pixel -> output pixel, as given to `warp`.
    size_hw: height and width of the output.
    film_hw: height and width of the film.

  Returns:
    bool [H, W]; a pixel on the film's edge lies in it.
  """
  rows = np.arange(size_hw[0])
  first, last = np.full((2, size_hw[0]), [[-np.inf], [np.inf]])
  back = inverse(matrix)
  for (along, down, start), side in zip(back, film_hw[::-1], strict=True):
    # Columns of each row between which this coordinate is one of the film.
    slope = along if abs(along) > 1e-9 else 1e-9
    ends = np.array([[-0.5 - EDGE], [side - 0.5 + EDGE]]) - down * rows - start
    low, high = np.sort(ends / slope, axis=0)
    first, last = np.maximum(first, low), np.minimum(last, high)
  columns = np.arange(size_hw[1], dtype=np.float32)
  first, last = first.astype(np.float32), last.astype(np.float32)
  return (columns >= first[:, None]) & (columns <= last[:, None])


def _smoothed(
  image: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Smooth a film by the triangles of its `scales` along x and y.

  Returns:
    uint8, of fewer or more pixels than the film, and the matrix from pixels of
    the film to its pixels.
  """
  widths, grain = np.maximum(1 / scales, 1), np.ones(2)
  # A halved film was smoothed by 1 4 6 4 1, of variance 1, and a triangle's
  # variance is width ** 2 / 6: what is left is of the halved pixels.
  while np.min(widths) ** 2 >= 4 * LEFT**2 + 6:
    height, width = image.shape
    image = cv2.pyrDown(
      image,
      dstsize=(width // 2 + 1, height // 2 + 1),
      borderType=cv2.BORDER_REPLICATE,
    )
    widths, grain = np.sqrt(widths**2 - 6) / 2, grain / 2
  if np.max(widths) > 1 + EDGE:
    low, high = TWICE
    twice = (widths > low) & (widths < high)
    image = _rows(image, *widths, *twice)
    grain = np.where(twice, 2 * grain, grain)
  return image, np.column_stack([np.diag(grain), np.zeros(2)])


def _rows(
  image: np.ndarray,
  width_x: float,
  width_y: float,
  twice_x: bool,
  twice_y: bool,
) -> np.ndarray:
  """Smooth by triangles at each pixel, or also half a pixel on, `twice`."""
  if not twice_y:
    return _columns(image, width_x, _tent(width_y, 1), twice_x)
  at, between = _tent(width_y, 2), _tent_between(width_y)
  even = _columns(image, width_x, at, twice_x)
  # The mean of two rows of this is the triangle between them: OpenCV is slow
  # with a column of weights that is not symmetric.
  odd = _columns(image, width_x, between, twice_x)
  rows = np.empty((len(even), 2, even.shape[1]), np.uint8)
  rows[:, 0], rows[-1, 1] = even, odd[-1]
  cv2.addWeighted(odd[:-1], 0.5, odd[1:], 0.5, 0, dst=rows[:-1, 1])
  return rows.reshape(2 * len(even), -1)


def _columns(
  image: np.ndarray, width: float, column: np.ndarray, twice: bool
) -> np.ndarray:
  """Smooth by `column` down the film, and by a triangle along its rows."""
  smooth = lambda row: cv2.sepFilter2D(
    image, -1, row, column, borderType=cv2.BORDER_REPLICATE
  )
  if not twice:
    return smooth(_tent(width, 1))
  half = _tent_between(width)  # of the pixels before, at, after and two after
  mean = np.float32([0, half[0], 1 - half[0], 1 - half[0], half[0]]) / 2
  even, odd = smooth(_tent(width, 2)), smooth(mean)
  return cv2.merge([even, odd]).reshape(len(even), -1)


def tent_width(width: Any, density: int) -> Any:
  """Return by how wide a triangle to smooth before bilinear samples.

  Samples of what was smoothed, at `density` places a pixel, are smoothed
  between these, unless a whole number of them makes the half-width. Therefore
  the triangle is a bit narrower than the `width` wanted, in pixels.
  """
  rest = density * width % 1
  return width - NARROWER * rest * (1 - rest) / (density**2 * width)


def _tent(width: float, density: int) -> np.ndarray:
  """Return a triangle's weights of pixels about a pixel, float32 [2 n + 1]."""
  width = tent_width(width, density)
  reach = int(np.ceil(width))
  weights = np.maximum(1 - np.abs(np.arange(-reach, reach + 1)) / width, 0)
  return (weights / weights.sum()).astype(np.float32)


def _tent_between(width: float) -> np.ndarray:
  """Return weights whose mean at two pixels is a triangle between them.

  It is that of `_tent` at a density of 2, of half-width below 2.
  """
  width = tent_width(width, 2)
  near, far = (max(1 - x / width, 0) for x in (0.5, 1.5))
  far = far / (near + far)
  return np.array([far, 1 - 2 * far, far], np.float32)
