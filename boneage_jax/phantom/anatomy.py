"""Ossification schedule and adult dimensions of the left hand.

Ages are months, lengths millimetres of an adult hand. The origin is the
middle of the capitate, x points to the thumb and y to the finger tips.

Sources. Appearance: 50th percentiles of Garn, Rohmann and Silverman, Medical
Radiography and Photography 43 (1967) 45-66. Pisiform, sesamoid, width of the
epiphyses, capping and fusion: text of Greulich and Pyle, Radiographic Atlas of
Skeletal Development of the Hand and Wrist (1959), and the stages of Gilsanz
and Ratib, Hand Bone Age (2005). Lengths: Garn, Hertzog, Poznanski and Nagy,
Radiology 105 (1972) 375-381, rounded.
"""

from collections.abc import Mapping
import dataclasses

import numpy as np

OLDEST = 228  # months: the last plate of the RSNA labels
SPREAD = 0.06  # sd of one centre around the bone age, fraction of the age
# The distal ulna is the least dependable of the larger centres: 5th and 95th
# percentiles of its appearance in boys are 63 and 109 months (Garn 1967).
SPREAD_OF = {'ulna': 0.17}

# centre: ((appears, adult shape) of boys, of girls)
CARPALS: Mapping[str, tuple] = {
  'capitate': ((3, 168), (2, 144)),
  'hamate': ((4, 172), (2, 148)),
  'triquetrum': ((30, 174), (21, 150)),
  'lunate': ((49, 174), (32, 150)),
  'scaphoid': ((68, 178), (49, 154)),
  'trapezium': ((71, 178), (49, 154)),
  'trapezoid': ((75, 176), (50, 152)),
  'pisiform': ((132, 186), (108, 162)),
  'sesamoid': ((153, 192), (129, 168)),
}

# centre: ((appears, as wide as the metaphysis, fusion starts, fused) of boys,
# of girls)
EPIPHYSES: Mapping[str, tuple] = {
  'radius': ((13, 146, 194, 222), (10, 122, 176, 208)),
  'ulna': ((85, 166, 190, 214), (64, 140, 172, 199)),
  'mc1': ((31, 140, 178, 195), (19, 116, 154, 168)),
  'mc2': ((19, 132, 184, 204), (12, 108, 160, 180)),
  'mc3': ((21, 132, 184, 204), (13, 108, 160, 180)),
  'mc4': ((24, 134, 184, 203), (15, 110, 160, 179)),
  'mc5': ((26, 136, 184, 202), (16, 112, 160, 178)),
  'pp1': ((36, 140, 179, 197), (21, 116, 155, 172)),
  'pp2': ((17, 136, 180, 198), (11, 112, 156, 173)),
  'pp3': ((16, 136, 180, 198), (10, 112, 156, 173)),
  'pp4': ((18, 136, 180, 198), (11, 112, 156, 173)),
  'pp5': ((22, 138, 180, 197), (14, 114, 156, 172)),
  'mp2': ((26, 140, 182, 201), (16, 116, 158, 176)),
  'mp3': ((24, 140, 182, 201), (15, 116, 158, 176)),
  'mp4': ((25, 140, 182, 201), (15, 116, 158, 176)),
  'mp5': ((41, 144, 182, 200), (22, 120, 158, 175)),
  'dp1': ((19, 128, 172, 187), (12, 104, 147, 160)),
  'dp2': ((38, 132, 173, 189), (22, 108, 149, 162)),
  'dp3': ((29, 130, 173, 189), (18, 106, 149, 162)),
  'dp4': ((29, 130, 173, 189), (18, 106, 149, 162)),
  'dp5': ((40, 134, 173, 189), (23, 110, 149, 162)),
}


@dataclasses.dataclass(frozen=True)
class Stage:
  """State of one ossification centre; every field runs from 0 to 1.

  growth: 0 cartilage only, 1 adult shape (carpal) or as wide as the
    metaphysis (epiphysis). cap: the epiphysis caps the metaphysis.
  fusion: bone across the physis. scar: what is left of the fused line.
  """

  visible: bool
  growth: float
  cap: float = 0.0
  fusion: float = 0.0
  scar: float = 0.0


def _ramp(age: float, start: float, end: float) -> float:
  return min(max((age - start) / (end - start), 0.0), 1.0)


def stage(centre: str, age: float, male: bool) -> Stage:
  """Return the state of a centre at a bone age in months."""
  if centre in CARPALS:
    appears, adult = CARPALS[centre][0 if male else 1]
    return Stage(age >= appears, _ramp(age, appears, adult))
  if centre not in EPIPHYSES:
    raise ValueError(
      f'Expected one of {sorted([*CARPALS, *EPIPHYSES])}, got {centre!r}: '
      'name a centre of the schedule'
    )
  appears, wide, start, end = EPIPHYSES[centre][0 if male else 1]
  return Stage(
    age >= appears,
    _ramp(age, appears, wide),
    _ramp(age, wide, start),
    _ramp(age, start, end),
    1.0 - _ramp(age, end, end + 60) if age >= end else 0.0,
  )


def hand_stages(
  age: float, male: bool, rng: np.random.Generator | None = None
) -> dict[str, Stage]:
  """Return the state of every centre, each with its own deviation.

  The deviations are independent: the bone age is their mean, so there is no
  common shift to hide it. Without `rng` the medians are returned.
  """
  stages = {}
  for centre in (*CARPALS, *EPIPHYSES):
    shift = 0.0
    if rng is not None:
      spread = SPREAD_OF.get(centre, SPREAD)
      shift = rng.normal() * max(1.0, spread * age)
    stages[centre] = stage(centre, age + shift, male)
  return stages


def carpal_count(age: float, male: bool) -> int:
  """Count the carpals (pisiform included) that the median hand shows."""
  return sum(
    stage(name, age, male).visible for name in CARPALS if name != 'sesamoid'
  )


# Mixture of two normals (share, mean, sd) cut to 1..228 months; mean and sd
# are those of the RSNA training split: boys 135.3 and 42.1, girls 117.9 and
# 37.9 (Halabi et al., Radiology 290 (2019) 498-503).
AGES = {
  True: ((0.84, 148.8, 31.8), (0.16, 69.0, 32.5)),
  False: ((0.84, 127.2, 30.6), (0.16, 64.5, 33.0)),
}
BOYS = 6833 / 12611


def sample_label(rng: np.random.Generator) -> tuple[int, bool]:
  """Draw (age in whole months, male) as in the RSNA training split."""
  male = bool(rng.random() < BOYS)
  while True:
    first, second = AGES[male]
    _, mean, sd = first if rng.random() < first[0] else second
    age = round(rng.normal(mean, sd))
    if 1 <= age <= OLDEST:
      return age, male


# digit: lengths of metacarpal, proximal, middle, distal phalanx
LENGTHS = {
  1: (45.0, 31.0, 0.0, 22.0),
  2: (66.0, 40.0, 24.0, 17.5),
  3: (64.0, 44.0, 28.5, 18.5),
  4: (57.0, 41.0, 27.0, 18.5),
  5: (53.0, 32.5, 19.5, 16.5),
}
# base of the metacarpal (x, y), its direction and that of the finger, degrees
# from the long axis of the hand, positive to the thumb
METACARPALS = {
  1: (27.0, 10.0, 45.0, 33.0),
  2: (13.5, 14.0, 11.0, 8.0),
  3: (1.5, 13.5, 1.0, -0.5),
  4: (-9.0, 12.0, -9.0, -8.5),
  5: (-18.0, 8.0, -18.0, -21.0),
}
# half widths: at the epiphysis, at the waist, at the other end; height of
# the epiphysis
WIDTHS = {
  'mc': (7.5, 4.0, 6.5, 10.0),
  'mc1': (7.8, 5.2, 7.2, 6.0),
  'pp': (7.6, 4.6, 5.8, 5.0),
  'mp': (6.7, 3.9, 5.0, 4.4),
  'dp': (5.6, 2.6, 3.8, 3.8),
  'radius': (14.5, 7.2, 7.2, 8.0),
  'ulna': (8.2, 5.6, 5.6, 6.0),
}
# size of a digit's bones across, against the third
GIRTH = {1: 1.12, 2: 1.0, 3: 1.0, 4: 0.93, 5: 0.83}

# adult outlines of the carpals in the postero-anterior view
OUTLINES: Mapping[str, tuple] = {
  'capitate': (
    (-6, 11),
    (6, 12),
    (8, 5),
    (6, -2),
    (7, -7),
    (4, -12),
    (-2, -13),
    (-6, -9),
    (-6, 0),
    (-8, 6),
  ),
  'hamate': (
    (-8, 10),
    (-20, 6),
    (-22, 2),
    (-17, -4),
    (-9, -11),
    (-7, -8),
    (-7, 0),
    (-9, 6),
  ),
  'triquetrum': (
    (-22, -1),
    (-17, -5),
    (-12, -11),
    (-13, -17),
    (-18, -18),
    (-23, -13),
    (-25, -7),
  ),
  'lunate': (
    (-11, -13),
    (-4, -14),
    (3, -14),
    (5, -18),
    (3, -23),
    (-4, -25),
    (-11, -22),
    (-13, -17),
  ),
  'scaphoid': (
    (7, -15),
    (8, -8),
    (13, -3),
    (19, -3),
    (20, -8),
    (17, -15),
    (12, -22),
    (6, -22),
    (5, -18),
  ),
  'trapezoid': (
    (8, 11),
    (8, 4),
    (9, -1),
    (14, -1),
    (17, 5),
    (16, 11),
    (12, 12),
  ),
  'trapezium': (
    (15, -1),
    (20, -3),
    (27, -1),
    (30, 5),
    (27, 9),
    (20, 12),
    (17, 7),
  ),
  'pisiform': (
    (-25, -10),
    (-23, -5),
    (-19, -4),
    (-16, -8),
    (-16, -13),
    (-19, -16),
    (-23, -15),
  ),
  'sesamoid': ((-2.6, 0), (-1.6, 2.6), (1, 3), (2.6, 1), (2.2, -2), (0, -3)),
}
