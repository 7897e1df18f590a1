"""Schedules, weight decay, clipping and frozen parameters."""

import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from boneage_jax.training import optimizers
from configs import common

STEPS = 100


def config(**changes):
  return ConfigDict(common.optimizer(**changes))


def rates(steps=STEPS, **changes):
  rate = optimizers.schedule(config(**changes), steps)
  return np.array([rate(t) for t in range(steps + 1)])


def params():
  return {
    'backbone': {'stem': {'kernel': jnp.ones((2, 3)), 'bias': jnp.ones(3)}},
    'age_head': {'fc': {'kernel': jnp.ones((3, 2)), 'bias': jnp.ones(2)}},
  }


def update(tree, steps=1, gradient=1.0, **changes):
  rule, _ = optimizers.create(config(**changes), tree, STEPS)
  state = rule.init(tree)
  for _ in range(steps):
    grads = jax.tree.map(lambda p: jnp.full_like(p, gradient), tree)
    updates, state = rule.update(grads, state, tree)
    tree = optax.apply_updates(tree, updates)
  return tree


def test_constant():
  assert set(rates(learning_rate=0.5)) == {0.5}


def test_inverse_halves_the_rate_after_5000_updates():
  settings = config(learning_rate=0.002, schedule='inverse', lr_decay=0.0002)
  rate = optimizers.schedule(settings, 10)
  assert float(rate(0)) == pytest.approx(0.002)
  assert float(rate(5000)) == pytest.approx(0.001)


def test_cosine_ends_at_zero():
  found = rates(learning_rate=0.5, schedule='cosine')
  expected = 0.25 * (1 + np.cos(np.pi * np.arange(STEPS + 1) / STEPS))
  np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize('schedule', ['constant', 'cosine', 'inverse'])
def test_warmup_rises_from_zero_to_the_rate(schedule):
  found = rates(learning_rate=0.5, schedule=schedule, warmup=0.1, lr_decay=0.01)
  np.testing.assert_allclose(found[:11], np.arange(11) / 20, atol=1e-6)
  assert (found[11:] <= 0.5).all()
  if schedule == 'cosine':
    assert found[-1] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize('warmup', [0.0, 0.1])
def test_steps_multiply_at_the_boundaries(warmup):
  found = rates(
    learning_rate=0.3,
    schedule='steps',
    boundaries=(0.5, 0.8),
    lr_factors=(1 / 3, 0.1),
    warmup=warmup,
  )
  for at, expected in ((20, 0.3), (49, 0.3), (51, 0.1), (79, 0.1), (81, 0.01)):
    assert found[at] == pytest.approx(expected), at


def test_boundaries_on_one_step_multiply_by_all_their_factors():
  found = rates(
    steps=4,
    learning_rate=8.0,
    schedule='steps',
    boundaries=(0.5, 0.55, 0.9),
    lr_factors=(0.5, 0.25, 0.1),
  )
  np.testing.assert_allclose(found, [8, 8, 1, 1, 0.1], rtol=1e-6)
  short = rates(  # of so few steps that all fall on the first
    steps=1,
    learning_rate=1.0,
    schedule='steps',
    boundaries=(0.1, 0.2, 0.3),
    lr_factors=(0.1, 0.1, 0.1),
  )
  np.testing.assert_allclose(short, 1e-3, rtol=1e-6)


def test_first_step_of_adam_is_the_rate():
  for leaf in jax.tree.leaves(update(params(), learning_rate=0.25)):
    np.testing.assert_allclose(leaf, 0.75, rtol=1e-4)


@pytest.mark.parametrize('name', ['adamw', 'sgd'])
@pytest.mark.parametrize('on', ['kernels', 'all'])
def test_weight_decay_is_on_kernels_or_on_all(name, on):
  # Without a gradient only the decay moves anything.
  new = update(
    params(),
    gradient=0.0,
    name=name,
    learning_rate=0.5,
    weight_decay=0.1,
    weight_decay_on=on,
  )
  expected = 1 - 0.5 * 0.1
  for layer in (new['backbone']['stem'], new['age_head']['fc']):
    np.testing.assert_allclose(layer['kernel'], expected, rtol=1e-5)
    bias = expected if on == 'all' else 1.0
    np.testing.assert_allclose(layer['bias'], bias, rtol=1e-5)


@pytest.mark.parametrize('nesterov', [False, True])
def test_sgd_is_pytorchs(nesterov):
  """`torch.optim.SGD` written out: decay joins the gradient, then momentum."""
  settings = dict(learning_rate=0.2, b1=0.9, weight_decay=0.3)
  rng = np.random.default_rng(0)
  start, gradients = rng.normal(size=(2, 3)), rng.normal(size=(3, 2, 3))
  tree = {'a': jnp.asarray(start, jnp.float32)}
  rule, _ = optimizers.create(
    config(name='sgd', nesterov=nesterov, weight_decay_on='all', **settings),
    tree,
    STEPS,
  )
  state, weights, velocity = rule.init(tree), start, 0.0
  for gradient in gradients:
    updates, state = rule.update({'a': jnp.asarray(gradient)}, state, tree)
    tree = optax.apply_updates(tree, updates)
    decayed = gradient + 0.3 * weights
    velocity = 0.9 * velocity + decayed
    step = decayed + 0.9 * velocity if nesterov else velocity
    weights = weights - 0.2 * step
    np.testing.assert_allclose(tree['a'], weights, rtol=2e-5)


@pytest.mark.parametrize('eps', [1e-8, 1e-2, 1.0])
def test_eps_of_adam_is_the_configs(eps):
  tree = {'a': jnp.zeros(1)}
  new = update(tree, gradient=0.02, learning_rate=1.0, eps=eps)
  np.testing.assert_allclose(new['a'], -0.02 / (0.02 + eps), rtol=1e-5)


def test_clip_is_on_the_global_norm():
  tree = {'a': jnp.zeros(16), 'b': jnp.zeros(9)}
  new = update(tree, name='sgd', learning_rate=1.0, b1=0.0, grad_clip_norm=1.0)
  for leaf in jax.tree.leaves(new):
    np.testing.assert_allclose(leaf, -1 / 5, rtol=1e-5)


@pytest.mark.parametrize('name', ['adam', 'adamw', 'sgd'])
def test_frozen_parameters_do_not_move(name):
  before = params()
  after = update(
    before,
    3,
    name=name,
    freeze='^backbone/',
    weight_decay=0.1 if name != 'adam' else 0.0,
    grad_clip_norm=1.0,
  )
  for a, b in zip(
    jax.tree.leaves(before['backbone']),
    jax.tree.leaves(after['backbone']),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)
  for leaf in jax.tree.leaves(after['age_head']):
    assert (leaf != 1).all()


def test_rmsprop_is_that_of_keras():
  tree, rate, eps = {'kernel': jnp.ones((2, 2))}, 0.01, 1e-3
  found = update(tree, 3, 0.5, name='rmsprop', learning_rate=rate, eps=eps)
  value, square = 1.0, 0.0
  for _ in range(3):
    square = 0.9 * square + 0.1 * 0.5**2
    value -= rate * 0.5 / np.sqrt(square + eps)
  np.testing.assert_allclose(found['kernel'], value, rtol=1e-5)


@pytest.mark.parametrize('name', ['adamw', 'sgd'])
def test_rates_are_factors_of_the_first_that_matches(name):
  rates = [['stem/bias', 0.5], ['^backbone/', 0.1]]  # as config.json has them
  settings = dict(name=name, learning_rate=0.25, weight_decay=0.3)
  moved = [
    jax.tree.map(
      lambda new, old: np.asarray(new - old),
      update(params(), **settings, **changes),
      params(),
    )
    for changes in ({}, {'rates': rates})
  ]
  for path, factor in (
    ('backbone/stem/kernel', 0.1),
    ('backbone/stem/bias', 0.5),
    ('age_head/fc/kernel', 1.0),
  ):
    section, layer, weight = path.split('/')
    before, after = (tree[section][layer][weight] for tree in moved)
    assert np.abs(before).min() > 0.1
    np.testing.assert_allclose(after, factor * before, rtol=1e-4)


def test_rates_leave_frozen_parameters_frozen():
  new = update(params(), rates=(('.', 2.0),), freeze='^backbone/')
  for leaf in jax.tree.leaves(new['backbone']):
    np.testing.assert_array_equal(leaf, 1)


def test_the_rate_that_is_logged_is_the_schedule():
  _, rate = optimizers.create(
    config(schedule='cosine', learning_rate=0.5), params(), STEPS
  )
  assert float(rate(STEPS // 2)) == pytest.approx(0.25)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'name': 'adamax'},
      "'adamax' is unknown; choose 'adam', 'adamw', 'sgd' or",
    ),
    ({'schedule': 'linear'}, "'linear' is unknown; choose 'constant'"),
    ({'freeze': 'encoder'}, "'encoder' matches no parameter; paths look like"),
    ({'freeze': '.'}, 'matches every parameter'),
    ({'rates': (('deform', 0.1),)}, "'deform' matches no parameter; paths"),
    ({'rates': (('stem', 0.0),)}, 'a factor above 0'),
    ({'rates': ('stem', 0.1)}, 'pairs of a regex and a factor'),
    ({'weight_decay_on': 'biases'}, "'biases' is unknown; choose 'kernels' or"),
    ({'name': 'adam', 'weight_decay': 0.1}, "name='adam' has no weight decay"),
    (
      {'schedule': 'steps', 'boundaries': (0.5,), 'lr_factors': ()},
      'Expected one factor for each boundary',
    ),
  ],
)
def test_wrong_settings_are_errors(changes, message):
  with pytest.raises(ValueError, match=message):
    optimizers.create(config(**changes), params(), STEPS)
