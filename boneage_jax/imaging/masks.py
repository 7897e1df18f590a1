"""Human masks of films: where a reader says that the answer lies.

A kind of mask is drawn from the annotations of a film: filled outlines
(segmentation), boxes, or strokes (scribble), as Liao 2022 compares them.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import Any

import cv2
import numpy as np

from boneage_jax.imaging import annotations

OUTSIDE, INSIDE, UNKNOWN = 0, 1, 255  # pixels of a `region_mask`
STROKE = 0.015  # width of a stroke, share of the film's longer side
SUBPIXEL = 4  # bits

KINDS = (
  'hand_polygons',
  'hand_box',
  'hand_skeleton',  # key points joined: wrist, then each finger to its tip
  'ossification_boxes',
  'wrist_box',  # the one of them that holds the carpals
  'fracture_polygons',
  'fracture_boxes',
  'fracture_strokes',
)


def check(kinds: Sequence[str], field: str = 'guidance.mask') -> None:
  """Refuse kinds that there are not; `field` is what names them."""
  unknown = [kind for kind in kinds if kind not in KINDS]
  if unknown or isinstance(kinds, str):
    raise ValueError(
      f'{field}={kinds!r} must be a tuple of some of {KINDS}; a film '
      'takes the first kind that it has.'
    )


def draw(
  film: Mapping[str, Any], kinds: Sequence[str], hw: tuple[int, int]
) -> np.ndarray | None:
  """Draw the mask of a film, of the first of `kinds` that it has.

  Args:
    film: annotations of one film, as annotations.load gives them.
    kinds: some of KINDS.
    hw: height and width of the film in pixels.

  Returns:
    uint8 [H, W], 255 inside and 0 outside; None without any such annotation.
  """
  for kind in kinds:
    areas, lines = _shapes(film, kind)
    if areas or lines:
      break
  else:
    return None
  mask = np.zeros(hw, np.uint8)
  for rings in areas:
    points = [_pixels(ring, hw) for ring in rings]
    cv2.fillPoly(mask, points, 255, cv2.LINE_8, SUBPIXEL)
  width = max(1, round(STROKE * max(hw)))
  for line in lines:
    cv2.polylines(
      mask, [_pixels(line, hw)], False, 255, width, cv2.LINE_8, SUBPIXEL
    )
  return mask


def has(film: Mapping[str, Any], kinds: Sequence[str]) -> bool:
  """Whether a film has an annotation of any of `kinds`."""
  return any(any(_shapes(film, kind)) for kind in kinds)


def kinds(film: Mapping[str, Any]) -> list[str]:
  """Name the kinds of masks that can be drawn of a film."""
  return [kind for kind in KINDS if has(film, [kind])]


def _pixels(ring: Sequence[Sequence[float]], hw: tuple[int, int]) -> np.ndarray:
  """Fractions [N, 2] to fixed-point pixel centres."""
  pixels = np.asarray(ring, np.float64) * (hw[1], hw[0]) - 0.5
  return np.rint(pixels * 2**SUBPIXEL).astype(np.int32)


def _shapes(film: Mapping[str, Any], kind: str) -> tuple[list, list]:
  """Return areas (each an outline and its holes) and lines of a kind."""
  fracture = film.get('fracture', {})
  if kind == 'hand_polygons':
    return _areas(film.get('polygons', [])), []
  if kind == 'hand_box':
    return _boxes([film['hand_box']] if 'hand_box' in film else []), []
  if kind == 'hand_skeleton':
    return [], _skeleton(film.get('keypoints', []))
  if kind in ('ossification_boxes', 'wrist_box'):
    only = ('Wrist',) if kind == 'wrist_box' else annotations.LABELS
    boxes = [box for _, label, box in film.get('boxes', []) if label in only]
    return _boxes(boxes), []
  if kind == 'fracture_polygons':
    return _areas(fracture.get('polygons', [])), []
  if kind == 'fracture_boxes':
    return _boxes(fracture.get('boxes', [])), []
  return [], fracture.get('strokes', [])


def _areas(polygons: Sequence[Mapping[str, Any]]) -> list:
  return [[p['exterior'], *p['interior']] for p in polygons]


def _boxes(boxes: Sequence[Sequence[float]]) -> list:
  corners = lambda x0, y0, x1, y1: [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
  return [[corners(*box)] for box in boxes]


def _skeleton(points: Sequence[Sequence[float]]) -> list:
  lines = []
  for finger in range(len(annotations.FINGERS) if points else 0):
    path = [points[0], *points[1 + 4 * finger : 5 + 4 * finger]]
    path = [p for p in path if not math.isnan(p[0])]
    if len(path) > 1:
      lines.append(path)
  return lines
