"""The `fit_regressors` job: ages by features of several frozen nets (Pan 2020).

Ridge regression, boosted trees and a random forest are fitted with scikit-learn
on the films of the training split; their mean is the age. What is kept are
arrays, with which new films are read without that library. A killed job starts
over and ends with the same files.
"""

import importlib.util
from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_features
from boneage_jax.data import selection
from boneage_jax.models import forest
from boneage_jax.models import regressors
from boneage_jax.runs import predictions
from boneage_jax.training import validate

HELD_OUT = ('validation', 'test')
COUNTS = (
  'boosting.trees',
  'boosting.depth',
  'random_forest.trees',
  'random_forest.leaf',
)
SHARES = ('boosting.rate', 'boosting.films', 'boosting.features')
SHARES += ('random_forest.features',)
# How films were seen, which the stage says as those that wrote the features.
SAME = (
  'builder_config',
  'crops_from',
  'regions',
  'orientation_from',
  'polarity',
)


def fit_regressors(config: Any, stage: str, workdir: str) -> None:
  """Fit the regressors; write regressors.npz and .json, and predictions.csv."""
  films = selection.stage_films(config, stage, workdir)
  joined = regressors.join(
    [
      _features(stages.path(workdir, name), films)
      for name in config[stage].features_from
    ],
    films['sex'],
  )
  train = films['split'] == 'train'
  seed = config.seed + config[stage].seed
  arrays = fit(joined[train], films['age'][train], config[stage], seed)
  path = stages.Stage(config, stage, workdir).path
  storage.make_folder(stages.path(workdir, stage))
  with storage.replacing(path(stages.REGRESSORS), 'wb') as file:
    np.savez_compressed(file, **arrays)
  held_out = np.isin(films['split'], HELD_OUT)
  rows = {n: films[n][held_out] for n in ('id', 'split', 'sex', 'age')}
  ages = regressors.predict(arrays, joined[held_out])
  errors = {
    split: {
      name: float(np.mean(np.abs(found - rows['age'])[rows['split'] == split]))
      for name, found in ages.items()
    }
    for split in HELD_OUT
    if split in rows['split']
  }
  for split, found in errors.items():
    said = ', '.join(f'{name} {mae:.2f}' for name, mae in found.items())
    print(f'{stage}: MAE in months on {split}: {said}.', flush=True)
  storage.write_json(path(stages.REGRESSORS_JSON), errors, indent=1)
  rows['prediction'] = ages[regressors.MEAN]
  predictions.write_predictions(stages.path(workdir, stage), rows)
  done = {'films': int(train.sum()), 'numbers': joined.shape[1]}
  storage.write_json(path(stages.DONE), done)


def fit(
  joined: np.ndarray, ages: np.ndarray, section: Any, seed: int
) -> dict[str, np.ndarray]:
  """Fit the three; return what `regressors.predict` takes.

  Args:
    joined: of `regressors.join`, [N, D].
    ages: months [N].
    section: of the stage: `ridge`, `boosting`, `random_forest`.
    seed: of what trees draw.
  """
  centre, scale = joined.mean(0), joined.std(0)
  scale = np.where(scale > 1e-6, scale, 1).astype(np.float32)
  numbers = (joined - centre) / scale
  kept = keep(fit_estimators(numbers, ages, section, seed))
  return {'centre': centre, 'scale': scale, **kept}


def fit_estimators(
  numbers: np.ndarray, ages: np.ndarray, section: Any, seed: int
) -> dict[str, Any]:
  """Return scikit-learn's, fitted, by `regressors.NAMES`; as of `fit`."""
  from sklearn import ensemble
  from sklearn import linear_model

  of_boosting, of_forest = section.boosting, section.random_forest
  return {
    'ridge': linear_model.RidgeCV(alphas=tuple(section.ridge.penalties)).fit(
      numbers.astype(np.float64), ages
    ),
    'boosting': ensemble.GradientBoostingRegressor(
      n_estimators=of_boosting.trees,
      max_depth=of_boosting.depth,
      learning_rate=of_boosting.rate,
      subsample=of_boosting.films,
      max_features=of_boosting.features,
      random_state=seed,
    ).fit(numbers, ages),
    'forest': ensemble.RandomForestRegressor(
      n_estimators=of_forest.trees,
      min_samples_leaf=of_forest.leaf,
      max_features=of_forest.features,
      random_state=seed,
    ).fit(numbers, ages),
  }


def keep(fitted: dict[str, Any]) -> dict[str, np.ndarray]:
  """Return the arrays of fitted estimators, for `regressors.predict`."""
  ridge, boosting, grown = (fitted[name] for name in regressors.NAMES)
  arrays = {
    'ridge_coef': ridge.coef_,
    'ridge_intercept': ridge.intercept_,
    'boosting_start': boosting.init_.constant_.ravel()[0],
    'boosting_rate': boosting.learning_rate,
  }
  kinds = {
    'boosting': boosting.estimators_[:, 0],
    'forest': grown.estimators_,
  }
  for name, estimators in kinds.items():
    made = trees([one.tree_ for one in estimators])
    arrays |= {f'{name}_{key}': value for key, value in made.items()}
    arrays[f'{name}_depth'] = max(one.tree_.max_depth for one in estimators)
  return {name: np.asarray(value) for name, value in arrays.items()}


def trees(fitted: list[Any]) -> dict[str, np.ndarray]:
  """Return scikit-learn's trees as arrays of `forest.TREES`.

  A row goes right there if its number, float32, is above a threshold of double
  precision: so it is above the next float32 that is not larger.
  """
  most = max(tree.node_count for tree in fitted)
  shape = len(fitted), most
  feature, child = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
  threshold, value = np.zeros(shape, np.float32), np.zeros(shape)
  for t, tree in enumerate(fitted):
    order, leaf = [0], 0
    for node, old in enumerate(order):  # which grows: children beside another
      left, right = tree.children_left[old], tree.children_right[old]
      if left < 0:
        value[t, leaf] = tree.value[old, 0, 0]
        child[t, node] = -1 - leaf
        leaf += 1
        continue
      feature[t, node] = tree.feature[old]
      threshold[t, node] = _not_above(tree.threshold[old])
      child[t, node] = len(order)
      order += [left, right]
  return dict(
    zip(forest.TREES, (feature, threshold, child, value), strict=True)
  )


def _not_above(threshold: float) -> np.float32:
  """Return the largest float32 that is not above a number."""
  near = np.float32(threshold)
  return np.nextafter(near, np.float32(-np.inf)) if near > threshold else near


def _features(folder: str, films: dict[str, np.ndarray]) -> np.ndarray:
  source = film_features.source(folder, films)
  return np.stack([source[k]['features'] for k in range(len(films['id']))])


def check(stage: stages.Stage) -> None:
  """Check a stage of this job.

  Raises:
    ValueError: scikit-learn is missing, a setting that cannot be, or features
      of films that the stage would see otherwise.
  """
  section, name = stage.section, stage.name
  if importlib.util.find_spec('sklearn') is None:
    raise ValueError(
      f'Expected scikit-learn, which {name} fits its regressors with, found '
      "none: pip install -e '.[landmarks]'."
    )
  validate.check_input(section.input, f'{name}.input')
  value = lambda field: section[field.split('.')[0]][field.split('.')[1]]
  for field in COUNTS:
    if value(field) < 1:
      raise ValueError(
        f'Expected {name}.{field} of 1 or more, got {value(field)}: change '
        f'--config.{name}.{field}.'
      )
  for field in SHARES:
    if not 0 < value(field) <= 1:
      raise ValueError(
        f'Expected {name}.{field} above 0 and up to 1, got {value(field)}: '
        f'change --config.{name}.{field}.'
      )
  if not section.ridge.penalties or min(section.ridge.penalties) <= 0:
    raise ValueError(
      f'Expected {name}.ridge.penalties above 0, got '
      f'{tuple(section.ridge.penalties)}: change '
      f'--config.{name}.ridge.penalties.'
    )
  if not section.features_from:
    raise ValueError(
      f'Expected {name}.features_from to name stages that compute features, '
      f'got none: set --config.{name}.features_from.'
    )
  for other in section.features_from:
    for field in SAME:
      ours, theirs = section.input[field], stage.config[other].input[field]
      if ours != theirs:
        raise ValueError(
          f'Expected {name}.input.{field}={theirs!r}, as {other} reads films, '
          f'got {ours!r}: set both alike.'
        )
