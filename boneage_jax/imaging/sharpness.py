"""Whether a film is sharp enough for a net, or blurred or too small."""

from collections.abc import Sequence

import cv2
import numpy as np

from boneage_jax.core import sizes

LEAST = 0.06  # docs/results.md has the scores of plain and of blurred films
MIDDLE = 0.35  # standard deviation of the weights, in halves of a side
ROUNDING = 1 / 12  # mean square of the rounding to 8 bits, in grey levels


def score(film: np.ndarray, side: int) -> float:
  """Return the energy of the finest octave over that of the next two.

  The finest octave is what `side` pixels along the long side show and half of
  them do not; the next two are what half of them show and an eighth does not.
  Energy is the mean square, weighted towards the middle of the film, where the
  hand is. Contrast does not change the score. It is 0 where only rounding is
  left, and for a film of at most half of the pixels. Noise counts as detail.

  Args:
    film: uint8 [H, W], without border.
    side: of the net's input along the film's long side, in pixels.
  """
  if 2 * max(film.shape) <= side:
    return 0.0
  sums = cv2.integral(film, sdepth=cv2.CV_64F)  # read once, for all sizes
  fine, half, coarse = (_averaged(film, sums, side / n) for n in (1, 2, 8))
  half, coarse = (cv2.resize(few, fine.shape[::-1]) for few in (half, coarse))
  place = (np.linspace(-1, 1, n) / MIDDLE for n in fine.shape)
  along = [np.exp(-0.5 * x**2) for x in place]
  middle = np.outer(*along) / np.outer(*along).sum()
  finest = np.sum(middle * (fine - half) ** 2) - ROUNDING
  rest = np.sum(middle * (half - coarse) ** 2)
  return float(max(finest, 0) / max(rest, ROUNDING))


def lacks_detail(film: np.ndarray, size: int | Sequence[int]) -> bool:
  """Whether uint8 [H, W] shows too little for a net's input of `size`."""
  long_side = sizes.size_hw(size)[int(np.argmax(film.shape))]
  return score(film, long_side) < LEAST


def _averaged(film: np.ndarray, sums: np.ndarray, side: float) -> np.ndarray:
  """Shrink a film to this long side by averaging, or enlarge it.

  Args:
    film: uint8 [H, W].
    sums: [H + 1, W + 1], its integral.
    side: in pixels.

  Returns:
    float32 [h, w].
  """
  scale = side / max(film.shape)
  hw = [max(round(scale * n), 1) for n in film.shape]
  if scale >= 1:  # averages would be steps, which count as detail
    return cv2.resize(film.astype(np.float32), hw[::-1])
  for axis, (n, count) in enumerate(zip(film.shape, hw, strict=True)):
    edges = np.linspace(0, n, count + 1)
    before = np.minimum(edges.astype(int), n - 1)
    after = np.expand_dims(edges - before, 1 - axis)
    low, high = (sums.take(before + k, axis) for k in (0, 1))
    sums = np.diff(low + after * (high - low), axis=axis)
  return (sums * np.prod(hw) / film.size).astype(np.float32)
