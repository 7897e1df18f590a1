"""What calibration found, as text and as a plot."""

from collections.abc import Mapping
import itertools
from typing import Any

import numpy as np

from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import text_table
from boneage_jax.runs import lineage

TITLES = {
  'net': 'the net as it is',
  'tempered': 'tempered',
  'absolute': 'conformal, absolute',
  'normalised': 'conformal, normalised',
  'quantile': 'conformal, quantile',
  'from_validation': 'the same, fitted on validation',
}


def reliability(result: Mapping[str, Any]) -> plot_style.Draw:
  """Plot covered against nominal shares of the ways that `result` compares."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    axes = figure.subplots()
    curves = dict(result['reliability'])
    nominal = curves.pop('nominal')
    axes.plot([0, 100], [0, 100], color=palette['faint'], lw=1)
    looks = (
      ('net', palette['F'], '--'),
      ('tempered', palette['M'], '-.'),
      (result['score'], palette['accent'], '-'),
    )
    for name, colour, dash in looks:
      if name in curves:
        share = 100 * np.array(curves[name])
        axes.plot(nominal, share, dash, color=colour, label=TITLES[name])
    axes.set(xlim=(0, 100), ylim=(0, 100))
    axes.set(xlabel='nominal (%)', ylabel='test films covered (%)')
    axes.set_title(f'Intervals, n = {result["coverage"]["n"]}')
    axes.legend(loc='upper left')

  return draw


def table(result: Mapping[str, Any]) -> str:
  """Lay out what `calibrate.calibrate` returned."""
  levels = [f'{level} %' for level in result['levels']]
  head = ['films']
  for level in levels:
    head += [f'in {level}', '95 % interval', 'months']
  rows = [_cells(TITLES[k], row) for k, row in result['ways'].items()]
  parts = [f'{result["run"]}: {lineage.dataset_line(result["data"])}']
  line = (
    f'Calibrated on {result["films"]} films ({result["calibrated_on"]}), '
    f'judged on {result["coverage"]["n"]} other films of test.'
  )
  if result['nll']:
    line += (
      f' Temperature {result["temperature"]:.3f}; -log p of the true month '
      f'{result["nll"][0]:.3f} before, {result["nll"][1]:.3f} after.'
    )
  parts += [line, text_table.layout(['all films, by way', *head], rows)]
  rows = []
  for key in ('by_sex', 'by_predicted_age', 'by_age'):
    rows.append([key.replace('_', ' ')])
    for name, row in result['coverage'][key].items():
      rows.append(_cells(f'  {text_table.group(name)}', row))
  parts.append(text_table.layout([TITLES[result['score']], *head], rows))
  groups = [
    f'{text_table.group(name)} {_groups(group)}'
    for name, group in result['groups'].items()
    if name != 'any'
  ]
  parts.append(
    'Groups by predicted age (calibration films): '
    f'{"; ".join(groups) or "none"}.'
  )
  return '\n\n'.join(parts)


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
  cells = [name, str(row['n'])]
  for share, (low, high), width in zip(
    row['covered'], row['ci95'], row['width'], strict=True
  ):
    ends = f'{100 * low:.0f} to {100 * high:.0f}'
    cells += [f'{100 * share:.1f} %', ends, f'{width:.1f}']
  return cells


def _groups(group: Mapping[str, Any]) -> str:
  """Lay out the groups of one sex: <72 (31), 72-120 (24), 120+ (25)."""
  cuts = group['cuts']
  if not cuts:
    return f'all ages ({group["n"][0]})'
  names = [f'{a}-{b}' for a, b in itertools.pairwise(cuts)]
  names = [f'<{cuts[0]}', *names, f'{cuts[-1]}+']
  return ', '.join(
    f'{name} ({n})' for name, n in zip(names, group['n'], strict=True)
  )
