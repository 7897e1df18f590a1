"""Films of drawn hands whose points and masks are known."""

import cv2
from encode import encode
import numpy as np

from boneage_jax.data import film_masks

HW = (240, 200)
# Tip of the middle finger, capitate, tip of the thumb, in pixels.
POINTS = ((100, 36), (100, 166), (166, 104))
TIPS = ((70, 58), (88, 42), (124, 52))  # of the other fingers
OUTSIDE, HAND, MARK = 40, 120, 250  # greys


def hand(index):
  """Draw a hand: film and mask uint8 [H, W], and its points [3, 2].

  Size, place, turn and points are the film's own; each sixth is mirrored. Tip
  and capitate are bright.
  """
  rng = np.random.default_rng(index)
  points = POINTS + rng.integers(-4, 5, (3, 2))
  angle, scale = rng.uniform(-8, 8), rng.uniform(0.9, 1.05)
  matrix = cv2.getRotationMatrix2D((100, 120), angle, scale)
  matrix[:, 2] += rng.uniform(-6, 6, 2)
  if index % 6 == 5:
    matrix = np.diag([-1, 1]) @ matrix + [[0, 0, HW[1] - 1], [0, 0, 0]]
  mask = np.zeros(HW, np.uint8)
  cv2.rectangle(mask, (78, 160), (122, 239), 255, -1)
  cv2.circle(mask, (100, 140), 34, 255, -1)
  for tip in (*TIPS, points[0].tolist()):
    cv2.line(mask, (100, 130), tip, 255, 11)
  cv2.line(mask, (118, 150), points[2].tolist(), 255, 13)
  film = np.where(mask, HAND, OUTSIDE).astype(np.uint8)
  for place in points[:2].tolist():
    cv2.circle(film, place, 4, MARK, -1)
  warp = lambda image, border: cv2.warpAffine(
    image, matrix, HW[::-1], borderValue=border
  )
  points = points @ matrix[:, :2].T + matrix[:, 2]
  return warp(film, OUTSIDE), np.where(warp(mask, 0) > 127, 255, 0), points


def film_mask(mask):
  """Return a mask as a net would say it, over the whole film."""
  return film_masks.FilmMask(encode(mask.astype(np.uint8)), HW, 'squash')
