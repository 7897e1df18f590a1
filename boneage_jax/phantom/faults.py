"""Faults of films, planted: what quality control must find.

Each takes uint8 [H, W], bones bright, of one upright hand, real or synthetic,
and gives the like. Lengths are shares of the film or of the hand, so that they
mean the same at any resolution.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.imaging import corruptions
from boneage_jax.imaging import silhouette
from boneage_jax.phantom import other_parts


class Hand(NamedTuple):
  """Where the hand lies, in fractions of the film.

  Attributes:
    box: x0, y0, x1, y1.
    wrist: y of the proximal edge of the carpus.
  """

  box: Sequence[float]
  wrist: float


def find_hand(film: np.ndarray) -> Hand:
  """Guess where the hand of a film without annotations lies."""
  found = silhouette.find(film)
  return Hand(found.box, found.wrist)


def two_hands(film, rng, hand):
  """Set a second hand, the film's mirror image, beside it."""
  second = corruptions.tone(film[:, ::-1], gamma=rng.uniform(0.8, 1.25))
  second = corruptions.rotate(second, rng.uniform(-6, 6) or 1.0)
  if rng.random() < 0.6:  # in one exposure: films end at the hands
    x0, _, x1, _ = hand.box
    first, second = (
      _columns(one, side[0] - 0.04, side[1] + 0.04)
      for one, side in ((film, (x0, x1)), (second, (1 - x1, 1 - x0)))
    )
  else:
    first = film
  pair = (first, second) if rng.random() < 0.5 else (second, first)
  gap = max(round(rng.uniform(0, 0.05) * film.shape[1]), 1)
  grey = int(np.percentile(film, 5)) if rng.random() < 0.5 else 0
  between = np.full((film.shape[0], gap), grey, np.uint8)
  return np.hstack([pair[0], between, pair[1]])


def cut_wrist(film, rng, hand):
  """End the film within the carpus."""
  length = hand.wrist - hand.box[1]
  return _rows(film, 0, hand.wrist - rng.uniform(0.06, 0.18) * length)


def cut_tips(film, rng, hand):
  """Begin the film below the tip of the longest finger."""
  length = hand.wrist - hand.box[1]
  return _rows(film, hand.box[1] + rng.uniform(0.08, 0.2) * length, 1)


def half_left(film, rng, hand):
  """Cut the left half of the hand off, 45 to 60 %."""
  x0, _, x1, _ = hand.box
  return _columns(film, x0 + _half(rng) * (x1 - x0), 1)


def half_right(film, rng, hand):
  """Cut the right half of the hand off."""
  x0, _, x1, _ = hand.box
  return _columns(film, 0, x1 - _half(rng) * (x1 - x0))


def half_top(film, rng, hand):
  """Cut the fingers off."""
  y0, end = hand.box[1], hand.wrist
  return _rows(film, y0 + _half(rng) * (end - y0), 1)


def half_bottom(film, rng, hand):
  """Cut off all below the fingers."""
  y0, end = hand.box[1], hand.wrist
  return _rows(film, 0, end - _half(rng) * (end - y0))


def inverted(film, rng, hand):
  """Show bones dark."""
  del rng, hand
  return corruptions.invert(film)


def rotated(film, rng, hand):
  """Turn a film by a quarter, a half, or 40 to 140 degrees to a side."""
  del hand
  if rng.random() < 0.5:
    return corruptions.rotate(film, 90 * int(rng.integers(1, 4)))
  degrees = rng.uniform(40, 140) * rng.choice((-1, 1))
  height, width = film.shape
  matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
  cos, sin = np.abs(matrix[0, :2])
  size = round(width * cos + height * sin), round(width * sin + height * cos)
  matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
  return cv2.warpAffine(film, matrix, size)


def mirrored(film, rng, hand):
  """Show a right hand."""
  del rng, hand
  return corruptions.mirror(film)


def blank(film, rng, hand):
  """Leave nothing but a beam that weakens, and grain."""
  del hand
  height, width = film.shape
  slope = rng.uniform(-12, 12, 2)
  beam = slope[0] * np.linspace(-1, 1, width) + rng.uniform(10, 245)
  beam = beam + slope[1] * np.linspace(-1, 1, height)[:, None]
  grain = rng.uniform(0.7, 4) * rng.standard_normal(film.shape)
  return np.uint8(np.clip(np.rint(beam + grain), 0, 255))


def saturated(film, rng, hand):
  """Expose so that all of the hand has the last grey, or hardly any has."""
  del hand
  if rng.random() < 0.5:
    low = np.percentile(film, rng.uniform(25, 45))
    stretched = (film - low) * 255 / max(0.08 * (film.max() - low), 1)
  else:
    high = np.percentile(film, 99.7)
    stretched = 255 + (film.astype(np.float32) - high) * 6
  return np.uint8(np.clip(stretched, 0, 255))


def few_pixels(film, rng, hand):
  """Keep 40 to 60 pixels along the long side."""
  del hand
  scale = rng.uniform(40, 60) / max(film.shape)
  height, width = (max(round(scale * n), 8) for n in film.shape)
  return cv2.resize(film, (width, height), interpolation=cv2.INTER_AREA)


def blurred(film, rng, hand):
  """Blur by 1 to 2.5 % of the long side."""
  del hand
  return corruptions.blur(film, rng.uniform(0.01, 0.025))


def noise(film, rng, hand):
  """Add noise of 25 to 60 greys."""
  del hand
  return corruptions.noise(film, rng.uniform(25, 60), rng)


def jpeg(film, rng, hand):
  """Send the film through JPEG of a quality of 2 to 6."""
  del hand
  return corruptions.jpeg(film, int(rng.integers(2, 7)))


def metal(film, rng, hand):
  """Lay a plate with screws, or wires, over the hand.

  Nothing is as bright, and its edges are sharp: the window that shows it leaves
  darker greys to bones.
  """
  film = np.uint8(np.rint(rng.uniform(0.65, 0.85) * film.astype(np.float32)))
  (height, width), (x0, y0, x1, _) = film.shape, hand.box
  long = (hand.wrist - y0) * height
  middle = np.array(
    [
      (x0 + rng.uniform(0.3, 0.7) * (x1 - x0)) * width,
      y0 * height + rng.uniform(0.35, 0.95) * long,
    ]
  )
  along = np.deg2rad(rng.uniform(50, 130))
  along = np.array([np.cos(along), np.sin(along)])
  across = np.array([-along[1], along[0]])
  thick = max(round(rng.uniform(0.03, 0.05) * long), 2)
  reach = rng.uniform(0.12, 0.25) * long
  grey = int(rng.integers(248, 256))

  def line(start, end, wide):
    ends = (tuple(int(v) for v in np.rint(end)) for end in (start, end))
    cv2.line(film, *ends, grey, wide)

  if rng.random() < 0.6:
    line(middle - reach * along, middle + reach * along, thick)
    for share in np.linspace(-0.8, 0.8, int(rng.integers(3, 7))):
      screw = middle + share * reach * along
      line(
        screw, screw + rng.uniform(0.8, 1.6) * thick * across, thick // 2 + 1
      )
    return film
  for _ in range(int(rng.integers(2, 4))):
    shift = rng.uniform(-0.1, 0.1, 2) * long
    line(
      middle + shift - reach * along, middle + shift + reach * along, thick // 2
    )
  return film


def cast(film, rng, hand):
  """Wrap wrist and palm in plaster: a bright veil with a weave."""
  height, width = film.shape
  x0, y0, x1, _ = hand.box
  top = int(height * (hand.wrist - rng.uniform(0.3, 0.5) * (hand.wrist - y0)))
  middle, half = (
    (x0 + x1) / 2 * width,
    rng.uniform(0.42, 0.6) * (x1 - x0) * width,
  )
  rows, columns = np.mgrid[top:height, 0:width].astype(np.float32)
  away = np.abs(columns - middle) / half
  tube = np.sqrt(np.clip(1 - away**2, 0, None)) + 0.6 * np.exp(
    -0.5 * ((away - 0.95) / 0.05) ** 2
  )
  pitch = rng.uniform(0.012, 0.025) * max(film.shape)
  weave = 1 + 0.12 * np.sin(rows / pitch * np.pi) * np.sin(
    columns / pitch * np.pi
  )
  veil = rng.uniform(70, 120) * np.clip(tube, 0, 1) * weave
  film = film.astype(np.float32)
  film[top:] = 0.55 * film[top:] * (away < 1) + film[top:] * (away >= 1) + veil
  return np.uint8(np.clip(np.rint(film), 0, 255))


def not_a_hand(film, rng, hand):
  """Draw another part of the body, crudely, in the greys of the film."""
  del hand
  return other_parts.draw(film, rng)


Fault = Callable[[np.ndarray, np.random.Generator, Hand], np.ndarray]

KINDS: dict[str, Fault] = {
  one.__name__: one
  for one in (
    *(two_hands, half_left, half_right, half_top, half_bottom),
    *(blank, saturated, not_a_hand),
    *(cut_wrist, cut_tips, inverted, rotated, mirrored, few_pixels),
    *(blurred, noise, jpeg, metal, cast),
  )
}


def plant(
  kind: str, film: np.ndarray, seed: int, hand: Hand | None = None
) -> np.ndarray:
  """Plant a fault in a film.

  Args:
    kind: of KINDS.
    film: uint8 [H, W], bones bright.
    seed: of the film: one film and kind have one fault.
    hand: where it lies; guessed where nobody says, see `find_hand`.

  Returns:
    uint8 [h, w]; what cuts, turns or adds changes the size.

  Raises:
    ValueError: no such kind.
  """
  check(kind)
  rng = np.random.default_rng((seed, list(KINDS).index(kind)))
  return np.ascontiguousarray(KINDS[kind](film, rng, hand or find_hand(film)))


def check(kind: str) -> None:
  """Refuse a kind that is none of KINDS.

  Raises:
    ValueError: it is not.
  """
  if kind not in KINDS:
    raise ValueError(
      f'Expected faults among {", ".join(KINDS)}, got {kind!r}: change '
      '--faults.'
    )


def _half(rng):
  return rng.uniform(0.45, 0.6)


def _rows(film, start, end):
  return _columns(film.T, start, end).T


def _columns(film, start, end):
  """Return the columns of a film between fractions, a sixteenth at least."""
  width = film.shape[1]
  least = max(width // 16, 1)
  left = int(np.clip(round(start * width), 0, width - least))
  right = int(np.clip(round(end * width), left + least, width))
  return film[:, left:right]
