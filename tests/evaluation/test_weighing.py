"""Weights of made-up members against a search of all of them."""

import itertools

from ml_collections import ConfigDict
import numpy as np
import pytest
from scipy import optimize

from boneage_jax.core import stages
from boneage_jax.data import splits
from boneage_jax.evaluation import weighing


def _loss(error, weights, loss):
  combined = np.tensordot(weights, error, 1)
  return np.mean(np.abs(combined) if loss == 'mae' else combined**2)


def _grid(members, steps=100):
  """All weights that are multiples of 1 / steps and sum to 1."""
  for cut in itertools.product(range(steps + 1), repeat=members - 1):
    if sum(cut) <= steps:
      yield np.array([*cut, steps - sum(cut)]) / steps


def _errors(case):
  rng = np.random.default_rng(case)
  shared = rng.laplace(0, 6, 300)
  own = rng.normal(0, [[3], [5], [20]], (3, 300))
  bias = {0: 0.0, 1: 0.0, 2: 4.0}[case]
  return shared + own + [[bias], [-bias], [0]]


@pytest.mark.parametrize('loss', ['mae', 'mse'])
@pytest.mark.parametrize('members', [2, 3])
@pytest.mark.parametrize('case', [0, 1, 2])
def test_weights_beat_every_weight_of_a_grid(case, members, loss):
  error = _errors(case)[:members]
  weights = weighing.fit_weights(error, loss)
  assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
  best = min(_grid(members), key=lambda w: _loss(error, w, loss))
  least = _loss(error, best, loss)
  assert _loss(error, weights, loss) <= least + 1e-12
  np.testing.assert_allclose(weights, best, atol=0.03)


def test_weights_of_known_members():
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(2, 20_000)) * [[1], [2]]
  # Independent errors of variance 1 and 4: 4/5 and 1/5.
  np.testing.assert_allclose(
    weighing.fit_weights(noise, 'mse'), [0.8, 0.2], atol=0.02
  )
  good = noise[:1]
  # A member that adds noise to another's errors is left out.
  np.testing.assert_allclose(
    weighing.fit_weights(np.vstack([good, good + noise[1]]), 'mae'),
    [1, 0],
    atol=0.01,
  )
  # Opposite biases cancel.
  shifted = np.vstack([good + 3, good - 1])[:, :5000]
  np.testing.assert_allclose(
    weighing.fit_weights(shifted, 'mae'), [0.25, 0.75], atol=0.02
  )
  with pytest.raises(ValueError, match="got 'rmse'"):
    weighing.fit_weights(good, 'rmse')


@pytest.mark.parametrize('loss', ['mae', 'mse'])
def test_many_members_take_no_grid(loss):
  # A convex loss is least where no exchange of weight improves it.
  rng = np.random.default_rng(3)
  error = rng.normal(0, 4, 400) + rng.normal(0, 8, (18, 400))
  weights = weighing.fit_weights(error, loss)
  base = _loss(error, weights, loss)
  for one, other in itertools.permutations(range(18), 2):
    for most in (1e-4, 0.02):
      moved = weights.copy()
      amount = min(most, moved[one])
      moved[one] -= amount
      moved[other] += amount
      assert _loss(error, moved, loss) >= base - 1e-10


def test_least_absolute_weights_meet_the_optimum_of_the_program_itself():
  rng = np.random.default_rng(7)
  error = rng.laplace(0, 6, 200) + rng.normal(0, 5, (6, 200))
  # min sum(over + under) with w @ error = over - under, films by rows.
  eye, films = np.eye(200), np.zeros(200)
  solved = optimize.linprog(
    np.append(np.zeros(6), np.ones(400)),
    A_eq=np.vstack(
      [
        np.hstack([error.T, -eye, eye]),
        np.append(np.ones(6), np.zeros(400)),
      ]
    ),
    b_eq=np.append(films, 1),
  )
  weights = weighing.fit_weights(error, 'mae')
  np.testing.assert_allclose(weights, solved.x[:6], atol=1e-9)
  assert _loss(error, weights, 'mae') == pytest.approx(solved.fun / 200)


def test_least_square_weights_of_two_members_in_closed_form():
  rng = np.random.default_rng(5)
  for _ in range(50):
    error = rng.normal(
      rng.normal(0, 3, (2, 1)), rng.uniform(1, 9, (2, 1)), (2, 30)
    )
    difference = error[0] - error[1]
    first = np.clip(-error[1] @ difference / (difference @ difference), 0, 1)
    weights = weighing.fit_weights(error, 'mse')
    np.testing.assert_allclose(weights, [first, 1 - first], atol=1e-9)


@pytest.mark.parametrize('loss', ['mae', 'mse'])
@pytest.mark.parametrize('case', ['equal', 'none', 'alone', 'constant'])
def test_ties_end_in_a_corner_that_is_always_the_same(loss, case):
  noise = np.random.default_rng(0).normal(size=(1, 99))
  error = {
    'equal': np.vstack([noise, noise]),
    'none': np.zeros((3, 9)),
    'alone': noise,
    'constant': np.full((3, 4), -2.0),
  }[case]
  weights = weighing.fit_weights(error, loss)
  assert sorted(weights.tolist()) == [0] * (len(error) - 1) + [1]
  np.testing.assert_array_equal(weights, weighing.fit_weights(error, loss))


@pytest.mark.parametrize('way', ['mae', 'mse'])
def test_no_film_has_a_part_in_its_own_weights(way):
  rng = np.random.default_rng(0)
  error = rng.normal(0, [[5], [6], [8]], (3, 80))
  ids, split = (
    np.arange(80).astype(str),
    np.where(np.arange(80) < 20, 'test', 'validation'),
  )
  weights, by_film = weighing.film_weights(error, ids, split, way)
  assert (by_film[:, :20] == weights[:, None]).all()
  np.testing.assert_allclose(by_film.sum(axis=0), 1)
  groups = np.full(80, -1)
  for part in range(weighing.PARTS):
    names = splits.fold({'id': ids}, split, weighing.PARTS, part)
    groups[(names == 'validation') & (split == 'validation')] = part
    own = by_film[:, groups == part]
    assert own.size and (own == own[:, :1]).all()
  assert (groups >= 0).sum() == 60
  moved = error.copy()
  moved[:, 50] = [1000, -2000, 30]
  other, others = weighing.film_weights(moved, ids, split, way)
  same = np.all(others == by_film, axis=0)
  np.testing.assert_array_equal(same, groups == groups[50])
  assert np.abs(other - weights).max() > 0.01


def test_members_of_one_sex_come_in_pairs(tmp_path):
  section = lambda sex: dict(job='train', input=dict(sex=sex))
  stage = lambda *members: stages.Stage(
    ConfigDict(
      dict(
        both=section(''),
        boys=section('M'),
        girls=section('F'),
        all=dict(job='ensemble', members=members, weights='mae'),
      )
    ),
    'all',
    str(tmp_path),
  )
  weighing.check(stage('both', 'boys+girls'))
  for members, sexes in (
    (('both', 'boys'), "'boys' with input.sex 'M'"),
    (('both', 'girls+girls'), "'F', 'F'"),
    (('boys+both', 'both'), "'M', ''"),
  ):
    with pytest.raises(ValueError, match=r'all\.members to be') as refused:
      weighing.check(stage(*members))
    assert sexes in str(refused.value)
