"""Films that show two hands side by side, cut apart."""

import numpy as np

from boneage_jax.imaging import silhouette

SIDES = ('left', 'right')  # of the picture
CHOICES = (*SIDES, 'both')
MIDDLE = (0.3, 0.7)  # where the gap between two hands is looked for


def cut(film: np.ndarray, side: str, inverted: bool = False) -> np.ndarray:
  """Return the part of a film with one of its two hands.

  It is cut in the middle of the gap between the hands: of the columns near the
  middle with the least of a bright body.

  Args:
    film: uint8 [H, W].
    side: 'left' or 'right', as the picture shows it.
    inverted: whether its bones are dark.
  """
  width = film.shape[1]
  filled = silhouette.body(255 - film if inverted else film).mean(0)
  start, end = (round(share * len(filled)) for share in MIDDLE)
  inner = filled[start:end]
  least = np.flatnonzero(inner <= inner.min() + 0.01)
  runs = np.split(least, np.flatnonzero(np.diff(least) > 1) + 1)
  gap = max(runs, key=len)
  middle = start + (gap[0] + gap[-1] + 1) / 2
  column = round(middle / len(filled) * width)
  return film[:, :column] if side == 'left' else film[:, column:]
