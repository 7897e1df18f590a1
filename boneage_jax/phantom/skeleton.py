"""Pose of one hand and the bones it projects."""

import dataclasses

import numpy as np

from boneage_jax.phantom import anatomy
from boneage_jax.phantom import fractures
from boneage_jax.phantom import shapes

# curvature of the plate, slope and curvature of the joint surface, 1/mm
BEND = {'mc': 0.035, 'radius': 0.003, 'ulna': 0.006}
LEAN = {'radius': 0.20, 'ulna': -0.20}
DOME = {'mc': 0.075, 'radius': 0.004}


@dataclasses.dataclass
class Bone:
  """A long bone: `origin` is its joint end with the growth plate, mm."""

  centre: str
  kind: str
  origin: np.ndarray
  direction: np.ndarray
  length: float
  widths: tuple  # half widths at metaphysis, waist, far end; epiphysis height
  bump: float = 0.0  # depth of the saddle at the far end
  cortex: float = 0.3  # of the shaft, share of its half width
  fracture: fractures.Fracture | None = None


@dataclasses.dataclass
class Hand:
  """Pose in mm: bones, joints per digit (5 points each), carpals."""

  bones: list
  joints: dict
  carpals: dict
  forearm: np.ndarray
  girth: float


def unit(degrees: float) -> np.ndarray:
  """Return the direction that lies `degrees` to the thumb from straight."""
  turn = np.deg2rad(degrees)
  return np.array([np.sin(turn), np.cos(turn)])


def pose(rng: np.random.Generator) -> Hand:
  """Draw a left hand, independent of age and sex."""
  girth = float(np.exp(rng.normal(0, 0.06)))
  spread = rng.uniform(0.75, 1.6)
  lean = rng.normal(0, 2.5)
  cortex = rng.uniform(0.26, 0.42)
  bones, joints = [], {}
  for digit, (x, y, splay, finger) in anatomy.METACARPALS.items():
    start = np.array([x, y]) + rng.normal(0, 0.6, 2)
    angle = splay + rng.normal(0, 1.5 if digit > 1 else 7)
    lengths = [v * np.exp(rng.normal(0, 0.025)) for v in anatomy.LENGTHS[digit]]
    path = [start]
    heading = finger * (spread if digit > 1 else 1) + lean
    if digit == 1:
      heading = angle - 12 + rng.normal(0, 6)
    for kind, length in zip(('mc', 'pp', 'mp', 'dp'), lengths, strict=True):
      if not length:
        continue
      along = unit(angle if kind == 'mc' else heading)
      end = path[-1] + along * length
      size = anatomy.WIDTHS['mc1' if (kind, digit) == ('mc', 1) else kind]
      factor = anatomy.GIRTH[digit] * girth * np.exp(rng.normal(0, 0.02))
      if (kind, digit) == ('mc', 1):
        factor /= anatomy.GIRTH[1]
      size = (*(factor * w for w in size[:3]), size[3])
      if kind == 'mc' and digit > 1:
        bone = Bone(f'mc{digit}', kind, end, -along, length, size)
      else:
        bone = Bone(f'{kind}{digit}', kind, path[-1], along, length, size)
      bone.bump = 0.5 if kind in ('pp', 'mp') else 0.0
      bone.cortex = cortex
      bones.append(bone)
      path.append(end + along * 1.6)
      heading += rng.normal(0, 1.8) - (1.0 if digit == 2 else 0)
    joints[digit] = np.array(path)
  deviation = rng.normal(0, 5)
  down = -unit(deviation)
  for name, x, y in (('radius', 10.0, -26.5), ('ulna', -17.0, -30.0)):
    size = anatomy.WIDTHS[name]
    size = (*(girth * w for w in size[:3]), size[3])
    origin = np.array([x, y]) + rng.normal(0, [0.5, 1.0])
    toward = down + np.array([-0.02 if name == 'radius' else 0.03, 0])
    bones.append(
      Bone(name, name, origin, toward / np.hypot(*toward), 320, size)
    )
  carpals = {}
  for name, outline in anatomy.OUTLINES.items():
    centre, radius = shapes.polar(outline)
    centre = np.array(centre) + rng.normal(0, 0.5, 2)
    if name == 'sesamoid':
      centre = joints[1][1] + unit(45 - 90) * 7.0 - unit(45) * 2.0
    knots = np.arange(0, 90, 15)
    bumps = np.interp(
      np.arange(90), knots, rng.normal(0, 0.025, len(knots)), period=90
    )
    if name in ('triquetrum', 'lunate', 'scaphoid', 'pisiform'):
      centre += (0.0, 1.2)
    carpals[name] = (centre, radius * (1 + bumps))
  return Hand(bones, joints, carpals, down, girth)


def draw(canvas: shapes.Canvas, hand: Hand, stages: dict) -> None:
  """Project every bone of a hand at the given stages."""
  for name, (centre, radius) in hand.carpals.items():
    if stages[name].visible:
      # the pisiform lies on the triquetrum and is thin
      solid = 0.55 if name == 'pisiform' else 0.9
      _carpal(canvas, centre, radius, stages[name].growth, solid)
  for bone in hand.bones:
    _long_bone(canvas, bone, stages[bone.centre])


def _carpal(canvas, centre, radius, growth, solid):
  size = 0.2 + 0.9 * growth**0.5
  mean = np.sqrt(np.mean(radius**2))
  shape = growth**0.7
  radius = size * (shape * radius + (1 - shape) * 0.92 * mean)
  reach = radius.max() + 1
  window, u, v = canvas.local(
    centre, np.array([0.0, 1.0]), (-reach, reach), (-reach, reach)
  )
  if window is None:
    return
  # v points to -x of the hand
  angle = np.arctan2(u, -v) * np.float32(90 / (2 * np.pi)) + 45
  index = angle.astype(np.int32) % 90
  part = angle - np.floor(angle)
  table = radius.astype(np.float32)
  edge = table[index] * (1 - part) + table[(index + 1) % 90] * part
  d = edge - np.hypot(u, v)
  canvas.add(
    (window, u, v), d, depth=min(6.5, mean * size), cortex=0.7, density=solid
  )


def half_width(bone: Bone, u: np.ndarray, start: float) -> np.ndarray:
  """Return the half width at u, from the metaphysis at `start` to the end."""
  wide, waist, far, _ = bone.widths
  if bone.kind in ('radius', 'ulna'):
    t = np.clip((u - start) / 40.0, 0, 1)
    return far + (wide - far) * (1 - t) ** 2.0
  t = np.clip((u - start) / (bone.length - start), 0, 1)
  near = np.maximum(1 - t / 0.55, 0) ** 2
  away = np.maximum((t - 0.45) / 0.47, 0)
  # condyles: widest a little before the end
  away = np.minimum(away, 1) ** 2 - 2.0 * np.maximum(t - 0.93, 0)
  return waist + (wide - waist) * near + (far - waist) * away


def _long_bone(canvas, bone, stage):
  wide, waist, far, height = bone.widths
  gap = (0.19 - 0.07 * stage.growth - 0.04 * stage.cap) * min(wide, 9.0)
  gap *= 1 - 0.55 * stage.fusion
  start = height + gap
  reach = max(wide, far) * 1.15 + 1
  window, u, v = canvas.local(
    bone.origin, bone.direction, (-4, bone.length + 2), (-reach, reach)
  )
  if window is None:
    return
  left = 1.0
  if bone.fracture is not None:
    v, left = bone.fracture.displace(u, v)
  bend = BEND.get(bone.kind, 0.008) * (1 - 0.6 * stage.growth)
  plate = bend * v * v
  half = half_width(bone, u, start)
  side = half - np.abs(v)
  near = u - start - plate
  # a saddle between the condyles, a dome elsewhere
  away = bone.length - u - bone.bump * np.cos(v * (np.pi / far))
  away -= (0.03 if bone.kind != 'dp' else 0.12) * v * v
  corner = (2.6 - 1.4 * stage.growth) * (0.7 + 0.04 * wide)
  d = shapes.meet(shapes.meet(side, near, corner), away, 0.45 * far)
  flare = np.clip((half - waist) / max(wide - waist, 0.1), 0, 1)
  shaft = (1 - flare) ** 2
  cortex = 0.4 + bone.cortex * waist * shaft
  canvas.add(
    (window, u, v),
    d,
    depth=np.maximum(half * 0.8, 2.0),
    cortex=cortex,
    density=left,
    lattice=0.35 + 0.75 * np.sqrt(flare),
  )
  if stage.visible:
    _epiphysis(canvas, bone, stage, axes=(window, u, v), plate=plate, gap=gap)


def _epiphysis(canvas, bone, stage, *, axes, plate, gap):
  wide, _, _, height = bone.widths
  window, u, v = axes
  grown = stage.growth**0.75
  half = wide * (0.16 + 0.84 * grown + 0.05 * stage.cap)
  tall = height * (0.26 + 0.64 * stage.growth**0.65 + 0.10 * stage.cap)
  tall = min(tall, max(2.2 * half, 1.0))
  centre = 0.5 * height
  shape = grown**1.5
  lean, dome = LEAN.get(bone.kind, 0.0), DOME.get(bone.kind, 0.022)
  top = centre - tall / 2 + (dome * v - lean) * v * shape
  rim = stage.cap * 1.2 * np.clip(np.abs(v) / wide, 0, 1.1) ** 6
  bottom = height - (height - tall) * (1 - shape) / 2 + plate * shape + rim
  d = shapes.meet(u - top, bottom - u, 0.2 * tall)
  radius = min(half, tall / 2) * (1 - 0.15 * shape)
  d = shapes.meet(d, half - np.abs(v), max(radius, 0.5))
  depth = max(min(0.75 * wide, 1.2 * half), 1.0)
  canvas.add(axes, d, depth=depth, cortex=0.55)
  if stage.fusion <= 0:
    return
  # Bone crosses the plate from the middle outward; a dense line remains.
  across = np.clip((1.35 * stage.fusion - np.abs(v) / wide) * 5, 0, 1)
  line = u - (height + gap / 2) - plate - rim / 2
  fill = shapes.meet(gap / 2 + 0.7 - np.abs(line), wide - np.abs(v), 0.6)
  solid = np.clip(fill / 0.6, 0, 1) * across
  canvas.bone[window] += solid * (1.6 * wide * shapes.TRABECULAR) * 0.75
  mark = stage.scar if stage.fusion >= 1 else stage.fusion * 0.8
  seam = np.exp(-((line / 0.55) ** 2)) * np.clip(wide - np.abs(v), 0, 1)
  canvas.bone[window] += seam * across * (0.22 * mark)
