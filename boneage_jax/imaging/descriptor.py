"""What a film looks like, in numbers that tell odd films from usual ones.

No net is asked: a film of 2,000 pixels takes a few milliseconds.
"""

import cv2
import numpy as np

from boneage_jax.imaging import silhouette

LONG = 256  # pixels of the long side of what most looks at
SIDE = 96  # pixels of the square that a film is set in
CELLS = 12  # along each side
ANGLES = 8  # bins of the direction of slopes, over the whole circle
SMALL = 16  # pixels of the square of greys
GREYS = 16  # bins of the greys of the body
BONE = 95  # percentile of a film that hardly any bone is brighter than
BRIGHTS = 8  # bins of what is brighter than bone, and of how steep it is
MIDDLE = 512  # pixels of the square in which noise and blocks are looked for
PARTS = 0.01  # a part of the mask of less than this share is not counted


def describe(film: np.ndarray) -> np.ndarray:
  """Return the numbers of uint8 [H, W], bones bright, float32 [N].

  They are slopes by place and direction (Dalal 2005, one block), small greys,
  the greys of the body and how they stand out, what is brighter than bone and
  how sharp it is, where the body lies, noise, blocks of JPEG and greys at
  either end.
  """
  few = _shrunk(film)
  seen = silhouette.find(few)
  grey, frame = _square(few)
  low, high = np.percentile(grey[frame], (1, 99))
  grey = np.clip((grey - low) / max(high - low, 1), 0, 1).astype(np.float32)
  small = cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
  return np.concatenate(
    [
      _slopes(grey),
      0.3 * small.ravel(),
      _tones(few, seen),
      _brightest(few),
      _place(few, seen),
      _pixels(film, few),
    ]
  ).astype(np.float32)


def _shrunk(film: np.ndarray) -> np.ndarray:
  """Shrink a film to LONG pixels once, for all that looks at few."""
  scale = LONG / max(film.shape)
  if scale >= 1:
    return film
  height, width = (max(round(scale * n), 1) for n in film.shape)
  return cv2.resize(film, (width, height), interpolation=cv2.INTER_AREA)


def _square(film: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
  """Set a film in the middle of a square; return it and where the film lies."""
  scale = SIDE / max(film.shape)
  height, width = (max(round(scale * n), 4) for n in film.shape)
  how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
  small = cv2.resize(film, (width, height), interpolation=how)
  top, left = (SIDE - height) // 2, (SIDE - width) // 2
  edge = np.concatenate([small[0], small[:, 0], small[:, -1]])
  grey = np.full((SIDE, SIDE), np.median(edge), np.float32)
  frame = np.s_[top : top + height, left : left + width]
  grey[frame] = small
  return grey, frame


def _slopes(grey: np.ndarray) -> np.ndarray:
  """Return [CELLS * CELLS * ANGLES] of unit length."""
  x, y = (cv2.Sobel(grey, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
  steep, angle = cv2.cartToPolar(x, y)
  turn = angle * np.float32(ANGLES / (2 * np.pi))
  first = turn.astype(np.int32)
  share = turn - first
  place = np.arange(SIDE) * CELLS // SIDE
  cell = (place[:, None] * CELLS + place) * ANGLES
  cells = np.zeros(CELLS * CELLS * ANGLES)
  for angles, part in ((first, 1 - share), (first + 1, share)):
    where = (cell + angles % ANGLES).ravel()
    weights = (steep * part).ravel()
    cells += np.bincount(where, weights, len(cells))
  cells = np.sqrt(cells * (CELLS / SIDE) ** 2)
  return cells / max(np.linalg.norm(cells), 1e-6) * np.sqrt(CELLS)


def _tones(film: np.ndarray, seen: silhouette.Silhouette) -> np.ndarray:
  """Return shares of the greys of the body, and of how they stand out."""
  height, width = seen.mask.shape
  small = cv2.resize(film, (width, height), interpolation=cv2.INTER_AREA)
  inside = seen.mask if seen.mask.any() else np.ones_like(seen.mask)
  body, out = small[inside], []
  low, high = np.percentile(small, (1, 99.5))
  shares = lambda v: np.histogram(v, GREYS, (0, 1))[0] / v.size
  out.append(shares(np.clip((body - low) / max(high - low, 1.0), 0, 1)))
  round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
  for how in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
    stands = cv2.morphologyEx(small, how, round_)[inside] / max(high - low, 1.0)
    out.append(np.sqrt(shares(np.clip(stands, 0, 1))))
  return np.concatenate(out)


def _brightest(film: np.ndarray) -> np.ndarray:
  """Return shares of the body by brightness and steepness, in units of bone.

  Bone is as bright as one pixel in ten. Metal is brighter, with steep edges; so
  that the body is not metal alone, the brightest pixels count less to find it.
  """
  seen = silhouette.find(np.minimum(film, np.uint8(np.percentile(film, BONE))))
  around = np.ones((3, 3), np.uint8)
  mask = cv2.erode(seen.mask.astype(np.uint8), around)
  mask = cv2.resize(mask, film.shape[::-1], interpolation=cv2.INTER_NEAREST)
  inside = mask > 0 if mask.any() else np.ones(film.shape, bool)
  steep = cv2.morphologyEx(film, cv2.MORPH_GRADIENT, around)[inside]
  middle, bone = np.percentile(film[inside], (50, 90))
  unit = max(bone - middle, 4.0)
  shares = lambda v, top: np.histogram(np.minimum(v, top), BRIGHTS, (1, top))[0]
  bright = shares((film[inside] - middle) / unit, 4)
  return np.sqrt(np.concatenate([bright, shares(steep / unit, 4)]) / len(steep))


def _place(film: np.ndarray, seen: silhouette.Silhouette) -> np.ndarray:
  """Return where the body lies, and which edges of the film it meets."""
  mask = seen.mask
  edges = mask[0], mask[-1], mask[:, 0], mask[:, -1]
  _, _, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
  parts = np.sum(found[1:, cv2.CC_STAT_AREA] > PARTS * mask.size)
  halves = [half.mean() for half in (*np.array_split(mask, 3, 0),)]
  halves += [half.mean() for half in np.array_split(mask, 3, 1)]
  aspect = np.log(film.shape[1] / film.shape[0])
  return np.array(
    [
      *seen.box,
      seen.wrist,
      mask.mean(),
      *(edge.mean() for edge in edges),
      *halves,
      parts / 3,
      aspect,
    ]
  )


def _pixels(film: np.ndarray, few: np.ndarray) -> np.ndarray:
  """Return noise (Immerkaer 1996), blocks of JPEG and shares of end greys."""
  top, left = (max(n - MIDDLE, 0) // 2 for n in film.shape)
  part = film[top : top + MIDDLE, left : left + MIDDLE].astype(np.float32)
  kernel = np.outer((1, -2, 1), (1, -2, 1)).astype(np.float32)
  noise = np.abs(cv2.filter2D(part, -1, kernel)).mean() * np.sqrt(np.pi / 72)
  blocks = []
  for lines in (part, part.T):
    steps = np.abs(np.diff(lines, axis=0)).mean(1)
    by_phase = np.array(
      [steps[k::8].mean() for k in range(8) if k < len(steps)]
    )
    blocks.append(np.log((by_phase.max() + 0.2) / (np.median(by_phase) + 0.2)))
  ends = np.mean(few <= 1), np.mean(few >= 254)
  return np.array([np.log(noise + 0.3), min(blocks), *ends])
