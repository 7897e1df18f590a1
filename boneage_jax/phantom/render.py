"""Films: the pose on the film, soft tissue."""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.phantom import anatomy
from boneage_jax.phantom import drawn
from boneage_jax.phantom import exposure
from boneage_jax.phantom import fractures
from boneage_jax.phantom import shapes
from boneage_jax.phantom import skeleton

BETWEEN = (3, 12)  # months from one visit to the next
SOFT = 0.021  # attenuation of soft tissue per mm
OPTIONS = {
  'long_side': 2000,
  'age': None,
  'male': None,
  'label_noise_sd': 0.0,
  'inverted': 0.0,
  'fractures': 0.0,
  'views': 1,
  'visits': 1,
  'turn': 0.0,
  'shift': 0.0,
  'chronological_sd': 0.0,
  'median': False,
}


def make_film(
  index: int, seed: int, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Make film `index` of the archive with this seed.

  Args:
    index: position in the archive, from 0.
    seed: seed of the archive.
    options: any of `long_side` (pixels, 2000), `age` (months, drawn from the
      RSNA distribution), `male` (drawn), `label_noise_sd` (sd in months of what
      is added to the label, never to the picture), `inverted` (share of
      films shown bright where the beam passed), `fractures` (share of hands
      with one), `views` (films of each hand, one after the other: tilt, place
      and exposure are the film's own), `visits` (of each hand, one after the
      other, 3 to 12 months apart, with all views at each), `turn` (degrees,
      most that a hand is turned beside its tilt, either way), `shift` (share
      of height and width, most that it is moved, either way; hands that would
      leave the film are drawn smaller), `chronological_sd` (sd in months of how
      far a child's bone age is ahead of its age) and `median` (every centre is
      as at the median of the age, and has no deviation of its own).

  Returns:
    id, image uint8 [H, W], age (label, whole months), true_age (months that
    were drawn), male, hand_box [4], keypoints [22, 2], boxes (list of label
    and [4]), polygon [N, 2], centres (ossification centre -> [2]); study (of
    the hand, from 1), finding (one of fractures.FINDINGS) and fracture, its
    masks or None; with a chronological_sd also the chronological_age, months,
    not below 0; coordinates are fractions of width and height.
  """
  options = dict(options or {})
  unknown = sorted(set(options) - set(OPTIONS))
  if unknown:
    raise ValueError(
      f'Expected options among {sorted(OPTIONS)}, got {unknown}: drop them'
    )
  options = OPTIONS | options
  if not 0 <= options['shift'] < 0.5:
    raise ValueError(
      'Expected a shift from 0 to below 0.5 of the side of a film, got '
      f'{options["shift"]}: set shift (--config.phantom.shift) to 0.15, say'
    )
  # Streams of their own keep the picture the same when an option changes.
  views, visits = options['views'], options['visits']
  study, visit = divmod(index // views, visits)
  owners = (study, study, index, study, index, study, index, study)
  label, body, view, reader, flip, chance, away, growth = (
    np.random.default_rng((seed, number, stream))
    for stream, number in enumerate(owners)
  )
  age, male = anatomy.sample_label(label)
  age = age if options['age'] is None else options['age']
  age = _later(age, label, visit)
  male = male if options['male'] is None else bool(options['male'])
  hand = skeleton.pose(body)
  broken = fractures.sample(chance, hand.bones, options['fractures'])
  for bone in hand.bones:
    if broken is not None and bone.centre == broken.centre:
      bone.fracture = broken
  moved = away.uniform(-1, 1, 3)
  turn, shift = options['turn'] * moved[0], options['shift'] * moved[1:]
  place = _Place(turn, shift, options['shift'], int(options['long_side']))
  deviations = None if options['median'] else body
  stages = anatomy.hand_stages(age, male, deviations)
  film = _picture(hand, age, stages, body, view, place)
  if flip.random() < options['inverted']:
    film['image'] = 255 - film['image']
  noise = reader.normal() * options['label_noise_sd']
  film.update(
    id=index + 1,
    true_age=age,
    age=round(min(max(age + noise, 1), anatomy.OLDEST)),
    male=male,
    study=study + 1,
    finding=broken.finding if broken else 'none',
  )
  if options['chronological_sd']:
    ahead = options['chronological_sd'] * growth.normal()
    film['chronological_age'] = max(age - ahead, 0.0)
  return film


def _later(age: float, rng: np.random.Generator, visit: int) -> float:
  """Return the age at a visit, never beyond the oldest that is drawn."""
  return min(age + rng.uniform(*BETWEEN, visit).sum(), anatomy.OLDEST)


class _Place(NamedTuple):
  """Where a hand lies beside its own tilt and place: see `make_film`.

  Attributes:
    turn: degrees.
    shift: shares of width and height.
    most: that `shift` could be.
    long_side: pixels of the film.
  """

  turn: float
  shift: np.ndarray
  most: float
  long_side: int


def _picture(hand, age, stages, body, view, place):
  lines, blobs = _flesh(hand, body)
  hw, frame = _place(hand, lines, age, view, place)
  canvas = shapes.Canvas(hw, frame, body)
  skeleton.draw(canvas, hand, stages)
  mask, soft = _soft_tissue(hw, frame, lines, blobs, body)
  film = drawn.annotate(hand, frame, hw, mask)
  film['image'] = exposure.expose(
    canvas.bone,
    soft,
    mask,
    hand_box=film['hand_box'],
    scale=frame.scale,
    rng=view,
  )
  return film


def _flesh(hand, rng):
  """Return tapered limbs (a, b, ra, rb) and polygons of the soft tissue."""
  fat = 1.03 * hand.girth * np.exp(rng.normal(0, 0.07))
  limbs, areas = [], []
  for digit, joints in hand.joints.items():
    g = anatomy.GIRTH[digit] * fat
    if digit == 1:
      radii = (13 * fat, 11 * fat, 9.6 * fat, 7.4 * fat)
    else:
      radii = (11.5 * g, 11.0 * g, 9.7 * g, 8.5 * g, 6.9 * g)
    tip = joints[-1] - joints[-2]
    tip = joints[-1] - tip / np.hypot(*tip) * radii[-1] * 0.55
    path = [*joints[:-1], tip]
    for a, b, ra, rb in zip(
      path[:-1], path[1:], radii[:-1], radii[1:], strict=True
    ):
      middle = (a + b) / 2
      limbs.append((a, middle, ra, 0.485 * (ra + rb)))
      limbs.append((middle, b, 0.485 * (ra + rb), rb))
  thumb = hand.joints[1]
  index = hand.joints[2]
  areas.append(
    np.array(
      [
        thumb[0],
        thumb[0] + 0.86 * (thumb[1] - thumb[0]),
        index[0] + 0.75 * (index[1] - index[0]),
        index[0],
        (0, 0),
        (0, -20),
      ]
    )
  )
  areas.append(
    np.array(
      [hand.joints[d][0] for d in (1, 2, 3, 4, 5)]
      + [(-20.0, -25.0), (16.0, -25.0)]
    )
  )
  # webs: skin joins the fingers a third up the proximal phalanx
  for d in (2, 3, 4):
    a, b = hand.joints[d], hand.joints[d + 1]
    areas.append(
      np.array(
        [
          a[1],
          a[1] + 0.36 * (a[2] - a[1]),
          b[1] + 0.40 * (b[2] - b[1]),
          b[1],
          b[0],
          a[0],
        ]
      )
    )
  wrist = np.array([-3.0, -24.0])
  elbow = wrist + hand.forearm * 320
  for start, end, ra, rb in (
    ((-12.0, 6.0), (-7.0, -30.0), 19, 24),
    ((17.0, 2.0), (3.0, -28.0), 17, 23),
  ):
    limbs.append((np.array(start), np.array(end), ra * fat, rb * fat))
  limbs.append((wrist, elbow, 29 * fat, 40 * fat))
  return limbs, areas


def _place(hand, limbs, age, rng, place):
  """Choose film size, scale, turn and shift; size hardly follows age."""
  ratio = float(np.clip(rng.normal(0.78, 0.08), 0.58, 1.0))
  height, width = place.long_side, max(round(place.long_side * ratio), 8)
  turn = rng.normal(0, 7) + place.turn
  unit = shapes.Frame(1.0, turn, (0, 0))
  ends = [(a, ra) for a, _, ra, _ in limbs[:-1]]
  ends += [(b, rb) for _, b, _, rb in limbs[:-1]]
  ends.append((np.array([-3.0, -24.0]) + hand.forearm * 44, 26.0))
  centres = unit.points(np.array([p for p, _ in ends]))
  radii = np.array([r for _, r in ends])[:, None]
  low = (centres - radii).min(0)
  high = (centres + radii).max(0)
  tall = 0.83 * np.exp(rng.normal(0, 0.12) + 0.04 * (age - 127) / 41)
  side = np.array([width, height])
  room = (1 - 2 * place.most) * side  # all of the film but for what it is moved
  scale = min(
    np.clip(tall, 0.45, 0.95) * height / (high - low)[1],
    *(0.95 * room / (high - low)),
  )
  free = room - scale * (high - low)
  where = rng.beta(2.5, 2.5, 2)
  corner = free * (0.03 + 0.94 * where) + (place.most + place.shift) * side
  return (height, width), shapes.Frame(scale, turn, corner - scale * low)


def _soft_tissue(hw, frame, limbs, areas, rng):
  """Return (mask bool [H, W], attenuation [H, W])."""
  mask = np.zeros(hw, np.uint8)
  scale = frame.scale
  shift = 4  # sub-pixel bits
  for a, b, ra, rb in limbs:
    along = (b - a) / max(np.hypot(*(b - a)), 1e-6)
    side = np.array([-along[1], along[0]])
    quad = np.array(
      [a + ra * side, b + rb * side, b - rb * side, a - ra * side]
    )
    points = np.round(frame.points(quad) * 2**shift).astype(np.int32)
    cv2.fillConvexPoly(mask, points, 255, cv2.LINE_8, shift)
    for centre, radius in ((a, ra), (b, rb)):
      x, y = np.round(frame.points(centre) * 2**shift).astype(int)
      cv2.circle(
        mask,
        (int(x), int(y)),
        int(radius * scale * 2**shift),
        255,
        -1,
        cv2.LINE_8,
        shift,
      )
  for area in areas:
    points = np.round(frame.points(area) * 2**shift).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_8, shift)
  blurred = cv2.GaussianBlur(mask, (0, 0), max(2.2 * scale, 0.6))
  mask = (blurred > 127).astype(np.uint8)
  distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5) / scale
  thick = rng.uniform(0.92, 1.32)
  # palm and wrist are thicker than fingers of the same width
  y0 = frame.points(np.array([0.0, 40.0]))[1]
  rows = (np.arange(hw[0], dtype=np.float32)[:, None] - y0) / (60 * scale)
  depth = (8.5 + 6.0 / (1 + np.exp(-4 * rows))) * np.float32(thick)
  tissue = shapes.chord(distance, depth)
  ball = frame.points(np.array([30.0, 22.0]))
  yy, xx = np.ogrid[: hw[0], : hw[1]]
  r2 = ((xx - ball[0]) ** 2 + (yy - ball[1]) ** 2) / (scale * 20) ** 2
  tissue += np.float32(5 * thick) * np.exp(-r2.astype(np.float32)) * mask
  soft = cv2.GaussianBlur(
    tissue * np.float32(SOFT), (0, 0), max(0.5 * scale, 0.8)
  )
  return mask.astype(bool), soft
