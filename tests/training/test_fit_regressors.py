"""Regressors kept as arrays say what scikit-learn's own do."""

from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.core import stages
from boneage_jax.models import forest
from boneage_jax.models import regressors
from boneage_jax.training import fit_regressors
from configs import pan


def section():
  made = ConfigDict(pan.get_config('phantom').regressors.to_dict())
  made.boosting.update(trees=40, features=0.5)
  made.random_forest.update(trees=30, features=0.5)
  return made


def films(seed=0, count=120):
  rng = np.random.default_rng(seed)
  # float16 as features are, so that many numbers fall together.
  features = [
    np.float16(rng.normal(size=(count, 2, 3, width))) for width in (5, 4)
  ]
  sex = rng.choice([-1.0, 0.0, 1.0], count)
  joined = regressors.join(features, sex)
  ages = 120 + 40 * joined[:, 0] + 9 * joined[:, 6] ** 2 + 12 * sex
  return features, sex, joined, ages + rng.normal(0, 3, count)


def test_numbers_of_nets_are_averaged_over_places_and_joined():
  features, sex, joined, _ = films()
  assert joined.dtype == np.float32 and joined.shape == (120, 10)
  wanted = [one.astype(np.float64).mean((1, 2)) for one in features]
  wanted = np.concatenate([*wanted, sex[:, None]], 1)
  np.testing.assert_allclose(joined, wanted, atol=1e-6)


def test_arrays_say_what_scikit_learn_does():
  pytest.importorskip('sklearn', reason='scikit-learn is not installed')
  *_, joined, ages = films()
  options = section()
  arrays = fit_regressors.fit(joined, ages, options, 3)
  numbers = (joined - arrays['centre']) / arrays['scale']
  np.testing.assert_allclose(numbers.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(numbers.std(0), 1, rtol=1e-4)
  theirs = fit_regressors.fit_estimators(numbers, ages, options, 3)
  # Rows on thresholds, too: each of those of the first trees for its number.
  *_, others, _ = films(seed=1)
  rows = [numbers, (others - arrays['centre']) / arrays['scale']]
  for tree in (one.tree_ for one in theirs['forest'].estimators_[:3]):
    for node in np.flatnonzero(tree.children_left >= 0):
      row = numbers[node % len(numbers)].copy()
      row[tree.feature[node]] = tree.threshold[node]
      rows.append(row[None])
  rows = np.concatenate(rows).astype(np.float32)
  # As they are told apart: not centred anew.
  plain = arrays | {
    'centre': np.zeros(10, np.float32),
    'scale': np.ones(10, np.float32),
  }
  found = regressors.predict(plain, rows)
  for name, model in theirs.items():
    wanted = model.predict(rows.astype(np.float64) if name == 'ridge' else rows)
    np.testing.assert_allclose(found[name], wanted, atol=1e-6, rtol=0)
    assert np.std(wanted) > 10
  mean = np.mean([found[name] for name in regressors.NAMES], axis=0)
  np.testing.assert_array_equal(found[regressors.MEAN], mean)


def test_a_tree_goes_right_above_its_threshold_alone():
  """Two splits: number 1 at 0.5, then number 0 at -1 on its right."""
  arrays = {
    'feature': np.array([[1, 0, 0, 0, 0]]),
    'threshold': np.array([[0.5, 0, -1, 0, 0]], np.float32),
    'child': np.array([[1, -1, 3, -2, -3]]),
    'value': np.array([[7.0, 8.0, 9.0, 0, 0]]),
  }
  above = np.nextafter(np.float32(0.5), np.float32(1))
  rows = np.array([[5, 0.5], [-1, above], [-0.5, 2]], np.float32)
  found = forest.values(arrays, rows, depth=2)
  assert found.tolist() == [[7.0], [8.0], [9.0]]


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('boosting.trees', 0, r'--config\.regressors\.boosting\.trees'),
    (
      'random_forest.features',
      1.5,
      r'random_forest\.features above 0 and up to 1, got 1\.5',
    ),
    ('ridge.penalties', (), r'ridge\.penalties above 0'),
    ('features_from', (), r'--config\.regressors\.features_from'),
    ('input.polarity', 'invert', r"polarity='keep', as features_inception_v3"),
  ],
)
def test_what_cannot_be_fitted_is_refused(monkeypatch, field, value, message):
  find = fit_regressors.importlib.util.find_spec
  there = lambda name: name == 'sklearn' or find(name)
  monkeypatch.setattr(fit_regressors.importlib.util, 'find_spec', there)
  config = pan.get_config('phantom').unlock()
  stage = stages.Stage(config, 'regressors', '/nowhere')
  fit_regressors.check(stage)
  config.regressors.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=message):
    fit_regressors.check(stage)


def test_without_scikit_learn_the_remedy_is_said(monkeypatch):
  monkeypatch.setattr(
    fit_regressors.importlib.util, 'find_spec', lambda name: None
  )
  stage = stages.Stage(pan.get_config('phantom'), 'regressors', '/nowhere')
  with pytest.raises(ValueError, match=r"pip install -e '\.\[landmarks\]'"):
    fit_regressors.check(stage)
