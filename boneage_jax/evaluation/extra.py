"""What a net tells beside the age: figures, lines and tables."""

from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.core import statistics
from boneage_jax.data import groups
from boneage_jax.inference import prediction

Figures = Mapping[str, Mapping[str, Mapping[str, Any]]]


def figures(
  extra: Mapping[str, np.ndarray], sex: np.ndarray, split: np.ndarray
) -> dict[str, dict[str, dict[str, Any]]]:
  """Summarise further numbers of films.

  Args:
    extra: of `predictions.read_extra`, [N] each.
    sex: +1 male, -1 female, 0 unknown, [N].
    split: of the films, [N].

  Returns:
    name -> split -> n, mean, sd, low and high. Of the probability of a male,
    over films of known sex, also `accuracy`: n, share that is right and its
    ci95 (Wilson), and the same of each sex.
  """
  found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in extra}
  for name, values in extra.items():
    for part in dict.fromkeys(split.tolist()):
      of = split == part
      own = values[of]
      row = {'n': len(own), 'mean': own.mean(), 'sd': own.std()}
      row |= {'low': own.min(), 'high': own.max()}
      found[name][part] = {k: round(float(v), 6) for k, v in row.items()}
      found[name][part]['n'] = len(own)
      if name == prediction.P_MALE:
        found[name][part]['accuracy'] = _accuracy(own, sex[of])
  return found


def _accuracy(p_male: np.ndarray, sex: np.ndarray) -> dict[str, Any]:
  """Return how often the more probable sex is the true one."""
  right, sexes = (p_male > 0.5) == (sex > 0), groups.sex_text(sex)
  each = {'all': sexes != 'unknown', 'F': sexes == 'F', 'M': sexes == 'M'}
  return {
    name: {
      'n': int(of.sum()),
      'share': float(right[of].mean()),
      'ci95': statistics.wilson(int(right[of].sum()), int(of.sum())),
    }
    for name, of in each.items()
    if of.any()
  }


def lines(found: Figures) -> Iterator[str]:
  """Yield what a terminal shows."""
  for name, parts in found.items():
    for split, row in parts.items():
      text = f'{name}, {split}: mean {row["mean"]:.3g}, sd {row["sd"]:.3g}'
      if 'all' in row.get('accuracy', {}):
        one = row['accuracy']['all']
        text = f'sex told right, {split}: {_share(one)} of {one["n"]} films'
        text += f' (95 % interval {_interval(one)})'
      yield text


def table(found: Figures) -> tuple[list[str], list[list[str]]]:
  """Return header and rows of what the page shows; no rows of most nets."""
  head = ['told beside the age', 'films', 'mean', 'sd', 'lowest', 'highest']
  rows = [
    [
      *(f'{name}, {split}', str(row['n'])),
      *(f'{row[key]:.3g}' for key in ('mean', 'sd', 'low', 'high')),
    ]
    for name, parts in found.items()
    for split, row in parts.items()
  ]
  return head, rows


def sex_table(found: Figures) -> tuple[list[str], list[list[str]]]:
  """Return header and rows of how often the sex is right."""
  head = ['sex told from the film', 'films', 'right', '95 % interval']
  rows = []
  for split, row in found.get(prediction.P_MALE, {}).items():
    for name, one in row['accuracy'].items():
      group = groups.PLURAL.get(name, name)
      cells = [str(one['n']), _share(one), _interval(one)]
      rows.append([f'{split}, {group}', *cells])
  return head, rows


def _share(one: Mapping[str, Any]) -> str:
  return f'{100 * one["share"]:.1f} %'


def _interval(one: Mapping[str, Any]) -> str:
  low, high = one['ci95']
  return f'{100 * low:.1f} to {100 * high:.1f} %'
