"""Corruptions that films meet in clinics: NumPy and OpenCV on grey films.

Each takes uint8 [H, W], bones bright, and gives the like. Lengths are shares of
the film's sides: they mean the same at any resolution. What is drawn depends
on the film's id alone, and alike for all severities.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.core import ids


def rotate(film: np.ndarray, degrees: float) -> np.ndarray:
  """Turn a film counter-clockwise.

  Quarter turns are exact and turn the frame too; others leave it where it is,
  black beyond the film.
  """
  turns, rest = divmod(degrees, 90)
  if not rest:
    return np.ascontiguousarray(np.rot90(film, int(turns)))
  height, width = film.shape
  centre = ((width - 1) / 2, (height - 1) / 2)
  matrix = cv2.getRotationMatrix2D(centre, degrees, 1.0)
  return cv2.warpAffine(film, matrix, (width, height))


def mirror(film: np.ndarray) -> np.ndarray:
  """Mirror a film left and right."""
  return np.ascontiguousarray(film[:, ::-1])


def tone(
  film: np.ndarray,
  *,
  gamma: float = 1.0,
  contrast: float = 1.0,
  brightness: float = 1.0,
) -> np.ndarray:
  """Return ((v ** gamma - 1/2) * contrast + 1/2) * brightness, v in [0, 1]."""
  values = (np.arange(256) / 255) ** gamma
  values = ((values - 0.5) * contrast + 0.5) * brightness
  return cv2.LUT(film, np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8))


def invert(film: np.ndarray) -> np.ndarray:
  """Return the film as MONOCHROME1: bones dark."""
  return 255 - film


def blur(film: np.ndarray, share: float) -> np.ndarray:
  """Blur by a Gaussian whose deviation is `share` of the long side."""
  return cv2.GaussianBlur(film, (0, 0), share * max(film.shape))


def shrink(film: np.ndarray, factor: float) -> np.ndarray:
  """Average down to 1/`factor` of both sides and enlarge again."""
  height, width = film.shape
  small = max(round(width / factor), 1), max(round(height / factor), 1)
  film = cv2.resize(film, small, interpolation=cv2.INTER_AREA)
  return cv2.resize(film, (width, height), interpolation=cv2.INTER_LINEAR)


def border(film: np.ndarray, share: float, grey: int) -> np.ndarray:
  """Set a film in a frame of one grey; nothing of the hand is covered."""
  rows, columns = (round(share * side) for side in film.shape)
  return cv2.copyMakeBorder(
    film, rows, rows, columns, columns, cv2.BORDER_CONSTANT, value=grey
  )


def marker(
  film: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
  """Lay a lead L, `share` of the short side tall, into a corner."""
  film, (height, width) = film.copy(), film.shape
  right, low = rng.integers(2, size=2)
  tall = max(round(share * min(height, width)), 3)
  wide, bar = round(0.6 * tall), max(round(0.18 * tall), 1)
  inset = round(0.03 * min(height, width))
  x = width - inset - wide if right else inset
  y = height - inset - tall if low else inset
  film[y : y + tall, x : x + bar] = 255
  film[y + tall - bar : y + tall, x : x + wide] = 255
  return film


def noise(
  film: np.ndarray, deviation: float, rng: np.random.Generator
) -> np.ndarray:
  """Add Gaussian noise of a deviation in greys."""
  noisy = film + deviation * rng.standard_normal(film.shape, np.float32)
  return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)


def jpeg(film: np.ndarray, quality: int) -> np.ndarray:
  """Send a film through JPEG."""
  data = cv2.imencode('.jpg', film, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
  return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def corrupt(
  film: np.ndarray | list[np.ndarray],
  rng: np.random.Generator,
  moved: bool = True,
) -> np.ndarray | list[np.ndarray]:
  """Corrupt a film in one way of CASES, drawn at random.

  Never by inversion, markers or rotation: `input.rotate` rotates films, and a
  net of the task 'orientation' finds quarter turns. Severe corruptions are more
  likely than slight ones; some noise and JPEG is more severe than any of CASES.

  Args:
    film: uint8 [H, W], or a list of its crops: all are corrupted alike, each by
      itself.
    rng: the film's own generator.
    moved: whether it may get borders, which move the film.
  """
  change = _draw(rng, moved)
  if isinstance(film, np.ndarray):
    return change(film)
  return [change(crop) for crop in film]


def _draw(
  rng: np.random.Generator, moved: bool
) -> Callable[[np.ndarray], np.ndarray]:
  """Draw a corruption; noise draws its pixels when it is laid on."""
  kind, much = rng.integers(6 if moved else 5), np.sqrt(rng.random())
  if kind == 0:
    return functools.partial(blur, share=0.001 + 0.019 * much)
  if kind == 1:
    return functools.partial(shrink, factor=8**much)
  if kind == 2:
    return functools.partial(noise, deviation=25 * much, rng=rng)
  if kind == 3:
    return functools.partial(jpeg, quality=round(50 / 12.5**much))
  if kind == 4:
    gamma, contrast, brightness = rng.uniform(-1, 1, 3)
    return functools.partial(
      tone,
      gamma=2**gamma,
      contrast=1 + 0.4 * contrast,
      brightness=1 + 0.4 * brightness,
    )
  grey = 255 * int(rng.integers(2))
  return functools.partial(border, share=0.15 * much, grey=grey)


class Case(NamedTuple):
  """A corruption of one severity; `drawn` where it takes `rng`."""

  name: str
  severity: str
  change: Callable[..., np.ndarray]
  drawn: bool = False

  def __call__(self, film: np.ndarray, film_id: str) -> np.ndarray:
    """Corrupt the film of this id."""
    if self.drawn:
      return self.change(film, rng=np.random.default_rng(ids.number(film_id)))
    return self.change(film)


def _case(name: str, severity: str, change: Callable, **settings) -> Case:
  drawn = change in (marker, noise)
  return Case(name, severity, functools.partial(change, **settings), drawn)


CASES = (
  *(
    _case('rotation', f'{angle:+} deg', rotate, degrees=angle)
    for angle in (-20, -10, 10, 20, 90, 180)
  ),
  Case('mirror', 'left-right', mirror),
  Case('inversion', 'MONOCHROME1', invert),
  *(
    _case(name, f'x {value}', tone, **{name: value})
    for name in ('brightness', 'contrast')
    for value in (0.6, 0.8, 1.2, 1.4)
  ),
  *(_case('gamma', f'{g}', tone, gamma=g) for g in (0.5, 0.7, 1.4, 2.0)),
  *(
    _case('blur', f'{100 * share:g} % of side', blur, share=share)
    for share in (0.005, 0.01, 0.02)
  ),
  *(_case('resolution', f'1/{n}', shrink, factor=n) for n in (2, 4, 8)),
  *(
    _case(name, f'{100 * share:g} %', border, share=share, grey=grey)
    for name, grey in (('black border', 0), ('white border', 255))
    for share in (0.05, 0.15)
  ),
  *(
    _case('lead marker', f'{100 * share:g} %', marker, share=share)
    for share in (0.08, 0.16)
  ),
  *(_case('noise', f'sd {sd}', noise, deviation=sd) for sd in (5, 10, 20)),
  *(_case('JPEG', f'quality {q}', jpeg, quality=q) for q in (50, 20, 5)),
)
