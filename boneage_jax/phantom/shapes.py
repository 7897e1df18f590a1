"""Projected bones: distance fields in the bone's own axes, then chords.

A bone is given by the distance `d` (mm) of every pixel to its projected edge,
positive inside. Its depth follows from d as if the edge were round, its
cortex is the shell of depth `cortex`, the rest is trabecular.
"""

import functools

import cv2
import numpy as np

# Attenuation that replaces soft tissue, per mm, about 55 kVp.
CORTICAL = 0.070
TRABECULAR = 0.021


class Frame:
  """Millimetres of the hand to pixels of the film."""

  def __init__(self, scale: float, degrees: float, origin: tuple):
    turn = np.deg2rad(degrees)
    c, s = np.cos(turn), np.sin(turn)
    # y of the hand points up, y of the film points down
    self.matrix = scale * np.array([[c, s], [s, -c]])
    self.origin = np.array(origin, np.float64)
    self.scale = scale

  def points(self, mm: np.ndarray) -> np.ndarray:
    """Map points [..., 2] from mm to pixels."""
    return np.asarray(mm, np.float64) @ self.matrix.T + self.origin


class Canvas:
  """Attenuation of the bones [H, W], filled shape by shape."""

  def __init__(
    self, hw: tuple[int, int], frame: Frame, rng: np.random.Generator
  ):
    self.bone = np.zeros(hw, np.float32)
    self.frame = frame
    self.rng = rng

  def local(self, origin, direction, u_range, v_range):
    """Return (window, u, v): the pixels about a bone, in its own axes (mm).

    `direction` is a unit vector in mm; v points to its left, seen on the film
    of a left hand. The window is None where the bone is off the film.
    """
    along = np.asarray(direction, np.float64)
    across = np.array([-along[1], along[0]])
    corners = np.array(
      [origin + u * along + v * across for u in u_range for v in v_range]
    )
    pixels = self.frame.points(corners)
    height, width = self.bone.shape
    x0, y0 = np.floor(pixels.min(0)).astype(int) - 2
    x1, y1 = np.ceil(pixels.max(0)).astype(int) + 3
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if x1 <= x0 or y1 <= y0:
      return None, None, None
    start = self.frame.points(origin)
    inverse = self.frame.scale**2
    a = self.frame.matrix @ along / inverse
    b = self.frame.matrix @ across / inverse
    x = np.arange(x0, x1, dtype=np.float32) - np.float32(start[0])
    y = (np.arange(y0, y1, dtype=np.float32) - np.float32(start[1]))[:, None]
    u = x * np.float32(a[0]) + y * np.float32(a[1])
    v = x * np.float32(b[0]) + y * np.float32(b[1])
    return (slice(y0, y1), slice(x0, x1)), u, v

  def add(self, axes, d, *, depth, cortex, density=1.0, lattice=1.0):
    """Add a bone: `d` edge distance, `depth` half thickness, mm.

    `axes` is what local() returned.
    `density` scales all of it, `lattice` (scalar or field) the trabeculae.
    """
    window, u, v = axes
    outer = chord(d, depth)
    inner = chord(d - cortex, depth)
    offset = self.rng.uniform(0, 200, 2)
    grain = texture(u, v, offset)
    value = CORTICAL * (outer - inner)
    value += (TRABECULAR * lattice) * inner * (1 + 0.22 * grain)
    self.bone[window] += value * density


def chord(d: np.ndarray, depth) -> np.ndarray:
  """Return the length through a body whose rim is round, mm."""
  x = 1 - np.clip(d / depth, 0, 1)
  return 2 * depth * np.sqrt(1 - x * x)


def meet(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
  """Intersect two distance fields with a corner of the given radius."""
  corner = np.hypot(np.maximum(radius - a, 0), np.maximum(radius - b, 0))
  return np.maximum(np.minimum(a, b), radius) - corner


@functools.lru_cache(maxsize=1)
def _tile() -> np.ndarray:
  """Return the trabecular lattice, 1/6 mm a step, drawn out along u."""
  noise = np.random.default_rng(1967).standard_normal((512, 512))
  noise = np.float32(noise)
  pad = cv2.copyMakeBorder(noise, 32, 32, 32, 32, cv2.BORDER_WRAP)
  long = cv2.GaussianBlur(pad, (0, 0), sigmaX=3.5, sigmaY=0.9)
  round_ = cv2.GaussianBlur(pad, (0, 0), 1.6)
  tile = long / long.std() + 0.6 * round_ / round_.std()
  tile = tile[32:-32, 32:-32]
  return tile / tile.std()


def texture(u: np.ndarray, v: np.ndarray, offset) -> np.ndarray:
  """Sample the lattice, unit variance, at bone axes u, v in mm."""
  return cv2.remap(
    _tile(),
    u * 6 + np.float32(offset[0]),
    v * 6 + np.float32(offset[1]),
    cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_WRAP,
  )


@functools.cache
def polar(outline: tuple) -> tuple[tuple, np.ndarray]:
  """Return (centre, radius at 90 angles from -pi on) of a closed outline."""
  points = np.array(outline, np.float64)
  steps = np.linspace(0, 1, 40, endpoint=False)[:, None, None]
  dense = points + steps * (np.roll(points, -1, 0) - points)
  dense = dense.reshape(-1, 2)
  centre = dense.mean(0)
  x, y = (dense - centre).T
  angle = np.arctan2(y, x)
  grid = np.linspace(-np.pi, np.pi, 90, endpoint=False)
  order = np.argsort(angle)
  radius = np.interp(
    grid, angle[order], np.hypot(x, y)[order], period=2 * np.pi
  )
  window = np.exp(-(np.arange(-6, 7) ** 2) / (2 * 2.2**2))
  padded = np.pad(radius, 6, mode='wrap')
  return tuple(centre), np.convolve(padded, window / window.sum(), 'valid')
