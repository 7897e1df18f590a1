"""How well regions cover annotated boxes.

Boxes are x0, y0, x1, y1 in fractions of the film.
"""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.imaging import boxes as boxes_lib

NEAR = 0.08  # long sides from the wrist box's centre


def _centre(box: np.ndarray) -> np.ndarray:
  return (box[..., :2] + box[..., 2:]) / 2


def _inside(point: np.ndarray, box: np.ndarray) -> np.ndarray:
  return np.all((point >= box[:2]) & (point <= box[2:]), axis=-1)


def region_coverage(
  regions: Mapping[str, Mapping[str, tuple]],
  annotations: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
  """Measure regions against annotated boxes, region by region.

  Raters agree at an IoU of only about 0.5, so centres and coverage say more.
  Where several raters marked a film, the expert's boxes count, then those of
  the training set, then the non-expert's. A region that was not found (its box
  is then the whole film) counts as a miss in every share, and is left out of
  the distance and the IoU.

  Args:
    regions: film id -> {region: (box, score, found)}.
    annotations: films of `annotations.load`: film id -> a dict with `boxes`,
      a list of (rater, label, box), and optionally `hw`, the film's height and
      width in any unit; without it the film is taken as square.

  Returns:
    region -> n (annotated films), found (share), and where such boxes exist:
    centre_in_wrist, centre_near_wrist (inside, or within NEAR long sides of the
    wrist box's centre), centre_distance (long sides), iou_wrist, and
    covers_dip, covers_pip, covers_mcp (mean share of box centres inside).
  """
  rows: dict[str, dict[str, list]] = {}
  for film_id in sorted(set(regions) & set(annotations)):
    targets = boxes_lib.annotated_boxes(annotations[film_id])
    if not targets:
      continue
    height, width = annotations[film_id].get('hw', (1, 1))
    sides = np.array([width, height]) / max(width, height)
    for name, region in regions[film_id].items():
      row = rows.setdefault(name, collections.defaultdict(list))
      box, found = np.asarray(region[0], np.float64), bool(region[2])
      row['found'].append(found)
      if 'Wrist' in targets:
        wrist = targets['Wrist'][0]
        away = float(np.linalg.norm((_centre(box) - _centre(wrist)) * sides))
        inside = found and bool(_inside(_centre(box), wrist))
        row['centre_in_wrist'].append(inside)
        row['centre_near_wrist'].append(inside or (found and away <= NEAR))
        if found:
          row['centre_distance'].append(away)
          row['iou_wrist'].append(boxes_lib.iou(box, wrist))
      for label in ('DIP', 'PIP', 'MCP'):
        if label in targets:
          covered = np.mean(_inside(_centre(targets[label]), box))
          row[f'covers_{label.lower()}'].append(covered if found else 0)
  return {
    name: {'n': len(row['found'])}
    | {key: float(np.mean(values)) for key, values in row.items()}
    for name, row in rows.items()
  }
