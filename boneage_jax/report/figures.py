"""What a report says: the files of a run, read and turned into figures."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.data import selection
from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import text_table
from boneage_jax.inference import intervals
from boneage_jax.runs import metric_writer


def validation_intervals(
  rows: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
  """Return `low` and `high`, 90 % conformal intervals in months, [N].

  Fitted on the validation films by sex and predicted age, see `intervals.fit`;
  nothing where these are too few.
  """
  fitted = selection.select_split(rows, 'validation')
  levels = intervals.LEVELS
  if len(fitted['id']) < intervals.least_films(max(levels)):
    return {}
  ends = intervals.apply(intervals.fit(fitted), rows)[:, levels.index(90)]
  return {'low': ends[:, 0], 'high': ends[:, 1]}


def curves(
  workdir: str, stages: Sequence[str] = ()
) -> dict[str, list[dict[str, float]]]:
  """Read the training rows of every stage, and fold, that has some."""
  out = {}
  for folds in ((), ('fold_*',)):
    for path in storage.glob(workdir, *folds, '*', 'metrics.jsonl'):
      rows = metric_writer.read_metrics(path)
      if any('train_loss' in row or 'validation_mae' in row for row in rows):
        *_, fold, stage, _ = path.split('/')
        out[(stage, fold) if folds else (stage,)] = rows
  order = [*stages, *(stage for stage, *_ in out)]
  names = sorted(out, key=lambda name: (order.index(name[0]), name))
  return {'_'.join(name): out[name] for name in names}


def split_summaries(
  rows: Mapping[str, np.ndarray],
  predictors: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
  """Summarise every split and compare it with other predictors.

  Args:
    rows: of `predictions`.
    predictors: name -> {film id: predicted age, months}.
  """
  order = [s for s in splits_lib.SPLITS[::-1] if s in rows['split']]
  order += sorted(set(rows['split'].tolist()) - set(order))
  return {
    'headline': order[0],
    'splits': {
      name: _summary(selection.select_split(rows, name), name) for name in order
    },
    'references': {
      name: _compare(rows, order, ages) for name, ages in predictors.items()
    },
  }


def _summary(rows: Mapping[str, np.ndarray], split: str) -> dict[str, Any]:
  out = metrics.summary(rows['age'], rows['prediction'], rows['sex'])
  if 'low' in rows and split == 'test':  # not of films that gave the intervals
    inside = (rows['low'] <= rows['age']) & (rows['age'] <= rows['high'])
    out['covered_90'] = float(np.mean(inside))
  return out


def _compare(
  rows: Mapping[str, np.ndarray],
  splits: Sequence[str],
  ages: Mapping[str, float],
) -> dict[str, Any]:
  """Compare the predictions with a reference's on the films both have."""
  out = {}
  for name in splits:
    part = selection.select_split(rows, name)
    both = np.array([i in ages for i in part['id'].tolist()], bool)
    if not both.any():
      continue
    age, prediction = part['age'][both], part['prediction'][both]
    other = np.array([ages[i] for i in part['id'][both].tolist()])
    row = metrics.summary(age, other, part['sex'][both])
    pair = metrics.paired_difference(age, prediction, other)
    keep = ('n', 'mae', 'mae_ci95', 'rmse', 'bias', 'within_12')
    out[name] = {k: row[k] for k in keep if k in row}
    keep = ('difference', 'difference_ci95')
    out[name] |= {k: pair[k] for k in keep if k in pair}
  return out


def count_regions(
  rows: Mapping[str, np.ndarray], regions: Mapping, coverage: Mapping
) -> dict[str, Any]:
  """Count the films each region was found on, among those reported."""
  if not regions:
    return {}
  ids = [i for i in rows['id'].tolist() if i in regions]
  names = list(dict.fromkeys(name for i in ids for name in regions[i]))
  found = {
    name: {
      'films': sum(name in regions[i] for i in ids),
      'found': sum(name in regions[i] and regions[i][name].found for i in ids),
    }
    for name in names
  }
  return {'found': found, 'coverage': dict(coverage)}


def alarms(report: Mapping[str, Any]) -> list[str]:
  """Say what makes the figures doubtful, the worst first."""
  out = []
  if 'test' not in report['splits']:
    out.append(text_table.NO_TEST)
  for name, row in report['splits'].items():
    if row['collapse']['alarm']:
      spread = ' and '.join(
        f'{groups.PLURAL[s]} {row["collapse"][f"{s}_sd"]:.1f} (truth '
        f'{row["collapse"][f"{s}_true_sd"]:.1f})'
        for s in groups.PLURAL
        if f'{s}_sd' in row['collapse']
      )
      out.append(
        f'Collapsed predictions on {name}: standard deviation of {spread} '
        'months. The net tells little more than the sex.'
      )
  head = report['headline']
  median = report['references'].get('sex_median', {})
  if median.get(head, {}).get('difference', -1) >= 0:
    out.append(
      f'On {head} the net is no better than always answering the median age '
      'of the sex.'
    )
  for name, row in report['regions'].get('found', {}).items():
    missing = row['films'] - row['found']
    if missing:
      out.append(
        f'Region {name} not found on {missing} of {row["films"]} films '
        f'({100 * missing / row["films"]:.1f} %); the whole film stood in.'
      )
  return out
