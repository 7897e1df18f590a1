"""Plots of training; see `plot_style`."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.evaluation import plot_style


def training(
  stage: str, rows: Sequence[Mapping[str, float]]
) -> plot_style.Draw:
  """Plot loss and validation MAE of one stage over epochs (or steps)."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    clock = 'epoch' if all('epoch' in row for row in rows) else 'step'
    present = [k for k in CURVES if any(k in row for row in rows)]
    panels = figure.subplots(len(present), 1, sharex=True, squeeze=False)
    for axes, key in zip(panels[:, 0], present, strict=True):
      points = [
        (r[clock], r[key]) for r in rows if np.isfinite(r.get(key, np.nan))
      ]
      x, y = np.array(points, np.float64).reshape(-1, 2).T
      mark = '.' if len(x) < 60 else ''
      axes.plot(x, y, color=palette['accent'], lw=1.6, marker=mark)
      axes.set_ylabel(CURVES[key])
      if len(y) and y.min() > 0 and y.max() > 20 * y.min():
        axes.set_yscale('log')
      if key == 'validation_mae' and len(y):
        best = int(np.argmin(y))
        axes.plot(x[best], y[best], 'o', color=palette['F'])
        axes.set_title(
          f'best {y[best]:.2f} at {clock} {x[best]:g}',
          loc='right',
          fontsize=9.5,
          color=palette['F'],
          y=0.82,
        )
    panels[-1, 0].set_xlabel(clock)
    panels[0, 0].set_title(f'Training of {stage}')

  return draw


CURVES = {
  'train_loss': 'training loss',
  'validation_mae': 'validation MAE\n(months)',
}
