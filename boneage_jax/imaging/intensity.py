"""Grey values of films."""

from collections.abc import Sequence

import cv2
import numpy as np


def tone_lut(
  image: np.ndarray,
  rng: np.random.Generator | None = None,
  *,
  percentiles: Sequence[float] = (),
  brightness: float = 0.0,
  contrast: float = 0.0,
  gamma: float = 0.0,
) -> np.ndarray:
  """Return the uint8 [256] table that sets the tone of a film.

  With low and high the greys at `percentiles` (0 and 255 without), the least
  that so many per cent of the pixels do not exceed, a grey is
  v = clip((grey - low) / (high - low)), then v ** exp(g), then
  ((v - 1/2) * c + 1/2) * b, where g, c - 1 and b - 1 are drawn uniformly
  from +-gamma, +-contrast and +-brightness, or are 0 when `rng` is None.
  """
  low, high = 0, 255
  if len(percentiles):
    counts = cv2.calcHist([image], [0], None, [256], [0, 256])
    counts = counts.ravel().astype(np.int64).cumsum()
    wanted = np.asarray(percentiles) / 100 * image.size
    # At least one pixel: the film's least grey has percentile 0.
    low, high = np.searchsorted(counts, np.maximum(wanted, 1))
    if high <= low:  # one grey only
      low, high = 0, 255
  draws = np.zeros(3) if rng is None else rng.uniform(-1, 1, 3)
  bright, steep, exponent = draws * (brightness, contrast, gamma)
  values = np.clip((np.arange(256) - low) / (high - low), 0, 1)
  values = values ** np.exp(exponent)
  values = ((values - 0.5) * (1 + steep) + 0.5) * (1 + bright)
  return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def erase(
  image: np.ndarray, box: Sequence[float], fill: float = 0
) -> np.ndarray:
  """Return a copy with every pixel the box touches painted `fill`."""
  image = image.copy()
  image[touched(box, image.shape[:2])] = fill
  return image


def touched(
  box: Sequence[float], size_hw: tuple[int, int]
) -> tuple[slice, slice]:
  """Return the rows and columns of the pixels that a box touches.

  Args:
    box: left, upper, right and lower edge, fractions.
    size_hw: height and width in pixels.
  """
  height, width = size_hw
  x0, y0, x1, y1 = np.clip(np.asarray(box, np.float64), 0, 1)
  # Rounded, or 0.3 * 10 = 3.0000000000000004 would touch a fourth pixel.
  left, right = round(x0 * width, 6), round(x1 * width, 6)
  top, bottom = round(y0 * height, 6), round(y1 * height, 6)
  rows = slice(int(np.floor(top)), int(np.ceil(bottom)))
  return rows, slice(int(np.floor(left)), int(np.ceil(right)))
