"""Cross-validation: what the folds of a run found and predicted, joined.

Every film that is no test film is predicted once, by the fold that was not
trained on it; test films by all folds, averaged. With
`checkpoint_selection='last'` a fold's validation films have no part in its net.
What nets without bins scale ages by (`models/heads.py`) are figures of the
whole RSNA training set.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from boneage_jax.core import ids
from boneage_jax.core import stages
from boneage_jax.data import groups
from boneage_jax.data import selection
from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import ensemble
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import text_table
from boneage_jax.runs import lineage
from boneage_jax.runs import located as located_lib
from boneage_jax.runs import predictions
from boneage_jax.runs import run as run_lib


def join_folds(config: Any, stage: str, workdir: str) -> dict[str, Any]:
  """Join the predictions of a stage and write them to its folder.

  Writes predictions.csv, distributions.npz where the net has bins, and
  ensemble.json: a folder that every command on finished runs reads.

  Args:
    config: of all folds.
    stage: that every fold has trained.
    workdir: of all folds.

  Returns:
    The content of ensemble.json: data, films (split -> n), splits (split ->
    figures of the joined predictions) and members: run, folder, and under each
    split the figures of the fold.

  Raises:
    ValueError: a fold has no predictions, or other films than its own.
  """
  members = [
    run_lib.read_run(stages.fold_folder(workdir, fold), stage)
    for fold in range(config.data.folds)
  ]
  has_test = any('test' in member.rows['split'] for member in members)
  parts = [_test_films(members, workdir)] if has_test else []
  for member in members:
    of = member.rows['split'] == 'validation'
    part = {name: column[of] for name, column in member.rows.items()}
    probability = run_lib.distributions(member, part['id'])
    with_bins = {} if probability is None else {'probability': probability}
    extra = predictions.read_extra(member.folder, part['id'])
    parts.append(part | with_bins | {'extra': extra})
  rows = jax.tree.map(lambda *columns: np.concatenate(columns), *parts)
  film, test = rows['id'].tolist(), rows['split'] == 'test'
  order = sorted(
    range(len(film)), key=lambda k: (test[k], ids.sort_key(film[k]))
  )
  rows = jax.tree.map(lambda column: column[order], rows)
  builder_config = stages.builder_configs(config)[0]
  films, description = selection.split_films(config, workdir, builder_config)
  films = selection.of_sex(films, config[stage])
  for split in splits_lib.HELD_OUT:
    given = np.sort(rows['id'][rows['split'] == split])
    expected = np.sort(films['id'][films['split'] == split])
    if not np.array_equal(given, expected):
      wrong = np.setxor1d(given, expected).tolist()
      wrong.sort(key=ids.sort_key)
      raise ValueError(
        f'Expected the folds of {workdir} to predict each of {len(expected)} '
        f'{split} films once, got {len(given)} predictions; films lost, moved '
        f'or twice: {len(wrong) or "some"}, such as {wrong[:5]}. The data were '
        f'prepared anew since: remove fold_<k>/{stage} and run again.'
      )
  result = {
    'data': members[0].data | {'split': description},
    'films': {
      name: int(np.sum(rows['split'] == name)) for name in splits_lib.HELD_OUT
    },
    'splits': _figures(rows),
    'members': [
      {'run': member.name, 'folder': member.folder, **_figures(member.rows)}
      for member in members
    ],
  }
  ensemble.write_ensemble(stages.path(workdir, stage), result, rows)
  return result


def _test_films(
  members: Sequence[run_lib.Run], workdir: str
) -> dict[str, np.ndarray]:
  """Average the films that all folds predicted: those for test."""
  test = run_lib.align_predictions(members)
  if set(test['split'].flat) - {'test'}:
    raise ValueError(
      f'Expected the folds of {workdir} to share test films alone, got films '
      'that several validated: they are folds of different data.'
    )
  rows = {
    **{name: test[name] for name in ('id', 'sex', 'age')},
    'split': test['split'][0],
    'prediction': test['prediction'].mean(axis=0),
  }
  extra = [
    predictions.read_extra(member.folder, test['id']) for member in members
  ]
  rows['extra'] = jax.tree.map(lambda *told: np.mean(told, axis=0), *extra)
  stored = [run_lib.distributions(member, test['id']) for member in members]
  if stored[0] is not None:
    rows['probability'] = np.mean(stored, axis=0)
  return rows


def splits(config: Any, films: dict[str, np.ndarray]) -> np.ndarray:
  """Return the split of every film in every fold, [folds, N].

  Args:
    config: of the run.
    films: with the split of this run, not that of the archive: which films are
      for test is settled there.
  """
  count = config.data.folds
  folds = range(count)
  return np.stack(
    [splits_lib.fold(films, films['split'], count, fold) for fold in folds]
  )


def sex_medians(config: Any, films: dict[str, np.ndarray]) -> dict[str, float]:
  """Return the median age of the sex by film id, months.

  Of the films that the fold trained on which validates the film; for a test
  film the mean of all folds.
  """
  names = splits(config, films)
  predictions = [
    groups.sex_medians(films['age'], films['sex'], split == 'train')
    for split in names
  ]
  counts = np.where(names == 'train', 0, 1)
  ages = np.sum(counts * predictions, axis=0) / counts.sum(axis=0)
  return dict(zip(films['id'].tolist(), ages.tolist(), strict=True))


def located(
  config: Any, stage: str, workdir: str, films: dict[str, np.ndarray]
) -> tuple[dict, dict[str, Any], dict[str, Any]]:
  """Join what a locate stage of every fold left, see `located.read_located`.

  A film's regions and maps are of the fold that validates it, a test film's of
  the first. Coverage is each fold's own.
  """
  home = np.argmax(splits(config, films) == 'validation', axis=0)
  regions, coverage, heat = {}, {}, {}
  for fold in range(config.data.folds):
    own = set(films['id'][home == fold].tolist())
    found, covered, maps = located_lib.read_located(
      stages.fold_folder(workdir, fold), stage
    )
    regions |= {film: found[film] for film in found if film in own}
    coverage |= {
      f'{split}, fold {fold}': covered[split]
      for split in splits_lib.HELD_OUT
      if covered.get(split)
    }
    shown = {f: m for f, m in maps.get('maps', {}).items() if f in own}
    heat = maps | {'maps': heat.get('maps', {}) | shown}
  return regions, coverage, heat


def folds_table(stage: str, result: dict[str, Any]) -> str:
  """Lay out what `join` returned."""
  head = (stage, 'validation films', 'MAE', 'test films', 'MAE')
  rows = [
    [
      name,
      *text_table.errors(figures['validation'], ('films', 'MAE')),
      *text_table.errors(figures.get('test', {'n': 0}), ('films', 'MAE')),
    ]
    for name, figures in (
      *((str(k), member) for k, member in enumerate(result['members'])),
      ('joined', result['splits']),
    )
  ]
  lines = [lineage.dataset_line(result['data'])]
  if 'test' not in result['splits']:
    lines.append(text_table.NO_TEST)
  return '\n'.join([*lines, text_table.layout(head, rows)])


def _figures(rows: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
  error = rows['prediction'] - rows['age']
  return {
    name: metrics.error_summary(error[rows['split'] == name])
    for name in splits_lib.HELD_OUT
    if name in rows['split']
  }
