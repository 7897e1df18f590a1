"""From attenuation to an 8-bit film: beam, scatter, noise, markers, frame."""

import cv2
import numpy as np

LEAD = 2.4  # attenuation of a lead letter


def expose(
  bone: np.ndarray,
  soft: np.ndarray,
  mask: np.ndarray,
  *,
  hand_box: np.ndarray,
  scale: float,
  rng: np.random.Generator,
) -> np.ndarray:
  """Expose and develop a film.

  Args:
    bone, soft: attenuation float32 [H, W].
    mask: where the hand lies, bool [H, W].
    hand_box: fractions x0, y0, x1, y1; no border may cross it.
    scale: pixels per mm.
    rng: draws everything that depends on the film, never on the age.

  Returns:
    uint8 [H, W], bright where the beam was stopped.
  """
  height, width = soft.shape
  path = soft + np.float32(rng.uniform(0.75, 1.12)) * bone
  path = cv2.GaussianBlur(path, (0, 0), max(0.13 * scale, 0.55))
  _marker(path, mask, rng)
  beam, shutter = _collimate(path.shape, hand_box, rng)
  signal = np.exp(-path) * beam
  small = cv2.resize(signal, (64, 64), interpolation=cv2.INTER_AREA)
  small = cv2.GaussianBlur(small, (0, 0), 4)
  share = np.float32(rng.uniform(0.04, 0.18))
  signal *= 1 - share
  signal += share * cv2.resize(small, (width, height))
  grain = rng.standard_normal((height, width), np.float32)
  dose = np.float32(10 ** rng.uniform(3.2, 4.6))
  signal += grain * np.sqrt(signal / dose)
  cv2.log(np.maximum(signal, np.float32(1e-3)), signal)
  white = np.exp(rng.normal(0.22, 0.17))
  gamma = np.float32(np.exp(rng.normal(0.0, 0.16)))
  low, high = _range(rng)
  film = np.maximum((np.float32(0.03) - signal) / np.float32(white), 0)
  # a shoulder keeps the detail of thick bone on overexposed films
  square = film * film
  film /= np.sqrt(np.sqrt(1 + square * square))
  film = low + (high - low) * cv2.pow(film, float(gamma)) + 0.5
  film = np.uint8(np.clip(film, 0, 255))
  if shutter is not None:
    film[~shutter] = 0
  return film


def _range(rng):
  """Return the grey of the bare beam and of what stops it all."""
  kind = rng.random()
  if kind < 0.82:
    return rng.uniform(0, 24), rng.uniform(215, 255)
  if kind < 0.93:
    low = rng.uniform(35, 130)
    return low, low + rng.uniform(50, 105)
  return rng.uniform(0, 12), rng.uniform(60, 140)


def _quad(hw, box, turn, soft):
  """Return 1 inside a turned rectangle, 0 outside, with a soft edge."""
  height, width = hw
  x0, y0, x1, y1 = box * [width, height, width, height]
  corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
  middle = corners.mean(0)
  c, s = np.cos(turn), np.sin(turn)
  corners = (corners - middle) @ np.array([[c, s], [-s, c]]) + middle
  field = np.zeros(hw, np.float32)
  points = np.round(corners * 16).astype(np.int32)
  cv2.fillConvexPoly(field, points, 1.0, cv2.LINE_8, 4)
  return cv2.GaussianBlur(field, (0, 0), soft) if soft > 0.4 else field


def _collimate(hw, hand_box, rng):
  """Return (beam field [H, W], shutter mask or None)."""
  height, width = hw
  # heel effect: the beam weakens across the film
  tilt = rng.normal(0, 0.035, 2)
  x = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(tilt[0])
  y = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(tilt[1])
  beam = 1 + x + y[:, None]
  if rng.random() < 0.35:
    return beam, None
  reach = np.where(rng.random(4) < 0.55, -0.05, rng.uniform(0.005, 0.10, 4))
  turn = np.deg2rad(rng.normal(0, 1.2))
  # a turned edge moves by half the film times its sine
  slack = 0.5 * abs(np.sin(turn)) * max(height / width, 1.0) + 0.01
  box = np.concatenate(
    [
      np.minimum(reach[:2], hand_box[:2] - slack),
      np.maximum(1 - reach[2:], hand_box[2:] + slack),
    ]
  )
  edge = rng.uniform(0.3, 4.0) * height / 1000
  leak = np.float32(rng.uniform(0.05, 0.5))
  beam = beam * (leak + (1 - leak) * _quad(hw, box, turn, edge))
  if rng.random() > 0.7:
    return beam, None
  pad = rng.uniform(0.0, 0.02, 4) * [-1, -1, 1, 1]
  turn += np.deg2rad(rng.normal(0, 0.3))
  return beam, _quad(hw, box + pad, turn, 0) > 0.5


def _marker(path, mask, rng):
  """Lay a side marker with lead letters on a free place, in place."""
  if rng.random() < 0.06:
    return
  height, width = path.shape
  unit = rng.uniform(0.9, 1.5) * 1e-3 * height  # one size, not the hand's
  plate = _plate(unit, rng)
  h, w = plate.shape
  degrees = rng.normal(0, 6) if rng.random() < 0.5 else rng.uniform(-60, 60)
  side = int(np.ceil(np.hypot(h, w))) + 2
  turn = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1.0)
  turn[:, 2] += (side - w) / 2, (side - h) / 2
  plate = cv2.warpAffine(plate, turn, (side, side))
  if side >= min(height, width):
    return
  # the freest of some places; integral image: sums in four look-ups
  total = cv2.integral(mask.astype(np.uint8))
  xs = rng.integers(0, width - side, 24)
  ys = rng.integers(0, int(0.9 * (height - side)) + 1, 24)
  covered = (
    total[ys + side, xs + side]
    - total[ys, xs + side]
    - total[ys + side, xs]
    + total[ys, xs]
  )
  best = int(np.argmin(covered))
  if covered[best] > 0.05 * side * side:
    return
  place = np.s_[ys[best] : ys[best] + side, xs[best] : xs[best] + side]
  path[place] += plate


def _plate(unit, rng):
  """Return the attenuation of a marker: plate, an L, initials, a bead."""
  zoom = max(unit, 0.25)
  px = lambda v: max(round(v * zoom), 1)
  wide, tall = rng.uniform(60, 90), rng.uniform(110, 190)
  plate = np.zeros((px(tall), px(wide)), np.float32)
  base = rng.choice([0.0, rng.uniform(0.04, 0.22)], p=[0.25, 0.75])
  plate[:] = base
  if base:
    rim = px(4)
    plate[:, :rim] *= 1.5
    plate[:, -rim:] *= 1.5
  lead = np.zeros(plate.shape, np.uint8)
  font = cv2.FONT_HERSHEY_SIMPLEX

  def write(text, y, size, weight):
    (w, _), _ = cv2.getTextSize(text, font, size * zoom, px(weight))
    x = max((plate.shape[1] - w) // 2, 0)
    cv2.putText(
      lead, text, (x, px(y)), font, size * zoom, 255, px(weight), cv2.LINE_AA
    )

  write('L', 62, 1.9, rng.uniform(6, 13))
  if rng.random() < 0.75:
    letters = 'ABCDEFGHJKLMNPRSTW'
    count = int(rng.integers(2, 4))
    text = ''.join(letters[i] for i in rng.integers(0, len(letters), count))
    write(text, 98, 0.95, rng.uniform(4, 7))
  if rng.random() < 0.25 and tall > 150:
    spot = (plate.shape[1] // 2, px(132))
    cv2.circle(lead, spot, px(16), 170, -1, cv2.LINE_AA)
    cv2.circle(lead, spot, px(20), 255, px(4), cv2.LINE_AA)
  plate += lead.astype(np.float32) * np.float32(LEAD / 255)
  return cv2.GaussianBlur(plate, (0, 0), max(0.8 * zoom, 0.4))
