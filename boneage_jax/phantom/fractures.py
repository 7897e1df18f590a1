"""Broken bones: a lucent or stepped line through one long bone of a hand."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

FINGERS = (2, 3, 4, 5)
BONES = {
  'phalanx': ('pp1', *(f'{kind}{i}' for kind in ('pp', 'mp') for i in FINGERS)),
  'metacarpal': tuple(f'mc{digit}' for digit in (1, *FINGERS)),
  'radius': ('radius',),
}
FINDINGS = ('none', *BONES)
RADIUS = (14.0, 26.0)  # mm from the joint: a distal fracture
SHAFT = (0.30, 0.75)  # of the other bones, share of the length
REACH = 3.0  # mm either side of the line that a reader paints


@dataclasses.dataclass(frozen=True)
class Fracture:
  """One break, in the axes of its bone (mm; see skeleton.Bone).

  finding: one of BONES. centre: the bone. at: u where the line crosses the
  axis. slope: u per v. jag, phase: height and place of its teeth. gap: half
  width. loss: share of the bone that is gone in it. step: how far the part
  beyond it has moved aside.
  """

  finding: str
  centre: str
  at: float
  slope: float
  jag: float
  phase: float
  gap: float
  loss: float
  step: float

  def line(self, v: np.ndarray) -> np.ndarray:
    """Return u of the line at v."""
    return self.at + self.slope * v + self.jag * np.sin(1.9 * v + self.phase)

  def displace(
    self, u: np.ndarray, v: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Return v of the bone before it broke, and what share of it is left."""
    beyond = u - self.line(v).astype(np.float32)
    moved = v + np.float32(self.step) * (beyond > 0)
    return moved, 1 - np.float32(self.loss) * np.exp(
      -((beyond / self.gap) ** 2)
    )


def sample(
  rng: np.random.Generator, bones: Sequence[Any], share: float
) -> Fracture | None:
  """Draw a fracture of one of `bones`, or with 1 - `share` none.

  Every finding is as likely as the others, and within it every bone.
  """
  broken = rng.random() < share
  finding = FINDINGS[1 + rng.integers(len(BONES))]
  centre = BONES[finding][rng.integers(len(BONES[finding]))]
  bone = next(b for b in bones if b.centre == centre)
  at = rng.uniform(*RADIUS)
  if finding != 'radius':
    at = rng.uniform(*SHAFT) * bone.length
  step = rng.uniform(1.0, 3.5) * rng.choice([-1, 1])
  fracture = Fracture(
    finding,
    centre,
    at,
    slope=np.tan(np.deg2rad(rng.uniform(-35, 35))),
    jag=rng.uniform(0.1, 0.5),
    phase=rng.uniform(0, 2 * np.pi),
    gap=rng.uniform(0.6, 1.6),
    loss=rng.uniform(0.6, 0.95),
    step=step if rng.random() < 0.7 else 0.0,
  )
  return fracture if broken else None


def annotate(
  fracture: Fracture,
  bone: Any,
  half: float,
  fractions: Callable[[np.ndarray], np.ndarray],
) -> dict[str, list]:
  """Mark a fracture as a reader does, three ways.

  Args:
    fracture: of `bone`.
    bone: a skeleton.Bone.
    half: half width of the bone at the fracture, mm.
    fractions: takes points [..., 2] in mm to fractions of the film.

  Returns:
    `strokes`, the line itself; `polygons`, the broken piece of bone; `boxes`,
    a box about that; as annotations.load gives them.
  """
  along = np.asarray(bone.direction)
  across = np.array([-along[1], along[0]])

  def points(v, offset):
    u = (fracture.line(v) + offset)[:, None]
    place = fractions(bone.origin + u * along + v[:, None] * across)
    return np.clip(place, 0, 1)

  v = np.linspace(-half, half, 9)
  ring = np.concatenate([points(v, -REACH), points(v[::-1], REACH)])
  box = [*ring.min(0), *ring.max(0)]
  exact = lambda values: np.round(values, 5).tolist()
  return {
    'polygons': [{'exterior': exact(ring), 'interior': []}],
    'boxes': [exact(box)],
    'strokes': [exact(points(v, 0.0))],
  }
