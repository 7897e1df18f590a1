"""Parts of the body that are no hand, drawn crudely.

They need not pass for radiographs: they have what hands have, bright bones in
grey flesh on a dark film, in another order.
"""

import cv2
import numpy as np

SIZE = 256  # pixels of the square that they are drawn in


class _Pad:
  """A square to draw on, 0 to 1 along both sides."""

  def __init__(self, rng):
    self.path = np.zeros((SIZE, SIZE), np.float32)
    self.rng = rng

  def blob(self, centre, radii, much, degrees=0.0):
    """Add an ellipse."""
    layer = np.zeros_like(self.path)
    jitter = 1 + 0.12 * self.rng.normal(size=2)
    place = tuple(int(SIZE * v) for v in centre)
    size = tuple(
      max(int(SIZE * r * j), 1) for r, j in zip(radii, jitter, strict=True)
    )
    cv2.ellipse(layer, place, size, degrees, 0, 360, much, -1)
    self.path += cv2.GaussianBlur(layer, (0, 0), 1.5)

  def limb(self, points, wide, much):
    """Add a line of several points."""
    layer = np.zeros_like(self.path)
    points = np.array(points) + self.rng.normal(0, 0.008, (len(points), 2))
    line = np.rint(SIZE * points).astype(np.int32)
    cv2.polylines(layer, [line], False, much, max(round(SIZE * wide), 1))
    self.path += cv2.GaussianBlur(layer, (0, 0), 1.5)


def _chest(pad):
  pad.blob((0.5, 0.55), (0.44, 0.48), 0.5)
  for x in (0.3, 0.7):
    pad.blob((x, 0.5), (0.15, 0.34), -0.35)
  pad.limb([(0.5, 0.05), (0.5, 0.97)], 0.09, 0.6)
  for y in np.linspace(0.15, 0.8, int(pad.rng.integers(7, 11))):
    for sign in (-1, 1):
      bow = [
        (0.5, y),
        (0.5 + sign * 0.25, y - 0.04),
        (0.5 + sign * 0.4, y + 0.09),
      ]
      pad.limb(bow, 0.02, 0.35)
  pad.blob((0.56, 0.65), (0.14, 0.13), 0.4)


def _skull(pad):
  pad.blob((0.5, 0.42), (0.34, 0.38), 0.8)
  pad.blob((0.5, 0.42), (0.29, 0.33), -0.3)
  for x in (0.37, 0.63):
    pad.blob((x, 0.5), (0.08, 0.07), -0.3)
  pad.blob((0.5, 0.63), (0.04, 0.07), -0.25)
  pad.limb([(0.34, 0.74), (0.42, 0.86), (0.58, 0.86), (0.66, 0.74)], 0.05, 0.5)
  pad.limb([(0.5, 0.85), (0.5, 1.0)], 0.16, 0.4)


def _knee(pad):
  pad.limb([(0.5, 0.0), (0.5, 1.0)], 0.5, 0.35)
  pad.limb([(0.48, 0.0), (0.5, 0.4)], 0.17, 0.6)
  pad.blob((0.5, 0.42), (0.2, 0.09), 0.5)
  pad.blob((0.5, 0.58), (0.2, 0.07), 0.5)
  pad.limb([(0.5, 0.6), (0.5, 1.0)], 0.15, 0.6)
  pad.limb([(0.66, 0.64), (0.68, 1.0)], 0.06, 0.5)


def _pelvis(pad):
  pad.blob((0.5, 0.5), (0.48, 0.46), 0.35)
  for sign in (-1, 1):
    pad.blob((0.5 + sign * 0.24, 0.35), (0.18, 0.22), 0.5, sign * 25)
    pad.blob((0.5 + sign * 0.15, 0.66), (0.1, 0.13), 0.4, sign * 20)
    pad.blob((0.5 + sign * 0.15, 0.66), (0.05, 0.07), -0.4, sign * 20)
    pad.blob((0.5 + sign * 0.31, 0.6), (0.07, 0.07), 0.6)
    pad.limb([(0.5 + sign * 0.33, 0.62), (0.5 + sign * 0.36, 1.0)], 0.1, 0.6)
  pad.limb([(0.5, 0.0), (0.5, 0.45)], 0.14, 0.6)


def _spine(pad):
  pad.limb([(0.5, 0.0), (0.5, 1.0)], 0.7, 0.35)
  bend, count = pad.rng.uniform(-0.12, 0.12), int(pad.rng.integers(6, 12))
  for y in np.linspace(0.05, 0.95, count):
    x = 0.5 + bend * np.sin(np.pi * y)
    pad.blob((x, y), (0.1, 0.36 / count), 0.6)
    pad.limb([(x - 0.2, y), (x + 0.2, y)], 0.02, 0.25)


def _foot(pad):
  pad.limb([(0.45, 0.1), (0.42, 0.5), (0.45, 0.85)], 0.34, 0.35)
  pad.blob((0.46, 0.84), (0.14, 0.14), 0.6)
  pad.blob((0.44, 0.66), (0.13, 0.07), 0.5)
  for k, x in enumerate(np.linspace(0.3, 0.6, 5)):
    wide = 0.055 if k == 0 else 0.03
    top = 0.08 + 0.05 * k
    pad.limb([(x, 0.58), (x - 0.02, 0.3)], wide, 0.6)
    pad.limb([(x - 0.02, 0.27), (x - 0.02, max(0.2, top))], wide, 0.5)
    pad.limb([(x - 0.02, 0.18 + 0.03 * k), (x - 0.02, top)], wide, 0.5)


def _elbow(pad):
  pad.limb([(0.1, 0.15), (0.55, 0.5), (0.15, 0.9)], 0.28, 0.35)
  pad.limb([(0.1, 0.15), (0.52, 0.47)], 0.12, 0.6)
  pad.blob((0.53, 0.5), (0.1, 0.12), 0.5)
  pad.limb([(0.54, 0.54), (0.16, 0.86)], 0.07, 0.6)
  pad.limb([(0.5, 0.6), (0.22, 0.95)], 0.05, 0.5)


PARTS = (_chest, _skull, _knee, _pelvis, _spine, _foot, _elbow)


def draw(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Draw one of PARTS on a film of the size and the greys of another.

  Args:
    film: uint8 [H, W], whose greys are taken.
    rng: draws the part, its place and its turn.
  """
  pad = _Pad(rng)
  PARTS[rng.integers(len(PARTS))](pad)
  height, width = film.shape
  path = pad.path[:, ::-1] if rng.random() < 0.5 else pad.path
  turn = rng.uniform(-15, 15)
  zoom = rng.uniform(0.8, 1.15) * min(height, width) / SIZE
  matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), turn, zoom)
  shift = np.array([width, height]) / 2 - SIZE / 2
  matrix[:, 2] += shift + rng.uniform(-0.04, 0.04, 2) * (width, height)
  path = cv2.warpAffine(path, matrix, (width, height))
  low, high = np.percentile(film, (5, 99))
  bright = low + (high - low) * (1 - np.exp(-1.6 * np.clip(path, 0, None)))
  bright += rng.uniform(1, 3) * rng.standard_normal(film.shape)
  return np.uint8(np.clip(np.rint(bright), 0, 255))
