"""Whether a film shows the detail that a net was made for, or is blurred."""

from collections.abc import Sequence

import cv2
import numpy as np

from boneage_jax.core import sizes

LEAST = 0.06  # docs/results.md has the scores of films as they are and blurred
MIDDLE = 0.35  # deviation of the weights, in halves of a side
ROUNDING = 1 / 12  # mean square of what 8 bits leave away, in greys


def score(film: np.ndarray, side: int) -> float:
  """Return what the finer half of a net's pixels shows of a film.

  What `side` pixels along the long side show and half of them do not, over what
  these show and an eighth of them does not: mean squares, those about the
  middle of the film most, where the hand is. Contrast does not matter, but
  where nothing is left beside rounding it is 0, and so it is of a film of half
  of the pixels or fewer. Noise passes for detail.

  Args:
    film: uint8 [H, W], frames cut off.
    side: of the net's input, along the film's long side, in pixels.
  """
  if 2 * max(film.shape) <= side:
    return 0.0
  film = film.astype(np.float32)
  fine, half, coarse = (_averaged(film, side / n) for n in (1, 2, 8))
  half, coarse = (cv2.resize(few, fine.shape[::-1]) for few in (half, coarse))
  place = (np.linspace(-1, 1, n) / MIDDLE for n in fine.shape)
  along = [np.exp(-0.5 * x**2) for x in place]
  middle = np.outer(*along) / np.outer(*along).sum()
  finest = np.sum(middle * (fine - half) ** 2) - ROUNDING
  rest = np.sum(middle * (half - coarse) ** 2)
  return float(max(finest, 0) / max(rest, ROUNDING))


def lacks_detail(film: np.ndarray, size: int | Sequence[int]) -> bool:
  """Whether uint8 [H, W] has less detail than a net's input of `size` needs."""
  long_side = sizes.size_hw(size)[int(np.argmax(film.shape))]
  return score(film, long_side) < LEAST


def _averaged(film: np.ndarray, side: float) -> np.ndarray:
  """Average a film to this long side, or enlarge it."""
  scale = side / max(film.shape)
  height, width = (max(round(scale * n), 1) for n in film.shape)
  # Enlarging, INTER_AREA leaves steps, which would pass for detail.
  how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
  return cv2.resize(film, (width, height), interpolation=how)
