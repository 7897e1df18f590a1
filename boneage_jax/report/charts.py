"""Charts of a report as SVG."""

from collections.abc import Callable
import html

import numpy as np

SVG_WIDTH, SVG_HEIGHT = 320, 118


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
