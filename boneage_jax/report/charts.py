"""What the charts of a report show; `templates/distribution.svg` draws it."""

from collections.abc import Callable
from typing import Any

import numpy as np

WIDTH, HEIGHT = 320, 118  # of the picture
TOP, BASE = 20, HEIGHT - 32  # of the curve
LABEL_WIDTH = {'true': 62, 'predicted': 92}


def years(age: float) -> str:
  """Write months as years and months, as '10 y 6 mo'."""
  months = round(age)
  return f'{months // 12} y {months % 12} mo'


def distribution(
  probability: np.ndarray | None,
  age: float,
  prediction: float,
  interval: tuple[float, float] | None = None,
) -> dict[str, Any]:
  """Lay out a predicted distribution beside the true age.

  Args:
    probability: [K] of the months 0, 1, ...; None draws the ages alone.
    age: true age, months.
    prediction: predicted age, months.
    interval: predicted low and high, months.

  Returns:
    What `distribution.svg` draws, in its units: width, height, top, base;
    label; ticks, (x, months, years); interval, (x, width) or None; mass, the
    corners of the curve; marks, of both ages.
  """
  marks = [age, prediction, *(interval or ())]
  if probability is not None:
    probability = np.asarray(probability, np.float64)
    total = np.cumsum(probability) / probability.sum()
    marks += list(np.searchsorted(total, (0.005, 0.995)))
  low = max(12 * np.floor((min(marks) - 6) / 12), 0)
  high = 12 * np.ceil((max(marks) + 6) / 12)

  def x(months: float) -> float:
    share = (months - low) / (high - low)
    return round(float(18 + (WIDTH - 36) * share), 1)

  step = 12 * max(1, int(np.ceil((high - low) / 12 / 6)))
  ticks = np.arange(low, high + 1, step, dtype=int).tolist()
  label = f'True age {age:.1f} months, predicted {prediction:.1f} months.'
  bar, mass = None, []
  if interval is not None:
    left, right = map(x, interval)
    bar = left, round(right - left, 1)
  if probability is not None:
    label = 'Predicted distribution over age. ' + label
    shown = range(int(low), int(min(high, len(probability) - 1)) + 1)
    scale = (BASE - TOP) / max(probability.max(), 1e-12)
    mass = [
      (x(m), round(float(BASE - scale * probability[m]), 1)) for m in shown
    ]
    mass = [(x(shown[0]), BASE), *mass, (x(shown[-1]), BASE)]
  return {
    'width': WIDTH,
    'height': HEIGHT,
    'top': TOP,
    'base': BASE,
    'label': label,
    'ticks': [(x(tick), tick, tick // 12) for tick in ticks],
    'interval': bar,
    'mass': mass,
    'marks': _marks(x, age, prediction),
  }


def _marks(
  x: Callable[[float], float], age: float, prediction: float
) -> list[dict[str, Any]]:
  """Place both ages; their labels stay apart and on the picture."""
  (low, first), (high, second) = sorted(
    [(age, 'true'), (prediction, 'predicted')]
  )
  end = max(x(low) - 4, LABEL_WIDTH[first])
  start = min(max(x(high) + 4, end + 8), WIDTH - LABEL_WIDTH[second])
  end = min(end, start - 8)
  return [
    {
      'kind': kind,
      'x': x(months),
      'months': f'{months:.0f}',
      'anchor': anchor,
      'label_x': round(place, 1),
    }
    for kind, months, anchor, place in (
      (first, low, 'end', end),
      (second, high, 'start', start),
    )
  ]
