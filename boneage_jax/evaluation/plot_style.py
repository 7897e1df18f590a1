"""How plots look: colours, markers, axes; light and dark."""

from collections.abc import Callable
from collections.abc import Mapping
import io
from typing import Any

import numpy as np

from boneage_jax.data import groups

Palette = Mapping[str, str]
Draw = Callable[[Any, Palette], None]

LIGHT = {
  'paper': '#ffffff',
  'ink': '#1c2430',
  'faint': '#66707d',
  'grid': '#e3e7ec',
  'accent': '#0f6e6e',
  'F': '#c2500a',
  'M': '#0072b2',
  'unknown': '#6b6b6b',
}
DARK = {
  'paper': '#171c24',
  'ink': '#e8ecf1',
  'faint': '#98a3b1',
  'grid': '#2c3440',
  'accent': '#4fc3b5',
  'F': '#f2a15c',
  'M': '#6cbcf0',
  'unknown': '#b0b0b0',
}
MARKERS = {'F': 'o', 'M': '^', 'unknown': 's'}


def png(draw: Draw, dark: bool = False) -> bytes:
  """Render a plot as PNG; the bytes depend on the data alone."""
  import matplotlib
  from matplotlib import figure
  from matplotlib.backends import backend_agg

  palette = DARK if dark else LIGHT
  style = {
    'figure.facecolor': palette['paper'],
    'axes.facecolor': palette['paper'],
    'savefig.facecolor': palette['paper'],
    'text.color': palette['ink'],
    'axes.labelcolor': palette['ink'],
    'axes.edgecolor': palette['faint'],
    'xtick.color': palette['faint'],
    'ytick.color': palette['faint'],
    'axes.grid': True,
    'grid.color': palette['grid'],
    'axes.axisbelow': True,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.titlesize': 11.5,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'legend.frameon': False,
    'font.size': 10.5,
    'legend.fontsize': 9.5,
  }
  with matplotlib.rc_context(style):
    canvas = figure.Figure(figsize=(5.4, 4.4), dpi=160, layout='constrained')
    backend_agg.FigureCanvasAgg(canvas)
    draw(canvas, palette)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format='png', metadata={'Software': None})
  return buffer.getvalue()


def year_ticks(axes: Any, oldest: float) -> None:
  """Mark whole years under the months of the x axis."""
  step = 24 if oldest > 60 else 12
  months = np.arange(0, oldest + step / 2, step, dtype=int)
  axes.set_xticks(months, [f'{m}\n{m // 12} y' for m in months])


def oldest(*ages: np.ndarray) -> float:
  """Return the upper end of an axis that holds all the ages."""
  return 12 * np.ceil((max(np.max(a) for a in ages) + 3) / 12)


def by_sex(sex: np.ndarray) -> list[tuple[str, np.ndarray]]:
  """Return each sex that is there, and which films are of it, bool [N]."""
  sexes = groups.sex_text(sex)
  return [(name, sexes == name) for name in MARKERS if np.any(sexes == name)]


def dots(axes: Any, xy: tuple, sex: str, colour: str, label: str) -> None:
  """Draw a dot for each film, smaller and fainter where they are many."""
  few = len(xy[0]) < 1000
  axes.scatter(
    *xy,
    s=16 if few else 7,
    alpha=0.65 if few else 0.3,
    marker=MARKERS[sex],
    color=colour,
    linewidths=0,
    label=label,
  )
