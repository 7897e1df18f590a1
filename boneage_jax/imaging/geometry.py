"""Geometry and tone of films: numpy and OpenCV on uint8 grey images.

Coordinates are pixel centres: pixel 0 covers [-0.5, 0.5]. A matrix is float64
[2, 3] and takes (x, y, 1) of the source to (x, y) of the output. A box is
(x0, y0, x1, y1) in fractions of width and height, origin top left.
"""

from collections.abc import Sequence

import cv2
import numpy as np

PRESHRINK = 0.6  # below this scale a bilinear sample skips source pixels
# Of the scale of such films, this is left to the bilinear samples: were it 1,
# they would copy a film in step with the output and blur a turned one.
SAMPLED = 0.75


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
  """Resample uint8 [H, W] once, bilinear, with black outside the film.

  An axis the matrix shrinks below PRESHRINK is area-averaged first, or thin
  bone edges alias; SAMPLED is left to the bilinear samples, so that films have
  one sharpness whether they are turned or not.
  """
  height, width = image.shape
  scale_x, scale_y = np.hypot(*matrix[:, :2])
  shrunk = tuple(
    max(round(side * scale / SAMPLED), 1) if scale < PRESHRINK else side
    for side, scale in ((height, scale_y), (width, scale_x))
  )
  if shrunk != image.shape:
    back = fit_matrix(shrunk, image.shape)
    image = cv2.resize(image, shrunk[::-1], interpolation=cv2.INTER_AREA)
    matrix = compose(back, matrix)
  return cv2.warpAffine(image, matrix, size_hw[::-1], flags=cv2.INTER_LINEAR)


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
  height, width = values.shape
  matrix = compose(matrix, fit_matrix(size_hw, values.shape))
  film = cv2.warpAffine(
    np.asarray(values, np.float32),
    matrix,
    film_hw[::-1],
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_REPLICATE,
  )
  y, x = np.ogrid[: film_hw[0], : film_hw[1]]
  map_x, map_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
  seen = (map_x >= -0.5) & (map_x <= width - 0.5)
  seen &= (map_y >= -0.5) & (map_y <= height - 0.5)
  return np.where(seen, film, np.float32(0))
