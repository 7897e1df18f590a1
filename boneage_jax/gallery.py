"""Films of a report: heat map and regions drawn in, predicted distribution."""

from collections.abc import Callable
from collections.abc import Mapping
import html
from typing import Any

import cv2
import numpy as np

from boneage_jax import transforms

# Of regions in the order of regions.csv, RGB; safe for colour-blind readers.
COLOURS = ((86, 204, 242), (255, 214, 64), (255, 122, 198))
SVG_WIDTH, SVG_HEIGHT = 320, 118


def overlay(
  film: np.ndarray,
  heat: np.ndarray | None = None,
  regions: Mapping[str, Any] | None = None,
  height: int = 440,
) -> np.ndarray:
  """Draw heat and region boxes on a film.

  Args:
    film: uint8 [H, W].
    heat: [H, W] at film size, any scale; values below 0 count as 0.
    regions: region -> (box, score, found); a region not found is not drawn.
    height: of the picture in pixels.

  Returns:
    uint8 RGB [height, W * height / H, 3].
  """
  size = (max(1, round(film.shape[1] * height / film.shape[0])), height)
  grey = cv2.resize(film, size, interpolation=cv2.INTER_AREA)
  grey = cv2.LUT(grey, transforms.tone_lut(grey, percentiles=(1, 99.5)))
  picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
  if heat is not None and np.max(heat) > 0:
    heat = np.maximum(np.asarray(heat, np.float32), 0) / np.max(heat)
    heat = cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR)
    colour = cv2.applyColorMap(
      np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO
    )[..., ::-1]
    alpha = 0.75 * heat[..., None] ** 0.7
    picture = np.rint(picture * (1 - alpha) + colour * alpha).astype(np.uint8)
  picture = np.ascontiguousarray(picture)
  for k, (box, _, found) in enumerate((regions or {}).values()):
    if found:
      corners = np.array(box).reshape(2, 2) * size
      low, high = np.rint(corners).astype(int)
      low, high = np.maximum(low, 1), np.minimum(high, np.array(size) - 2)
      # A dark rim keeps the line visible on bone.
      for colour, line in (((10, 10, 10), 4), (COLOURS[k % 3], 2)):
        cv2.rectangle(
          picture, low.tolist(), high.tolist(), colour, line, cv2.LINE_AA
        )
  return picture


def film_heat(
  maps: np.ndarray, film_hw: tuple[int, int], resize: str = 'squash'
) -> np.ndarray:
  """Merge maps [R, h, w] of the net's input into one [H, W] over the film.

  Each map counts relative to its own peak; a film pixel takes the largest.
  """
  maps = np.maximum(np.asarray(maps, np.float32), 0)
  maps = maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
  input_hw = maps.shape[1:]
  matrix = transforms.fit_matrix(film_hw, input_hw, resize)
  return transforms.unwarp(maps.max(axis=0), matrix, input_hw, film_hw)


def jpeg(picture: np.ndarray) -> bytes:
  """Encode uint8 RGB as JPEG."""
  done, data = cv2.imencode(
    '.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82]
  )
  if not done:
    raise ValueError(f'Expected an RGB picture, got shape {picture.shape}.')
  return data.tobytes()


def years(age: float) -> str:
  """Write months as years and months, as '10 y 6 mo'."""
  months = round(age)
  return f'{months // 12} y {months % 12} mo'


def distribution(
  probability: np.ndarray | None,
  age: float,
  prediction: float,
  interval: tuple[float, float] | None = None,
) -> str:
  """Draw a predicted distribution with the true age as inline SVG.

  Args:
    probability: [K] of the months 0, 1, ...; None draws the ages alone.
    age: true age, months.
    prediction: predicted age, months.
    interval: predicted low and high, months.
  """
  marks = [age, prediction, *(interval or ())]
  if probability is not None:
    probability = np.asarray(probability, np.float64)
    total = np.cumsum(probability) / probability.sum()
    marks += list(np.searchsorted(total, (0.005, 0.995)))
  low = 12 * np.floor((min(marks) - 6) / 12)
  low, high = max(low, 0), 12 * np.ceil((max(marks) + 6) / 12)
  base, top = SVG_HEIGHT - 32, 20

  def x(months: float) -> float:
    share = (months - low) / (high - low)
    return round(float(18 + (SVG_WIDTH - 36) * share), 1)

  parts = []
  step = 12 * max(1, int(np.ceil((high - low) / 12 / 6)))
  for tick in np.arange(low, high + 1, step, dtype=int):
    parts.append(
      f'<line class="tick" x1="{x(tick)}" x2="{x(tick)}" y1="{top}" '
      f'y2="{base + 4}"/><text x="{x(tick)}" y="{base + 16}">{tick}</text>'
      f'<text x="{x(tick)}" y="{base + 28}">{tick // 12} y</text>'
    )
  parts.append(f'<line class="axis" x1="0" x2="{SVG_WIDTH}" y1="{base}" ')
  parts[-1] += f'y2="{base}"/>'
  if interval is not None:
    left, right = x(interval[0]), x(interval[1])
    parts.append(
      f'<rect class="interval" x="{left}" width="{round(right - left, 1)}" '
      f'y="{base - 5}" height="5"/>'
    )
  if probability is not None:
    shown = range(int(low), int(min(high, len(probability) - 1)) + 1)
    scale = (base - top) / max(probability.max(), 1e-12)
    curve = ' '.join(
      f'{x(m)},{round(base - scale * probability[m], 1)}' for m in shown
    )
    ends = f'{x(shown[0])},{base}', f'{x(shown[-1])},{base}'
    parts.append(
      f'<polygon class="mass" points="{ends[0]} {curve} {ends[1]}"/>'
    )
  parts += _marks(x, age, prediction, base, top)
  label = f'True age {age:.1f} months, predicted {prediction:.1f} months.'
  if probability is not None:
    label = 'Predicted distribution over age. ' + label
  return (
    f'<svg viewBox="0 0 {SVG_WIDTH} {SVG_HEIGHT}" text-anchor="middle" '
    f'role="img" aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
  )


def _marks(
  x: Callable[[float], float],
  age: float,
  prediction: float,
  base: int,
  top: int,
) -> list[str]:
  """Draw the lines of both ages; their labels stay apart and on the picture."""
  (low, first), (high, second) = sorted(
    [(age, 'true'), (prediction, 'predicted')]
  )
  width = {'true': 62, 'predicted': 92}
  end = max(x(low) - 4, width[first])
  start = min(max(x(high) + 4, end + 8), SVG_WIDTH - width[second])
  end = min(end, start - 8)
  return [
    f'<line class="{kind}" x1="{x(months)}" x2="{x(months)}" y1="{top - 6}" '
    f'y2="{base}"/><text class="{kind}" text-anchor="{anchor}" '
    f'x="{round(place, 1)}" y="10">{kind} {months:.0f}</text>'
    for kind, months, anchor, place in (
      (first, low, 'end', end),
      (second, high, 'start', start),
    )
  ]
