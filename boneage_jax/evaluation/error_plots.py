"""Plots of errors.

A plot is a function `draw(figure, palette)`; `png` renders it for a light or a
dark page. Girls and boys differ in colour and marker (Okabe and Ito's palette,
safe for colour-blind readers). Ages are months.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.data import groups
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import plot_style


def of_films(
  age: np.ndarray,
  prediction: np.ndarray,
  sex: np.ndarray,
  by_age: Mapping[str, Mapping[str, Any]],
) -> dict[str, plot_style.Draw]:
  """Return all plots of the errors of films, by the names of their files.

  Args:
    age, prediction: months, [N].
    sex: as of `groups.SEX`, [N].
    by_age: of `metrics.summary`.
  """
  films = age, prediction, sex
  return {
    'scatter': scatter(*films),
    'bland_altman': bland_altman(*films),
    'error_by_age': error_by_age(*films, by_age),
    'cumulative': cumulative(*films),
  }


def scatter(
  age: np.ndarray, prediction: np.ndarray, sex: np.ndarray
) -> plot_style.Draw:
  """Plot predicted against true age, with the band of one year around it."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    axes = figure.subplots()
    end = plot_style.oldest(age, prediction)
    line = np.array([0, end])
    axes.fill_between(
      line,
      line - 12,
      line + 12,
      color=palette['accent'],
      alpha=0.12,
      lw=0,
      label='within 12 months',
    )
    axes.plot(line, line, color=palette['faint'], lw=1)
    for name, of in plot_style.by_sex(sex):
      mae = np.mean(np.abs(prediction[of] - age[of]))
      label = f'{groups.PLURAL[name]}, n = {of.sum()}, MAE {mae:.1f}'
      plot_style.dots(
        axes, (age[of], prediction[of]), name, palette[name], label
      )
    axes.set(xlim=(0, end), ylim=(min(0, prediction.min()), end))
    axes.set(xlabel='true bone age (months)', ylabel='predicted (months)')
    axes.set_title('Predicted against true bone age')
    axes.legend(loc='upper left')
    plot_style.year_ticks(axes, end)

  return draw


def bland_altman(
  age: np.ndarray, prediction: np.ndarray, sex: np.ndarray
) -> plot_style.Draw:
  """Plot error against the mean of both ages, with the limits of agreement."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    axes = figure.subplots()
    error, middle = prediction - age, (prediction + age) / 2
    for name, of in plot_style.by_sex(sex):
      plot_style.dots(
        axes,
        (middle[of], error[of]),
        name,
        palette[name],
        groups.PLURAL[name],
      )
    bias, spread = np.mean(error), 1.96 * np.std(error)
    end = plot_style.oldest(middle)
    for value, dash, what in (
      (bias, '-', 'bias'),
      (bias - spread, '--', '-1.96 SD'),
      (bias + spread, '--', '+1.96 SD'),
    ):
      axes.axhline(value, color=palette['accent'], lw=1.3, ls=dash)
      axes.annotate(
        f'{what}: {value:+.1f}'.replace('-', '\N{MINUS SIGN}'),
        (1, value),
        xycoords=('axes fraction', 'data'),
        xytext=(-2, 3),
        textcoords='offset points',
        ha='right',
        fontsize=9.5,
        color=palette['ink'],
      )
    reach = 1.1 * max(np.max(np.abs(error)), 1.2 * spread, 1)
    axes.set(xlim=(0, end), ylim=(-reach, reach))
    axes.set(
      xlabel='mean of true and predicted (months)',
      ylabel='predicted \N{MINUS SIGN} true (months)',
    )
    axes.set_title(f'Bland-Altman, n = {len(age)}')
    axes.legend(loc='lower right', bbox_to_anchor=(1, 1), ncols=3)
    plot_style.year_ticks(axes, end)

  return draw


def error_by_age(
  age: np.ndarray,
  prediction: np.ndarray,
  sex: np.ndarray,
  by_age: Mapping[str, Mapping[str, Any]],
) -> plot_style.Draw:
  """Plot absolute errors and the MAE of each age band with its interval."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    axes = figure.subplots()
    error, end = np.abs(prediction - age), plot_style.oldest(age)
    top = 1.3 * max(np.percentile(error, 98), 1)
    for name, of in plot_style.by_sex(sex):
      shown = of & (error <= top)
      points = (age[shown], error[shown])
      plot_style.dots(axes, points, name, palette[name], groups.PLURAL[name])
    for band, figures in by_age.items():
      low, high = map(int, band.split('-'))
      middle, mae = (low + high) / 2, figures['mae']
      interval = figures.get('mae_ci95', [mae, mae])
      axes.plot([low + 1, high - 1], [mae, mae], color=palette['ink'], lw=2.4)
      axes.plot([middle, middle], interval, color=palette['ink'], lw=1.4)
      axes.text(
        middle,
        top * 0.985,
        figures['n'],
        ha='center',
        va='top',
        fontsize=8.5,
        color=palette['faint'],
      )
    above = int(np.sum(error > top))
    note = f' ({above} above the axis)' if above else ''
    axes.set(xlim=(0, end), ylim=(0, top))
    axes.set(
      xlabel='true bone age (months); films per band above',
      ylabel='absolute error (months)' + note,
    )
    axes.set_title('MAE by age, with 95 % interval')
    plot_style.year_ticks(axes, end)

  return draw


def cumulative(
  age: np.ndarray, prediction: np.ndarray, sex: np.ndarray
) -> plot_style.Draw:
  """Plot the share of films whose error is at most x months."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    axes = figure.subplots()
    error = np.abs(prediction - age)
    end = min(max(30, float(np.percentile(error, 99))), 48)
    for name, of in plot_style.by_sex(sex):
      x = np.concatenate([[0], np.sort(error[of]), [max(end, error.max())]])
      y = np.concatenate([[0], np.arange(1, of.sum() + 1), [of.sum()]])
      dash = '-' if name == 'F' else '--'
      label = f'{groups.PLURAL[name]}, n = {of.sum()}'
      y = 100 * y / of.sum()
      axes.step(
        x, y, dash, where='post', color=palette[name], lw=1.8, label=label
      )
    for months in metrics.WITHIN:
      share = 100 * np.mean(error <= months)
      axes.axvline(months, color=palette['accent'], lw=1, ls=':')
      axes.annotate(
        f'{share:.0f} %',
        (months, 2),
        xytext=(3, 0),
        textcoords='offset points',
        fontsize=9.5,
        color=palette['accent'],
      )
    axes.set(xlim=(0, end), ylim=(0, 102), xticks=np.arange(0, end + 1, 6))
    axes.set(xlabel='error at most (months)', ylabel='films (%)')
    axes.set_title('Films within an error')
    axes.legend(loc='center right')

  return draw
