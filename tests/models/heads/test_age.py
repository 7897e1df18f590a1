"""From a map and sex to an age."""

import draw
from flax import nnx
import jax
from jax import numpy as jnp
import numpy as np
import pytest

from boneage_jax.models.heads import age as age_head


def head(features=6, **changes):
  return age_head.AgeHead(features, rngs=nnx.Rngs(0), **changes)


def test_concatenation_is_the_sum_of_two_linear_maps():
  net = head()
  z = draw.normal((3, 6), 1)
  sex = jnp.array([-1.0, 1.0, 0.0])
  net.image_weight[...], net.sex_weight[...] = jnp.array(0.7), jnp.array(-1.3)
  net.sex.bias[...] = jnp.linspace(-1, 1, 32)
  kernel = np.asarray(net.fc.kernel[...])
  dense = sex[:, None] @ net.sex.kernel[...] + net.sex.bias[...]
  expected = 0.7 * z @ kernel[:6] - 1.3 * dense @ kernel[6:] + net.fc.bias[...]
  np.testing.assert_allclose(
    net(z, {'sex': sex})['logits'], expected, 1e-4, 1e-5
  )


def test_weight_zero_removes_sex():
  net = head()
  z = jnp.ones((2, 6))
  sex = jnp.array([-1.0, 1.0])
  assert np.ptp(net(z, {'sex': sex})['age']) > 0
  net.sex_weight[...] = jnp.array(0.0)
  assert np.ptp(net(z, {'sex': sex})['age']) == 0
  assert np.ptp(head(sex_features=0)(z, {})['age']) == 0


def test_unknown_sex_is_exactly_between():
  inputs = {'sex': jnp.array([-1.0, 0.0, 1.0])}
  logits = head()(jnp.ones((3, 6)), inputs)['logits']
  np.testing.assert_allclose(
    logits[1], (logits[0] + logits[2]) / 2, rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('output', ['scalar', 'standardized'])
def test_scalar_head_starts_at_the_mean_age(output):
  net = head(output=output, sex_features=0)
  outputs = net(jnp.zeros((2, 6)), {})
  np.testing.assert_allclose(outputs['age'], 127.3, rtol=1e-6)
  assert set(outputs) == {'age'}


def test_standardized_head_counts_in_deviations():
  net = head(output='standardized')
  z, sex = draw.normal((4, 6)), jnp.ones(4)
  kernel = np.asarray(net.fc.kernel[...])
  e = np.asarray(net.sex(jnp.ones((4, 1))))
  expected = 127.3 + 41.2 * (np.concatenate([z, e], -1) @ kernel)[:, 0]
  np.testing.assert_allclose(net(z, {'sex': sex})['age'], expected, 1e-5)
  # A map's mean is the age, but for the sex.
  map_ = draw.normal((2, 3, 5, 6), 1)
  age = head(output='standardized', sex_features=0)
  np.testing.assert_allclose(
    age.maps(map_).mean((1, 2))[:, 0],
    age(map_.mean((1, 2)), {})['age'],
    1e-5,
  )


def test_a_joint_layer_lets_features_depend_on_the_sex():
  net = head(output='standardized', joint_features=5, dropout=0.5)
  z, sex = draw.normal((4, 6)), jnp.array([1.0, -1.0, 1.0, 0.0])
  seen = np.concatenate([z, net.sex(sex[:, None])], -1)
  joint, last = (np.asarray(n.kernel[...]) for n in (net.joint, net.fc))
  hidden = np.maximum(seen @ joint, 0)
  expected = 127.3 + 41.2 * (hidden @ last)[:, 0]
  net.eval()
  np.testing.assert_allclose(net(z, {'sex': sex})['age'], expected, 1e-5)
  # Dropout lies behind the layer: of one that says nothing, nothing is left.
  net.joint.kernel[...] = jnp.zeros((38, 5))
  net.joint.bias[...] = jnp.ones(5)
  net.train()
  rngs = nnx.Rngs(dropout=0)
  ages = np.asarray(net(jnp.zeros((99, 6)), {'sex': jnp.ones(99)}, rngs)['age'])
  sums = np.unique(np.round((ages - 127.3) / 41.2, 4))
  assert 6 < len(sums) <= 2**5


def test_unit_head_goes_from_birth_to_240_months():
  net = head(output='unit', sex_features=0)
  net.fc.kernel[...] = jnp.eye(6, 1)
  ages = net(jnp.array([[-1.0], [0.0], [0.25], [1.0]]) * jnp.eye(1, 6), {})
  np.testing.assert_allclose(ages['age'], [0, 120, 150, 240])


def test_mlp_pool_is_two_hidden_layers_with_dropout_in_training_only():
  options = {'dtype': jnp.float32, 'rngs': nnx.Rngs(0)}
  net = age_head.pool('mlp', 3, (2, 1), hidden=5, dropout=0.5, **options)
  x = draw.normal((2, 2, 1, 3))
  net.eval()
  z = np.asarray(x, np.float64).reshape(2, 6)
  for layer in (net.fc1, net.fc2):
    z = z @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
    z = np.where(z > 0, z, np.expm1(z))
  np.testing.assert_allclose(net(x, nnx.Rngs(0)), z, rtol=1e-4, atol=1e-6)
  net.train()
  looks = [np.asarray(net(x, nnx.Rngs(i))) for i in range(2)]
  assert np.abs(looks[0] - looks[1]).max() > 1e-3


def test_nets_of_the_authors_of_m46_begin_as_theirs():
  """PyTorch's linear layer: uniform within 1 / sqrt(inputs)."""
  options = {'dtype': jnp.float32, 'rngs': nnx.Rngs(0)}
  pool = age_head.pool('mlp', 25, (2, 2), hidden=64, **options)
  unit = head(output='unit', sex_features=0)
  for layer, inputs in ((pool.fc1, 100), (pool.fc2, 64), (unit.fc, 6)):
    kernel = np.abs(np.asarray(layer.kernel[...]))
    assert kernel.max() <= inputs**-0.5
    assert kernel.size < 100 or kernel.max() > 0.95 * inputs**-0.5
  assert np.abs(np.asarray(head(sex_features=0).fc.kernel[...])).max() > 0.9


@pytest.mark.parametrize('month', [0, 7, 239])
def test_readouts_of_a_peak(month):
  logits = 80.0 * jax.nn.one_hot(jnp.array([month]), age_head.BINS)
  for readout in ('argmax', 'expectation'):
    age = age_head.read_age(logits, readout)
    np.testing.assert_allclose(age, [month], atol=1e-3)
    assert age.dtype == jnp.float32


def test_global_pools():
  x = draw.normal((2, 4, 5, 3))
  for kind, reduce in (('gap', np.mean), ('gmp', np.max)):
    layer = age_head.pool(kind, 3, (4, 5), dtype=jnp.float32, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(layer(x), reduce(x, axis=(1, 2)), 1e-5, 1e-6)


def test_dropout_falls_in_training_only():
  net = head(dropout=0.5, sex_features=0)
  z = jnp.ones((4, 6))
  net.train()
  draws = [net(z, {}, rngs=nnx.Rngs(i))['logits'] for i in range(2)]
  assert not np.allclose(*draws)
  net.eval()
  assert np.ptp(net(z, {})['logits'], axis=0).max() == 0
