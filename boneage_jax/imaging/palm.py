"""Registration by the mask of a hand, where its points are not to be had.

The palm is the largest circle in the mask, and the fingers are the thin end. A
rule that is learned from annotated films says how large a hand is on the
canvas, where its palm lies there, and how far its fingers lean. All of it is
ours.
"""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.imaging import geometry
from boneage_jax.imaging import points as points_lib
from boneage_jax.imaging import registration

LONG_SIDE = 256  # pixels, at which a mask is looked at
ALIKE = 0.93  # circles from this share of the largest one's size on
NO_HAND = 'no_hand_in_mask'


class Palm(NamedTuple):
  """What a mask tells, in pixels of its film.

  Attributes:
    centre: x, y of the largest circle in the mask.
    size: geometric mean of its diameter and of the way from there to the end of
      the fingers: hands differ more in the one alone, and the other may be cut
      off. Not that of a box, which holds more or less of the forearm.
    fingers: unit vector from there to the middle of the fingers.
    thumb: side of the thumb, see `registration.thumb_side`.
  """

  centre: np.ndarray
  size: float
  fingers: np.ndarray
  thumb: int


class Rule(NamedTuple):
  """The palm on the canvas: medians of annotated films.

  Attributes:
    size: of the hand, see `Palm`, pixels.
    x, y: of the palm's centre, pixels.
    lean_deg: of the fingers from upright, degrees clockwise.
  """

  size: float
  x: float
  y: float
  lean_deg: float


def find(mask: np.ndarray, film_hw: tuple[int, int]) -> Palm:
  """Find palm, fingers and side of the thumb in a mask.

  Args:
    mask: uint8 or bool [h, w] over the film at any resolution, one hand with
      its forearm; not 0 inside.
    film_hw: height and width of the film.

  Raises:
    ValueError: the mask is empty or has no fingers; begins with NO_HAND.
  """
  hw = tuple(max(round(LONG_SIDE * n / max(film_hw)), 1) for n in film_hw)
  inside = cv2.resize(
    np.where(mask, 255, 0).astype(np.uint8),
    hw[::-1],
    interpolation=cv2.INTER_AREA,
  )
  # The film's edge is an edge of the hand too.
  padded = cv2.copyMakeBorder(
    (inside > 127).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT
  )
  depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
  rows, columns = np.nonzero(depth)
  if not len(rows):
    raise ValueError(
      f'{NO_HAND}: expected the mask of a hand, got an empty one'
    )
  depth = depth[rows, columns]
  pixels = np.column_stack([columns, rows]).astype(np.float64)
  # Closed fingers and a forearm may hold a circle as large. The palm's is the
  # one nearest to the middle of the mask.
  middle = np.hypot(*(pixels - pixels.mean(0)).T)
  large = depth >= ALIKE * depth.max()
  start = pixels[np.where(large, middle, np.inf).argmin()]
  around = np.hypot(*(pixels - start).T) <= depth.max() / 2
  deepest = np.where(around, depth, 0).argmax()
  radius, centre = depth[deepest], pixels[deepest]
  hand = pixels - centre
  # Fingers are thin beside the forearm.
  along = hand @ _long_axis(hand)
  ends = [depth[end * along > radius] for end in (1, -1)]
  if not all(map(len, ends)):
    raise ValueError(
      f'{NO_HAND}: expected fingers and a forearm on either side of the palm, '
      'got a mask that ends there.'
    )
  if ends[1].mean() < ends[0].mean():
    along = -along
  fingers = hand[along > radius].mean(0)
  fingers /= np.hypot(*fingers)
  # The thumb stands low at one side: the axis of a hand without its forearm
  # goes from there past the fingers' middle to the other side.
  axis = _long_axis(hand[along > -radius])
  axis *= np.sign(axis @ fingers)
  left = fingers[0] * axis[1] - fingers[1] * axis[0] > 0
  matrix = geometry.inverse(geometry.fit_matrix(film_hw, hw))
  grain = np.max(film_hw) / LONG_SIDE
  return Palm(
    points_lib.move(centre, matrix),
    float(np.sqrt(2 * radius * (hand @ fingers).max()) * grain),
    fingers,
    1 if left else -1,
  )


def fit_rule(
  films: Iterable[tuple[Palm, registration.Registration]],
) -> Rule:
  """Learn where the canvas has the palm.

  Args:
    films: palm and registration by points of each.

  Raises:
    ValueError: there are none.
  """
  rows = []
  for palm, known in films:
    x, y = points_lib.move(palm.centre, known.matrix)
    turned = known.matrix[:, :2] @ palm.fingers
    lean = np.rad2deg(np.arctan2(turned[0], -turned[1]))
    rows.append((palm.size * known.scale, x, y, lean))
  if not rows:
    raise ValueError(
      'Expected films with an outline and with points to learn how a mask is '
      'registered, got none: add hand_polygons.json and hand_keypoints.csv to '
      'annotations/.'
    )
  return Rule(*map(float, np.median(rows, axis=0)))


def register(
  palm: Palm, film_hw: tuple[int, int], rule: Rule, side: int
) -> registration.Registration:
  """Bring a film to the canvas by its palm.

  Args:
    palm: of `find`.
    film_hw: height and width of the film.
    rule: of `fit_rule`.
    side: on which the canvas has the thumb.
  """
  mirrored = palm.thumb == -side
  centre, fingers = palm.centre, palm.fingers
  if mirrored:
    centre = registration.mirror(centre, film_hw)
    fingers = fingers * (-1, 1)
  lean = np.deg2rad(rule.lean_deg)
  upright = rule.size / palm.size * np.array([np.sin(lean), -np.cos(lean)])
  return registration.similarity(
    (centre, np.array([rule.x, rule.y])), (fingers, upright), film_hw, mirrored
  )


def _long_axis(points: np.ndarray) -> np.ndarray:
  """Return the unit vector [2] along which points [N, 2] spread most."""
  return np.linalg.eigh(np.cov(points.T))[1][:, 1]
