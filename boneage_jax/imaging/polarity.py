"""Whether the bones of a film are bright, as usual, or dark (MONOCHROME1)."""

import cv2
import numpy as np

SIDE = 100  # pixels; enough to tell


def score(film: np.ndarray) -> float:
  """Return how surely the bones are bright, from -1 (dark) to 1.

  The score correlates texture (bones, edges of fingers) with how much brighter
  it is than its surroundings, in the middle of the film. Borders and markers of
  any grey hardly count: they lie outside or are flat. The negative of a film
  has the negative score.

  Args:
    film: uint8 [H, W].
  """
  grey = cv2.resize(film, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
  grey = grey.astype(np.float32)
  slopes = [cv2.Sobel(grey, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1))]
  texture = cv2.GaussianBlur(np.hypot(*slopes), (0, 0), 0.015 * SIDE)
  relief = grey - cv2.GaussianBlur(grey, (0, 0), 0.08 * SIDE)
  along = np.exp(-0.5 * (np.linspace(-1, 1, SIDE) / 0.25) ** 2)
  middle = np.outer(along, along)
  scale = np.sum(middle * texture**2) * np.sum(middle * relief**2)
  return float(np.sum(middle * texture * relief) / max(np.sqrt(scale), 1e-12))


def looks_inverted(film: np.ndarray) -> bool:
  """Whether the bones of uint8 [H, W] look dark."""
  return score(film) < 0
