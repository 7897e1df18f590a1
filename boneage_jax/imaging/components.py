"""From what a net says of pixels to the one mask of a hand on its film."""

import cv2
import numpy as np

from boneage_jax.imaging import geometry

THRESHOLD = 0.5  # of the probability, on the film


def on_film(
  probability: np.ndarray,
  matrix: np.ndarray,
  size_hw: tuple[int, int],
  film_hw: tuple[int, int],
) -> np.ndarray:
  """Return the hand on the film, one component, of a net's probability.

  The probability is warped first and then cut at one half: between two pixels
  of the net it goes on evenly, so that the edge has no steps of a net's pixel.

  Args:
    probability: [h, w] in [0, 1], over the net's input at any resolution.
    matrix: film pixel -> input pixel, as given to geometry.warp.
    size_hw: height and width of the net's input.
    film_hw: height and width of the film.

  Returns:
    uint8 [H, W] of the film, 255 inside and 0 outside; see `largest`.
  """
  film = geometry.unwarp(probability, matrix, size_hw, film_hw)
  return largest(film > THRESHOLD)[0]


def largest(mask: np.ndarray) -> tuple[np.ndarray, float]:
  """Keep the largest connected component of a mask (Iglovikov 2017).

  Args:
    mask: [H, W]; what is not 0 is inside. Pixels that touch at a corner are
      connected.

  Returns:
    uint8 [H, W], 255 inside, and the component's share of the mask's area; of
    an empty mask, an empty one and 0.
  """
  inside = np.ascontiguousarray(mask != 0).astype(np.uint8)
  count, labels, statistics, _ = cv2.connectedComponentsWithStats(inside)
  if count == 1:  # the background alone
    return inside, 0.0
  areas = statistics[1:, cv2.CC_STAT_AREA]
  kept = np.where(labels == 1 + np.argmax(areas), 255, 0).astype(np.uint8)
  return kept, float(areas.max() / areas.sum())
