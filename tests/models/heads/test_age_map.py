"""Maps of ages: equal to dense nets at the training size (oracle H10)."""

import draw
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_nets

from boneage_jax.models.heads import age as age_head
from boneage_jax.models.heads import age_map


def regression(kind, channels=6, window=(3, 4), **changes):
  options = dict(hidden=5, fc_layers=2, dropout=0.0) | changes
  return age_map.RegressionNet(
    kind, channels, window, dtype=jnp.float32, rngs=nnx.Rngs(0), **options
  )


def dense(layer, x):
  """Run a layer of a net on flat numbers, in NumPy."""
  kernel = np.asarray(layer.kernel[...], np.float64)
  y = x @ kernel.reshape(-1, kernel.shape[-1]) + np.asarray(layer.bias[...])
  return np.maximum(y, 0)


@pytest.mark.parametrize('kind', age_map.POOLS)
def test_every_window_gives_what_the_dense_net_does(kind):
  net = regression(kind)
  rng = np.random.default_rng(0)
  for layer in (net.fc1, net.fc2):
    layer.bias[...] = jnp.asarray(rng.normal(size=5), jnp.float32)
  x = np.asarray(draw.normal((2, 4, 6, 6)), np.float64)
  found = nnx.jit(lambda net, x: net(x))(net, jnp.asarray(x, jnp.float32))
  assert found.shape == (2, 2, 3, 5)
  for i in range(2):
    for j in range(3):
      window = x[:, i : i + 3, j : j + 4]
      flat = window.reshape(2, -1) if kind == 'fc_map' else window.mean((1, 2))
      wanted = dense(net.fc2, dense(net.fc1, flat))
      np.testing.assert_allclose(found[:, i, j], wanted, rtol=1e-4, atol=1e-5)


def test_a_map_that_averages_is_the_net_with_global_averages():
  options = dict(output='standardized', sex_features=8)
  whole = tiny_nets.age_net(pool='gap', **options)
  map_net = tiny_nets.age_net(pool='gap_map', fc_layers=0, **options)
  # Both drew the same parameters.
  batch = {'image': draw.greys((3, 32, 32, 1)), 'sex': jnp.array([1.0, -1, 0])}
  run = nnx.jit(lambda net, batch: net(batch))
  for net in (whole, map_net):
    net.eval()
  wanted, found = run(whole, batch)['age'], run(map_net, batch)
  assert found['age_map'].shape == (3, 1, 1)
  np.testing.assert_allclose(found['age'], wanted, rtol=1e-5)
  assert np.ptp(np.asarray(wanted)) > 0.1


def test_sex_and_months_are_the_heads():
  head = age_head.AgeHead(
    4, output='standardized', sex_features=3, rngs=nnx.Rngs(0)
  )
  z = draw.normal((2, 2, 3, 4))
  sex = jnp.array([1.0, -1.0])
  found = age_map.read(head, z, {'sex': sex})
  assert found['age_map'].shape == (2, 2, 3)
  for i in range(2):
    one = head(z[:, i, 1], {'sex': sex})['age']
    np.testing.assert_allclose(found['age_map'][:, i, 1], one, rtol=1e-5)
  mean = np.asarray(found['age_map']).mean((1, 2))
  np.testing.assert_allclose(found['age'], mean, rtol=1e-5)


def test_what_cannot_be_is_refused():
  with pytest.raises(ValueError, match=r'map has 3 x 4 .* got 2 x 9'):
    regression('gap_map')(jnp.zeros((1, 2, 9, 6)))
  with pytest.raises(ValueError, match='fc_layers to be 1 or more'):
    regression('fc_map', fc_layers=0)
  with pytest.raises(ValueError, match=r"net\.output='bins'"):
    nnx.eval_shape(lambda: tiny_nets.age_net(pool='gap_map', output='bins'))


GOOGLENET = dict(
  name='googlenet', auxiliary=True, width=0.05, endpoint='inception4b'
)


def test_auxiliary_heads_say_an_age_in_training_alone():
  make = lambda: tiny_nets.age_net(
    size=64,
    backbone=GOOGLENET,
    pool='gap_map',
    hidden=8,
    output='standardized',
  )
  net = nnx.eval_shape(make)
  batch = {
    'image': jax.ShapeDtypeStruct((2, 64, 64, 1), jnp.uint8),
    'sex': jax.ShapeDtypeStruct((2,), jnp.float32),
  }
  run = lambda net, batch: net(batch, nnx.Rngs(0))
  net.train()
  trained = nnx.eval_shape(run, net, batch)
  assert set(trained['aux']) == {'aux1'}
  assert trained['aux']['aux1']['age'].shape == (2,)
  net.eval()
  said = set(nnx.eval_shape(run, net, batch))
  assert said == {'age', 'age_map', 'embedding'}
