"""What is annotated on a drawn film: boxes, key points, an outline."""

from typing import Any

import cv2
import numpy as np

from boneage_jax.phantom import fractures
from boneage_jax.phantom import shapes
from boneage_jax.phantom import skeleton

# half sizes in mm of the boxes a reader draws round the joints
BOX_SIZES = {
  'DIP': (8.5, 10.0),
  'PIP': (9.5, 11.0),
  'MCP': (11.5, 13.0),
  'Radius': (20.0, 15.0),
  'Ulna': (13.0, 13.0),
}


def annotate(
  hand: skeleton.Hand,
  frame: shapes.Frame,
  hw: tuple[int, int],
  mask: np.ndarray,
) -> dict[str, Any]:
  """Return boxes, key points, outline and fracture of a hand on its film.

  Args:
    hand: its pose.
    frame: millimetres to pixels.
    hw: height and width of the film.
    mask: where the hand lies, bool [H, W].

  Returns:
    fracture, hand_box, keypoints, boxes, polygon and centres, see
    `render.make_film`.
  """
  size = np.array([hw[1], hw[0]], np.float64)
  fractions = lambda mm: frame.points(mm) / size
  wrist = np.array([-1.0, -25.0])
  joints = [wrist]
  joints += [hand.joints[1][i] for i in (0, 1, 2, 3)]
  for digit in (2, 3, 4, 5):
    joints += [hand.joints[digit][i] for i in (1, 2, 3, 4)]
  joints.append(hand.carpals['capitate'][0])
  keypoints = np.clip(fractions(np.array(joints)), 0, 1)
  rows = [('MCP', hand.joints[d][1]) for d in (1, 2, 3, 4, 5)]
  rows += [('PIP', hand.joints[d][2]) for d in (1, 2, 3, 4, 5)]
  rows += [('DIP', hand.joints[d][3]) for d in (2, 3, 4, 5)]
  ends = {b.centre: b.origin for b in hand.bones}
  rows += [('Radius', ends['radius'] + (0, -2)), ('Ulna', ends['ulna'])]
  boxes = [
    (
      label,
      _box(fractions(where), np.array(BOX_SIZES[label]) * frame.scale / size),
    )
    for label, where in rows
  ]
  outline = np.concatenate(
    [
      c + np.stack([np.cos(a) * r, np.sin(a) * r], 1)
      for name, (c, r) in hand.carpals.items()
      if name != 'sesamoid'
      for a in [np.linspace(-np.pi, np.pi, 90)]
    ]
  )
  corners = fractions(outline)
  pad = np.array([9.0, 7.0]) * frame.scale / size
  boxes.append(
    ('Wrist', np.concatenate([corners.min(0) - pad, corners.max(0) + pad]))
  )
  # the hand ends a hand's breadth below the wrist, as readers frame it
  bottom = frame.points(wrist + hand.forearm * 42)[1]
  limit = int(np.clip(round(bottom), 1, hw[0]))
  part = mask.copy()
  part[limit:] = False
  x = np.flatnonzero(part.any(0))
  y = np.flatnonzero(part.any(1))
  box = np.array([x[0], y[0], x[-1] + 1, y[-1] + 1]) / np.tile(size, 2)
  found, _ = cv2.findContours(
    mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
  )
  contour = max(found, key=cv2.contourArea)
  contour = cv2.approxPolyDP(contour, 0.002 * hw[0], True)[:, 0]
  marks = None
  for bone in hand.bones:
    if bone.fracture is not None:
      half = skeleton.half_width(bone, bone.fracture.at, bone.widths[3])
      marks = fractures.annotate(bone.fracture, bone, half, fractions)
  return {
    'fracture': marks,
    'hand_box': box,
    'keypoints': keypoints,
    'boxes': [(label, _inside(b, box)) for label, b in boxes],
    'polygon': (contour + 0.5) / size,
    'centres': _centres(hand, fractions),
  }


def _centres(hand, fractions):
  """Return where each ossification centre lies, or will."""
  places = {name: centre for name, (centre, _) in hand.carpals.items()}
  for bone in hand.bones:
    middle = bone.widths[3] / 2  # of the epiphysis
    places[bone.centre] = bone.origin + middle * bone.direction
  found = fractions(np.array(list(places.values())))
  return dict(zip(places, found, strict=True))


def _box(centre, half):
  return np.concatenate([centre - half, centre + half])


def _inside(box, outer):
  return np.clip(box, np.tile(outer[:2], 2), np.tile(outer[2:], 2))
