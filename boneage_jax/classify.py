"""Findings of films instead of ages: their predictions and their report.

A run tells classes apart where `config.data.classes` names them and a net has
`output='classes'`. Films of one hand (a study) vote by their mean probability.
"""

import csv
import os
from typing import Any

import numpy as np

from boneage_jax import data
from boneage_jax import evaluate
from boneage_jax import files
from boneage_jax import metrics
from boneage_jax import processes
from boneage_jax import train_step

SPLITS = ('test', 'validation')
COLUMNS = ('id', 'split', 'study', 'label', 'predicted')


def class_names(config: Any, stage: str) -> list[str]:
  """Name what the net of a stage tells apart: findings, or quarter turns."""
  if config[stage].input.quarter_turns:
    return ['0', '90', '180', '270']
  return list(config.data.classes)


def check(config: Any, stage: str) -> None:
  """Refuse a net of other classes than the run's, or views that mix them."""
  section, names = config[stage], class_names(config, stage)
  turns = section.input.quarter_turns
  if section.net.classes != len(names):
    field = f'{stage}.input.quarter_turns' if turns else 'data.classes'
    raise ValueError(
      f'{stage}.net.classes is {section.net.classes}, but {field} names '
      f'{len(names)}: {", ".join(names) or "none"}.'
    )
  if turns and section.eval_views.flip:
    raise ValueError(
      f'{stage}.eval_views.flip mirrors films, and mirrored a quarter turn is '
      f'three: set --config.{stage}.eval_views.flip=False.'
    )


METRIC, SHOWN = 'error', 'error {:.1%}'  # of `error`


def error(
  outputs: dict[str, np.ndarray], films: dict[str, np.ndarray]
) -> float:
  """Return the share of labelled films with another most probable class."""
  known = films['label'] >= 0
  if not known.any():
    raise ValueError(
      'No validation film has a label, so no checkpoint is the best; raise '
      '--config.data.validation_fraction.'
    )
  wrong = outputs['probability'].argmax(-1) != films['label']
  return float(np.mean(wrong[known]))


def write_predictions(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Any,
  variables: dict[str, Any],
) -> None:
  """Predict validation and test films; the lead writes predictions.csv.

  Its columns: id, split, study, label ('' unknown), predicted, and the
  probability of each class under `p_<class>`.
  """
  mesh, names = train_step.make_mesh(), class_names(config, stage)
  rows = []
  for split in SPLITS:
    part = data.select(films, split)
    films_of = evaluate.Split(config, stage, workdir, part, mesh, final=True)
    outputs = films_of.predict(predict, variables)
    probability = outputs['probability']
    for i, film in enumerate(part['id'].tolist()):
      label = part['label'][i]
      row = [film, split, part['study'][i], names[label] if label >= 0 else '']
      row.append(names[probability[i].argmax()])
      rows.append([*row, *(f'{p:.5f}' for p in probability[i])])

  def write() -> None:
    path = os.path.join(workdir, stage, 'predictions.csv')
    with files.replacing(path) as file:
      writer = csv.writer(file)
      writer.writerow([*COLUMNS, *(f'p_{name}' for name in names)])
      writer.writerows(rows)

  processes.on_lead(write)


def read_predictions(path: str) -> dict[str, Any]:
  """Read what `write_predictions` wrote.

  Returns:
    `classes`, names; id, split, study [N]; label int [N], -1 unknown;
    probability [N, C].
  """
  if not files.exists(path):
    raise ValueError(f'{path} is missing: run the stage that writes it first.')
  with files.reading(path) as file:
    reader = csv.DictReader(file)
    names = [n[2:] for n in reader.fieldnames or () if n.startswith('p_')]
    rows = list(reader)
  if not rows or not names:
    raise ValueError(f'Expected predictions of classes in {path}, got none.')
  index = {name: i for i, name in enumerate(names)}
  return {
    'classes': names,
    'id': np.array([int(row['id']) for row in rows]),
    'split': np.array([row['split'] for row in rows]),
    'study': np.array([int(row['study']) for row in rows]),
    'label': np.array([index.get(row['label'], -1) for row in rows]),
    'probability': np.array(
      [[float(row[f'p_{name}']) for name in names] for row in rows]
    ),
  }


def figures(
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
  samples = metrics.bootstrap_means(values, bootstrap, seed)
  interval = lambda x: np.percentile(x, (2.5, 97.5)).tolist()
  counts = np.bincount(label, minlength=probability.shape[1])
  return {
    'films': len(label),
    'accuracy': float(right.mean()),
    'accuracy_ci95': interval(samples[:, 0] / samples[:, 1]),
    'studies': len(names),
    'study_accuracy': float(agreed.mean()),
    'study_accuracy_ci95': metrics.wilson(int(agreed.sum()), len(names)),
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
    os.path.join(workdir, config[stage].stage, 'predictions.csv')
  )
  builder_config = data.builder_configs(config)[0]
  info = data.build_info(data.prepared_folder(workdir, builder_config))
  _, split = data.split_films(config, workdir, builder_config)
  result: dict[str, Any] = {
    'stage': config[stage].stage,
    'data': {'name': info['name'], 'split': split},
    'classes': rows['classes'],
    'splits': {},
  }
  for name in SPLITS:
    of = rows['split'] == name
    if (rows['label'][of] >= 0).any():
      columns = (rows[key][of] for key in ('label', 'probability', 'study'))
      result['splits'][name] = figures(*columns)
  folder = os.path.join(workdir, 'report')
  files.make_folder(folder)
  files.write_json(os.path.join(folder, 'report.json'), result, indent=1)
  print(table(result), flush=True)


def table(result: dict[str, Any]) -> str:
  """Lay out the figures of a report as text."""
  lines = [
    f'{result["stage"]}: {result["data"]["name"]}; {result["data"]["split"]}',
    f'{"":24} {"films":>7} {"right":>7} {"95 % interval":>18} '
    f'{"hands":>7} {"right":>7} {"95 % interval":>18}',
  ]
  for name, row in result['splits'].items():
    cells = []
    for count, key in (('films', 'accuracy'), ('studies', 'study_accuracy')):
      low, high = (f'{100 * v:.1f}' for v in row[f'{key}_ci95'])
      between = f'{low} to {high} %'
      cells.append(f'{row[count]:7} {100 * row[key]:5.1f} % {between:>18}')
    lines.append(f'{name:24} {" ".join(cells)}')
    for label, recall in enumerate(row['recall']):
      if recall is not None:
        lines.append(
          f'  {result["classes"][label]:22} {row["counts"][label]:7} '
          f'{100 * recall:5.1f} %'
        )
    lines.append(
      f'  always the most frequent {100 * row["most_frequent"]:11.1f} %'
    )
  return '\n'.join(lines)
