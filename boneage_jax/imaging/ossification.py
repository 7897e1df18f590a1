"""Boxes about joints as landmarks: which finger each is of, by geometry.

Readers name the joint of a box, not its finger. Seen from the middle of the
wrist the fingers fan out, so joints of one kind are told apart by the direction
in which they lie; the thumb ends the fan on the side on which the radius lies
of the ulna. The rule compares directions alone: it holds on films that are
squashed, turned or mirrored.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.imaging import annotations
from boneage_jax.imaging import boxes as boxes_lib

# The joints of each kind, from the thumb on.
FINGERS = {
  'MCP': annotations.FINGERS,
  'PIP': annotations.FINGERS,  # of the thumb, its one joint between phalanges
  'DIP': annotations.FINGERS[1:],
}
SINGLE = ('Radius', 'Ulna', 'Wrist')
LANDMARKS = (
  *(f'{finger}_{kind}' for kind, of in FINGERS.items() for finger in of),
  *SINGLE,
)


def fault(film: Mapping[str, Any]) -> str:
  """Say why the boxes of a film can't be named; '' if they can.

  Args:
    film: annotations of one film, as annotations.load gives them.
  """
  found = boxes_lib.annotated_boxes(film)
  wanted = {kind: len(of) for kind, of in FINGERS.items()}
  wanted |= dict.fromkeys(SINGLE, 1)
  counts = {label: len(found.get(label, ())) for label in wanted}
  if counts == wanted:
    return ''
  text = lambda of: ', '.join(f'{n} {label}' for label, n in of.items() if n)
  return f'expected {text(wanted)}, got {text(counts) or "no box"}'


def centres(
  film: Mapping[str, Any], film_hw: tuple[int, int] = (1, 1)
) -> np.ndarray:
  """Return the middles of the boxes, named.

  Those that an expert drew, or else the first of boxes.RATERS.

  Args:
    film: annotations of one film, as annotations.load gives them.
    film_hw: height and width of the film; (1, 1) gives fractions.

  Returns:
    float64 [17, 2], x and y of LANDMARKS; NaN where `fault` says why.
  """
  if fault(film):
    return np.full((len(LANDMARKS), 2), np.nan)
  found = {
    label: (box[:, :2] + box[:, 2:]) / 2
    for label, box in boxes_lib.annotated_boxes(film).items()
  }
  wrist, radius, ulna = (found[name][0] for name in ('Wrist', 'Radius', 'Ulna'))
  up = found['MCP'].mean(0) - wrist
  side = np.sign(_cross(up, radius - ulna))
  joints = []
  for kind in FINGERS:
    way = found[kind] - wrist
    angle = np.arctan2(_cross(up, way), way @ up)
    joints.append(found[kind][np.argsort(-side * angle)])
  named = np.concatenate([*joints, radius[None], ulna[None], wrist[None]])
  return named * film_hw[::-1]


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def hand_length(points: np.ndarray) -> np.ndarray:
  """Return the way from the wrist to the farthest DIP.

  Args:
    points: [..., 17, 2], of LANDMARKS.
  """
  tips = [i for i, name in enumerate(LANDMARKS) if name.endswith('_DIP')]
  wrist = points[..., LANDMARKS.index('Wrist'), :]
  way = points[..., tips, :] - wrist[..., None, :]
  return np.linalg.norm(way, axis=-1).max(-1)
