"""Where a hand lies on its film: a guess from greys alone, without a net."""

from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.imaging import components

SIDE = 128  # pixels of the long side that it looks at
STRAY = 0.02  # a part of less than this share of the film is a marker


class Silhouette(NamedTuple):
  """A bright body on a dark film.

  Attributes:
    mask: bool [h, w], the film shrunk to SIDE.
    box: x0, y0, x1, y1 of the largest part, fractions of the film.
    wrist: y, where it is narrowest below its widest row; its lower end if it
      is nowhere narrower.
  """

  mask: np.ndarray
  box: tuple[float, float, float, float]
  wrist: float


def find(film: np.ndarray) -> Silhouette:
  """Tell the brighter part of uint8 [H, W], bones bright, from the darker.

  The film is cut by Otsu's threshold, lowered for soft tissue.
  """
  mask, share = components.largest(body(film))
  height, width = mask.shape
  mask = mask > 0
  if not mask.any() or share * mask.mean() < STRAY:
    return Silhouette(mask, (0.0, 0.0, 1.0, 1.0), 1.0)
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  top, bottom = int(rows[0]), int(rows[-1]) + 1
  box = (columns[0] / width, top / height, (columns[-1] + 1) / width)
  return Silhouette(
    mask,
    (*map(float, box), bottom / height),
    _wrist(mask, top, bottom) / height,
  )


def body(film: np.ndarray) -> np.ndarray:
  """Return what is bright of uint8 [H, W], shrunk to SIDE, bool [h, w]."""
  scale = SIDE / max(film.shape)
  height, width = (max(round(scale * n), 8) for n in film.shape)
  grey = cv2.resize(film, (width, height), interpolation=cv2.INTER_AREA)
  grey = cv2.GaussianBlur(grey, (0, 0), 1.2)
  low, high = np.percentile(grey, (1, 99))
  span = max(high - low, 1)
  grey = np.uint8(np.clip((grey - low) * (255 / span), 0, 255))
  cut, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
  # Soft tissue is nearer to the beam's grey than to bone's.
  return grey > 0.7 * cut


def _wrist(mask: np.ndarray, top: int, bottom: int) -> int:
  """Return the narrowest row below the widest one, or the lowest row."""
  wide = cv2.blur(mask.sum(1).astype(np.float32)[:, None], (1, 5))[:, 0]
  inner = wide[top:bottom]
  palm = top + int(np.argmax(inner[: max(round(0.85 * len(inner)), 1)]))
  below = wide[palm:bottom]
  least = int(np.argmin(below))
  return palm + least if below[least] < 0.8 * wide[palm] else bottom
