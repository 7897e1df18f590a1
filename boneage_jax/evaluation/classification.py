"""Findings of films: accuracy of films and of hands, and the `classes` job."""

from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.evaluation import text_table


def read_predictions(path: str) -> dict[str, Any]:
  """Read what `write_predictions` wrote.

  Returns:
    `classes`, names; id, split, study [N]; label int [N], -1 unknown;
    probability [N, C].
  """
  if not storage.exists(path):
    raise ValueError(f'{path} is missing: run the stage that writes it first.')
  columns = ('id', 'split')
  with storage.naming(path), storage.reading(path) as file:
    rows = tables.read_dicts(file, path, columns)
    names = [n[2:] for n in (rows or [{}])[0] if n.startswith('p_')]
    probability = np.array(
      [[float(row[f'p_{name}']) for name in names] for row in rows]
    )
  if not rows or not names:
    raise ValueError(f'Expected predictions of classes in {path}, got none.')
  index = {name: i for i, name in enumerate(names)}
  bad = np.flatnonzero(~np.isfinite(probability).all(axis=1)).tolist()
  if bad:
    raise ValueError(
      f'{len(bad)} of {len(rows)} films in {path} have probabilities that are '
      f'not finite, as film {rows[bad[0]]["id"]}: the net has diverged.'
    )
  return {
    'classes': names,
    'id': np.array([row['id'] for row in rows]),
    'split': np.array([row['split'] for row in rows]),
    'study': np.array([row['study'] for row in rows]),
    'label': np.array([index.get(row['label'], -1) for row in rows]),
    'probability': probability,
  }


def accuracy_summary(
  label: np.ndarray,
  probability: np.ndarray,
  study: np.ndarray,
  bootstrap: int = 1000,
  seed: int = 0,
) -> dict[str, Any]:
  """Return accuracy of films and of studies, with 95 % intervals.

  Of films, studies are resampled: those of a hand are no independent evidence.

  Args:
    label: [N], below 0 is left out.
    probability: [N, C].
    study: [N]; the films of a study share a label.
    bootstrap, seed: as of metrics.summary.
  """
  known = label >= 0
  label, probability, study = label[known], probability[known], study[known]
  names, of = np.unique(study, return_inverse=True)
  views = np.bincount(of)
  right = probability.argmax(-1) == label
  votes = np.zeros((len(names), probability.shape[1]))
  np.add.at(votes, of, probability)  # the mean has the same maximum
  truth = np.zeros(len(names), int)
  truth[of] = label
  agreed = votes.argmax(-1) == truth
  # Columns: right films, films; studies are drawn, with all of their films.
  values = np.stack([np.bincount(of, right), views], -1)
  samples = statistics.bootstrap_means(values, bootstrap, seed)
  counts = np.bincount(label, minlength=probability.shape[1])
  return {
    'films': len(label),
    'accuracy': float(right.mean()),
    'accuracy_ci95': statistics.interval95(samples[:, 0] / samples[:, 1]),
    'studies': len(names),
    'study_accuracy': float(agreed.mean()),
    'study_accuracy_ci95': statistics.wilson(int(agreed.sum()), len(names)),
    'most_frequent': float(counts.max() / len(label)),
    'recall': [
      float(right[label == k].mean()) if n else None
      for k, n in enumerate(counts)
    ],
    'counts': counts.tolist(),
  }


def report(config: Any, stage: str, workdir: str) -> None:
  """Print the accuracy of a stage and write report/report.json."""
  rows = read_predictions(
    stages.path(workdir, config[stage].stage, stages.PREDICTIONS)
  )
  builder_config = stages.builder_configs(config)[0]
  info = sources.build_info(sources.prepared_folder(workdir, builder_config))
  _, split = selection.split_films(config, workdir, builder_config)
  result: dict[str, Any] = {
    'stage': config[stage].stage,
    'data': {'name': info['name'], 'split': split},
    'classes': rows['classes'],
    'splits': {},
  }
  for name in splits.HELD_OUT:
    of = rows['split'] == name
    if (rows['label'][of] >= 0).any():
      columns = (rows[key][of] for key in ('label', 'probability', 'study'))
      result['splits'][name] = accuracy_summary(*columns)
  storage.make_folder(stages.report_path(workdir))
  path = stages.report_path(workdir, stages.REPORT_JSON)
  storage.write_json(path, result, indent=1)
  print(classification_table(result), flush=True)


def classification_table(result: dict[str, Any]) -> str:
  """Lay out the figures of a report as text."""
  percent = lambda share: f'{100 * share:.1f} %'
  rows = []
  for name, row in result['splits'].items():
    rows.append([name])
    for count, key in (('films', 'accuracy'), ('studies', 'study_accuracy')):
      low, high = (f'{100 * share:.1f}' for share in row[f'{key}_ci95'])
      rows[-1] += [str(row[count]), percent(row[key]), f'{low} to {high} %']
    for label, count, recall in zip(
      result['classes'], row['counts'], row['recall'], strict=True
    ):
      if recall is not None:
        rows.append([f'  {label}', str(count), percent(recall)])
    frequent = percent(row['most_frequent'])
    rows.append(['  always the most frequent', '', frequent])
  head = ('films', 'correct', '95 % interval')
  head += ('hands', 'correct', '95 % interval')
  return (
    f'{result["stage"]}: {result["data"]["name"]}; {result["data"]["split"]}\n'
    + text_table.layout(('', *head), rows)
  )
