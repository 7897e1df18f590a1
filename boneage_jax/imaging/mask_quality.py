"""Which masks of a net can be trained on: what they measure, and the limits.

Positive mining (Iglovikov 2017, "positive mining") keeps the good masks of a
net and trains on them; people did the choosing there. The measures and limits
here are ours.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import cv2
import numpy as np

UNDECIDED = (0.1, 0.9)  # probabilities between these
SOFT = 'undecided outline'  # why a mask is refused that may be right


@dataclasses.dataclass(frozen=True)
class Measures:
  """What a film's mask measures, the mean of two maps of a net.

  Attributes:
    area: of the mask, share of the film.
    component: share of the area that the largest component holds.
    mirror_iou: intersection over union of the two maps, of the film and of
      its mirror image.
    undecided: mean width, in pixels of the net, of the band along the outline
      in which the net is undecided. Not a share of the film or of the mask,
      which would refuse small hands: the band of one pixel about a hand is 13 %
      of it at 112 px.
  """

  area: float
  component: float
  mirror_iou: float
  undecided: float


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a mask must keep to be trained on; see `reason`."""

  area: tuple[float, float]
  component: float
  mirror_iou: float
  undecided: float


def measure(probability: np.ndarray, mirrored: np.ndarray) -> Measures:
  """Measure a film's mask, the mean of two maps.

  Args:
    probability: [H, W] of the film.
    mirrored: [H, W] of its mirror image, mirrored back.
  """
  mean = (probability + mirrored) / 2
  mask = (mean > 0.5).astype(np.uint8)
  area = int(mask.sum())
  if not area:
    return Measures(0.0, 0.0, 0.0, np.inf)
  stats = cv2.connectedComponentsWithStats(mask)[2]
  one, other = probability > 0.5, mirrored > 0.5
  both, either = np.sum(one & other), np.sum(one | other)
  contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
  # Each outline pixel counts once, also of hands of one pixel.
  outline = sum(max(cv2.arcLength(line, True), 1.0) for line in contours)
  low, high = UNDECIDED
  undecided = np.sum((mean > low) & (mean < high))
  return Measures(
    area=area / mask.size,
    component=float(stats[1:, cv2.CC_STAT_AREA].max() / area),
    mirror_iou=float(both / max(either, 1)),
    undecided=float(undecided / outline),
  )


def mean(found: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
  """Return the mean of a film's map and of its mirror image's, uint8 [H, W].

  Args:
    found, mirrored: uint8 [H, W], 255 times the probability.
  """
  return np.rint(found / 2.0 + mirrored / 2.0).astype(np.uint8)


def limits(
  areas: Sequence[float],
  judged: Sequence[Measures],
  *,
  area_factors: tuple[float, float] = (0.8, 1.25),
  component: float = 0.97,
  mirror_iou: float = 0.9,
  percentile: float = 95.0,
) -> Limits:
  """Return the limits that labelled films set.

  Args:
    areas: of the masks that people drew, shares of their films.
    judged: measures of labelled films that the net was not trained on.
    area_factors: of the least and of the largest of `areas`.
    component, mirror_iou: see `Measures`; the least.
    percentile: of `undecided` of `judged`, that is still accepted.

  Raises:
    ValueError: see `check_labelled`.
  """
  check_labelled(len(areas), len(judged))
  low, high = area_factors
  widths = [one.undecided for one in judged]
  return Limits(
    area=(low * min(areas), high * max(areas)),
    component=component,
    mirror_iou=mirror_iou,
    undecided=float(np.percentile(widths, percentile)),
  )


def check_labelled(train: int, validation: int) -> None:
  """Check the numbers of films that people outlined.

  Raises:
    ValueError: none to train on, or none for validation.
  """
  if not train or not validation:
    raise ValueError(
      'Expected outlined films to train on and outlined validation films, got '
      f'{train} and {validation}: outline 50 films or more in '
      'annotations/hand_polygons.json, see docs/reference/data.md, or raise '
      '--config.data.validation_fraction.'
    )


def reason(one: Measures, kept: Limits) -> str:
  """Say why a mask is refused; '' for one that is accepted."""
  checks: Mapping[str, bool] = {
    'no hand found': one.area == 0,
    'several parts': one.component < kept.component,
    'too small': one.area < kept.area[0],
    'too large': one.area > kept.area[1],
    'another mask when mirrored': one.mirror_iou < kept.mirror_iou,
    SOFT: one.undecided > kept.undecided,
  }
  return next((name for name, fails in checks.items() if fails), '')


def usable(reason: str) -> bool:
  """Whether a mask shows its hand, though it may be too soft to train on.

  Args:
    reason: why the mask is refused, see `reason`; '' of others.
  """
  return reason in ('', SOFT)
