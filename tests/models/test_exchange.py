"""Two streams that exchange channels."""

import copy

import draw
from flax import nnx
import jax
from jax import numpy as jnp
import numpy as np
import pytest
import tiny_nets

from boneage_jax.models import two_stream
from boneage_jax.training import step as train_step


def maps(seed=0, shape=(2, 3, 3, 5)):
  scales = [jnp.tanh(draw.normal(shape[-1:], seed + k)) for k in (2, 3)]
  return [draw.normal(shape, seed), draw.normal(shape, seed + 1), *scales]


def test_exchange_at_the_ends_of_the_threshold():
  a, b, scale_a, scale_b = maps()
  none = two_stream.exchange_channels(a, b, scale_a, scale_b, 0.0)
  whole = two_stream.exchange_channels(a, b, scale_a, scale_b, np.inf)
  np.testing.assert_array_equal(none, (a, b))
  np.testing.assert_array_equal(whole, (b, a))


def test_exchanging_the_whole_twice_is_the_identity():
  a, b, scale_a, scale_b = maps()
  once = two_stream.exchange_channels(a, b, scale_a, scale_b, np.inf)
  twice = two_stream.exchange_channels(*once, scale_b, scale_a, np.inf)
  np.testing.assert_array_equal(twice, (a, b))


def test_only_dead_channels_are_replaced():
  a, b, *_ = maps()
  scale_a = jnp.array([0.0, 1.0, -0.01, -1.0, 0.03])
  scale_b = jnp.array([1.0, 1.0, 1.0, 0.01, 1.0])
  new_a, new_b = two_stream.exchange_channels(a, b, scale_a, scale_b, 0.02)
  for c, (from_b, from_a) in enumerate(
    zip([1, 0, 1, 0, 0], [0, 0, 0, 1, 0], strict=True)
  ):
    np.testing.assert_array_equal(new_a[..., c], (b if from_b else a)[..., c])
    np.testing.assert_array_equal(new_b[..., c], (a if from_a else b)[..., c])


@pytest.mark.parametrize('threshold', [0.0, np.inf])
def test_the_net_at_the_ends_of_the_threshold(threshold):
  batch = tiny_nets.regions()
  net = tiny_nets.streams(exchange='channel', threshold=threshold)
  plain = tiny_nets.streams(exchange='whole' if threshold else 'none')
  for name in ('carpal', 'metacarpal', 'age_head'):
    nnx.update(getattr(plain, name), nnx.state(getattr(net, name)))
  # In evaluation the fresh BatchNorm of 'channel' divides by sqrt(1 + eps).
  np.testing.assert_allclose(
    tiny_nets.output(net, batch), tiny_nets.output(plain, batch), 1e-3
  )
  assert np.ptp(tiny_nets.output(net, batch)) > 0


def test_swapped_heads_undo_the_whole_exchange():
  none = tiny_nets.streams(exchange='none', pool='conv_pool', size=40)
  whole = tiny_nets.streams(exchange='whole', pool='conv_pool', size=40)
  batch = tiny_nets.regions(2, 40)
  nnx.update(whole, nnx.state(none))
  assert not np.allclose(
    tiny_nets.output(whole, batch), tiny_nets.output(none, batch), 1e-3
  )
  swapped = [nnx.state(p) for p in none.pools]
  for pool, state in zip(whole.pools, swapped[::-1], strict=True):
    nnx.update(pool, state)
  kernel = none.age_head.fc.kernel[...]
  n = none.pools[0].out_features
  whole.age_head.fc.kernel[...] = jnp.concatenate(
    [kernel[n : 2 * n], kernel[:n], kernel[2 * n :]]
  )
  np.testing.assert_allclose(
    tiny_nets.output(whole, batch), tiny_nets.output(none, batch), 1e-4
  )


@pytest.mark.parametrize('exchange', two_stream.EXCHANGES)
def test_gradients_reach_both_backbones(exchange):
  wide = tiny_nets.TINY | {'width': 0.25 if exchange == 'mid' else 0.125}
  net = tiny_nets.streams(
    exchange=exchange, mid=('stage1', 'stage1'), metacarpal=wide
  )
  graph, params, stats = train_step.split(net)

  def loss(params):
    net = nnx.merge(graph, params, stats, copy=True)
    net.train()
    return jnp.sum(net(tiny_nets.regions())['age'])

  grads = jax.jit(jax.grad(loss))(params)
  for name in ('carpal', 'metacarpal'):
    first = jax.tree.leaves(grads[name]['stem'])
    assert all(np.isfinite(g).all() for g in first)
    assert max(np.abs(g).max() for g in first) > 0
  if exchange == 'mid':
    leaves = jax.tree.leaves(grads['projections'])
    assert len(leaves) == 4 and all(np.abs(g).max() > 0 for g in leaves)


def test_penalty_is_on_disjoint_halves_of_the_scales():
  net = tiny_nets.streams(exchange='channel', penalty=0.5)
  channels = net.carpal.channels
  scales = np.random.default_rng(0).normal(size=(2, channels))
  for norm, scale in zip(net.norms, scales, strict=True):
    norm.scale[...] = jnp.asarray(scale, jnp.float32)
  maps = dict.fromkeys(two_stream.STREAMS, jnp.zeros((1, 4, 4, channels)))
  inputs = {'sex': jnp.zeros(1)}
  outputs = net.head(maps, inputs)
  half = channels // 2
  first, second = np.abs(scales[0, :half]), np.abs(scales[1, half:])
  expected = 0.5 * (first.sum() + second.sum())
  assert float(outputs['penalty']) == pytest.approx(expected, rel=1e-5)
  assert 'penalty' not in tiny_nets.streams(exchange='whole').head(maps, inputs)


def test_streams_see_their_own_region():
  net = tiny_nets.streams(exchange='none')
  batch = tiny_nets.regions()
  other = copy.deepcopy(batch)
  other['regions'][:, 1] = 0
  net.eval()
  features = nnx.jit(lambda net, x: net.features(x))
  before, after = (features(net, x) for x in (batch, other))
  np.testing.assert_array_equal(before['carpal'], after['carpal'])
  assert not np.allclose(before['metacarpal'], after['metacarpal'])
