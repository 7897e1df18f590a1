"""Slices of a batch, one after the other, give the update of the whole."""

import jax
from jax import numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest
import tiny_cascade

from boneage_jax.core import distributed
from boneage_jax.data import input_pipeline
from boneage_jax.training import accumulation
from boneage_jax.training import step as train_step
from boneage_jax.training.losses import age as age_losses
from configs import common

SIZE, FILMS = 32, 16


def squares(params, stats, batch, key, count):
  """Least squares, with statistics that move half-way to the mean."""
  error = (params * batch['x'] - batch['y']) * batch['valid']
  draw = jax.random.uniform(key)
  stats = 0.5 * stats + 0.5 * jnp.mean(batch['x'])
  scalars = {'bias': jnp.sum(error) / count, 'draw': draw}
  return jnp.sum(error**2) / count, (stats, scalars)


def numbers(films=6, valid=6):
  rng = np.random.default_rng(0)
  return {
    'x': np.arange(films, dtype=np.float32),
    'y': rng.normal(size=films).astype(np.float32),
    'valid': (np.arange(films) < valid).astype(np.float32),
  }


def slice_by_slice(batch, slices=3, params=2.0, stats=0.0):
  gradient = accumulation.value_and_grad(squares, slices)
  key, count = jax.random.key(0), jnp.float32(batch['valid'].sum())
  return gradient(jnp.float32(params), jnp.float32(stats), batch, key, count)


@pytest.mark.parametrize('valid', [6, 4])
def test_loss_and_gradient_are_means_over_all_films(valid):
  batch = numbers(valid=valid)
  (value, (_, scalars)), gradient = slice_by_slice(batch)
  x, y = batch['x'][:valid], batch['y'][:valid]
  assert float(value) == pytest.approx(np.mean((2 * x - y) ** 2), rel=1e-5)
  assert float(gradient) == pytest.approx(
    np.mean(2 * (2 * x - y) * x), rel=1e-5
  )
  assert float(scalars['bias']) == pytest.approx(np.mean(2 * x - y), rel=1e-5)


def test_statistics_go_from_slice_to_slice():
  (_, (stats, _)), _ = slice_by_slice(numbers())
  expected = 0.0
  for mean in (1.5, 2.5, 3.5):  # of films 0 and 3, 1 and 4, 2 and 5
    expected = 0.5 * expected + 0.5 * mean
  assert float(stats) == pytest.approx(expected)


def test_each_slice_draws_for_itself():
  drawn = [
    float(slice_by_slice(numbers(), slices)[0][1][1]['draw'])
    for slices in (1, 2, 3)
  ]
  assert len(set(drawn)) == 3


def test_films_stay_on_their_devices():
  mesh = distributed.make_mesh()
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  batch = jax.device_put(numbers(films=4 * 6), sharding)
  step = jax.jit(lambda batch: slice_by_slice(batch)[1])
  text = step.lower(batch).compile().as_text()
  assert 'all-reduce' in text  # of the gradient
  for moving in ('all-gather', 'all-to-all', 'collective-permute'):
    assert moving not in text


@pytest.mark.parametrize('slices', [0, -2, 3, 8])
def test_slices_that_cannot_be_are_refused(slices):
  section = ConfigDict(common.train_stage(batch_size=16, accumulate=slices))
  message = (
    rf'net\.accumulate of 1 .* net\.batch_size=16 evenly on 4 .*, got {slices}:'
  )
  with pytest.raises(ValueError, match=message):
    accumulation.check(section, 'net')
  for good in (1, 2, 4):
    section.accumulate = good
    accumulation.check(section, 'net')
  with pytest.raises(ValueError, match=r'that 5 slices share .* got 16 films'):
    accumulation.cut(jnp.zeros(16), 5)


@pytest.mark.ci
def test_updates_of_a_net_are_those_of_the_whole_batch():
  net = ConfigDict(tiny_cascade.get_config().localizer.net)
  mesh, rule = distributed.make_mesh(), optax.sgd(1e-3)
  graph, _, _ = train_step.abstract_net(net, SIZE)
  updated = []
  for slices in (1, 4):
    state = train_step.create_state(net, SIZE, 0, rule, 0.5, mesh)
    before = jax.device_get(state.params)
    step = train_step.make_train_step(
      graph,
      age_losses.LOSSES['label_distribution'],
      rule,
      ema=0.5,
      seed=0,
      freeze_statistics=True,
      mesh=mesh,
      slices=slices,
    )
    for seed in range(2):
      rng = np.random.default_rng(seed)
      shape = (FILMS, SIZE, SIZE, 1)
      batch = {
        'image': rng.integers(0, 256, shape, dtype=np.uint8),
        'sex': rng.choice([-1, 1], FILMS).astype(np.float32),
        'age': rng.uniform(1, 228, FILMS).astype(np.float32),
        'valid': np.ones(FILMS, np.float32),
      }
      state, scalars = step(state, input_pipeline.to_device(batch, mesh))
    assert int(state.step) == 2
    moved = [
      jax.tree.map(np.subtract, jax.device_get(tree), before)
      for tree in (state.params, state.ema)
    ]
    updated.append((jax.device_get(scalars), *moved))
  for name, whole, slow in zip(
    ('scalars', 'update', 'average'), *updated, strict=True
  ):
    for x, y in zip(jax.tree.leaves(whole), jax.tree.leaves(slow), strict=True):
      scale = np.abs(x).max()
      assert scale > 0
      np.testing.assert_allclose(y, x, 1e-3, 1e-3 * scale, err_msg=name)
