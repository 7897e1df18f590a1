"""Layers, against Flax, Keras and by hand."""

import draw
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import layers
from boneage_jax.models import ops


@pytest.mark.unit
def test_keys_are_those_of_flax_also_in_a_trace():
  def build():
    ours, theirs = layers.Keys(7), nnx.Rngs(7)
    pairs = [(ours.params(), theirs.params()) for _ in range(5)]
    return jax.tree.map(jax.random.key_data, pairs)

  for pairs in (build(), jax.jit(build)()):
    for one, other in pairs:
      np.testing.assert_array_equal(one, other)
    assert len({tuple(one.tolist()) for one, _ in pairs}) == 5


def test_batch_norm_statistics_stay_float32():
  norm = layers.BatchNorm(3, eps=1e-3, momentum=0.9, dtype=jnp.bfloat16)
  x = 100 + draw.normal((4, 8, 8, 3))
  norm.train()
  y = norm(x.astype(jnp.bfloat16))
  assert y.dtype == jnp.bfloat16
  assert norm.mean[...].dtype == norm.scale[...].dtype == jnp.float32
  values = np.asarray(x.astype(jnp.bfloat16), np.float64)
  mean, var = values.mean((0, 1, 2)), values.var((0, 1, 2))
  np.testing.assert_allclose(norm.mean[...], 0.1 * mean, rtol=1e-5)
  np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * var, rtol=1e-4)
  norm.eval()
  before = norm.mean[...]
  before, var = np.asarray(before), np.asarray(norm.var[...])
  wanted = (values - before) / np.sqrt(var + 1e-3)
  np.testing.assert_allclose(norm(x.astype(jnp.bfloat16)), wanted, rtol=1e-2)
  np.testing.assert_array_equal(norm.mean[...], before)


@pytest.mark.parametrize('use_scale', [True, False])
@pytest.mark.parametrize('form', ['shifted', 'native'])
def test_batch_norm_in_both_forms(form, use_scale, monkeypatch):
  """Beside Flax's and beside float64."""
  monkeypatch.setattr(ops, 'FORM', form)
  x, weight = 100 + draw.normal((4, 8, 8, 3)), draw.normal((4, 8, 8, 3), 1)

  def norm(moving):
    made = layers.BatchNorm(3, eps=1e-3, momentum=0.9, use_scale=use_scale)
    made.bias[...] = made.bias[...] + jnp.asarray([1.0, 0.0, -2.0])
    made.mean[...] = jnp.full(3, moving)
    made.train()
    return made

  def loss(x, call, moving):
    return (call(norm(moving), x) * weight).sum()

  wanted = jax.grad(loss)(x, nnx.BatchNorm.__call__, 90.0)
  # A trained net; and the first step, where the mean is 100 deviations away, so
  # that rounding of float32 takes some 1e-7 * 100**2 of the variance.
  for moving, atol in ((99.0, 2e-4), (0.0, 5e-2)):
    found = jax.grad(loss)(x, layers.BatchNorm.__call__, moving)
    np.testing.assert_allclose(found, wanted, atol=atol)
    one, values = norm(moving), np.asarray(x, np.float64)
    y, mean, var = one(x), values.mean((0, 1, 2)), values.var((0, 1, 2))
    exact = (values - mean) / np.sqrt(var + 1e-3) + np.array([1, 0, -2])
    np.testing.assert_allclose(y, exact, atol=atol)
    np.testing.assert_allclose(
      one.mean[...], 0.9 * moving + 0.1 * mean, rtol=1e-5
    )
    np.testing.assert_allclose(one.var[...], 0.9 + 0.1 * var, rtol=2e-3)


def test_nets_without_batch_norm_have_none_to_set():
  layers.set_batch_norms(layers.Conv(1, 2, 3, rngs=nnx.Rngs(0)), momentum=0.0)
  norm = layers.ConvBN(1, 2, 3, eps=1e-3, rngs=nnx.Rngs(0))
  layers.set_batch_norms(norm, use_running_average=True, momentum=0.0)
  assert norm.bn.use_running_average and norm.bn.momentum == 0.0


def test_preprocess():
  grey = jnp.asarray([0, 255], jnp.uint8).reshape(1, 1, 2, 1)
  tf = layers.preprocess(grey, 'tf')
  assert tf.shape == (1, 1, 2, 3) and tf.dtype == jnp.float32
  np.testing.assert_array_equal(tf[0, 0, :, 0], [-1, 1])
  colour = jnp.asarray([10, 20, 30], jnp.uint8).reshape(1, 1, 1, 3)
  np.testing.assert_allclose(
    layers.preprocess(colour, 'caffe')[0, 0, 0],
    [30 - 103.939, 20 - 116.779, 10 - 123.68],
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    layers.preprocess(colour, 'torch')[0, 0, 0, 0],
    (10 / 255 - 0.485) / 0.229,
    rtol=1e-5,
  )
  assert layers.preprocess(grey, 'caffe', channels=1).shape == (1, 1, 2, 1)
  six = jnp.full((1, 1, 1, 6), 10, jnp.uint8)  # regions, each of them grey
  for name, value in (
    ('tf', 10 / 127.5 - 1),
    ('caffe', 10 - (103.939 + 116.779 + 123.68) / 3),
    ('torch', (10 / 255 - (0.485 + 0.456 + 0.406) / 3) / (0.678 / 3)),
  ):
    found = layers.preprocess(six, name, channels=6)
    np.testing.assert_allclose(found, np.full((1, 1, 1, 6), value), rtol=1e-5)
  with pytest.raises(ValueError, match='in_channels=3'):
    layers.preprocess(colour, 'tf', channels=1)
  with pytest.raises(ValueError, match="not 'keras'"):
    layers.preprocess(grey, 'keras')


def test_a_moving_value_is_replaced_without_a_look_at_its_sharding():
  """Under a trace that look goes through the whole trace, layer by layer."""
  norm = layers.BatchNorm(3, eps=1e-3, momentum=0.9)
  norm.train()
  graph, state = nnx.split(norm)

  def call(state, x):
    net = nnx.merge(graph, state, copy=True)
    net.mean[...] = 2 * x.mean((0, 1, 2))
    return nnx.state(net, nnx.BatchStat)

  def look(_):
    raise AssertionError('A tracer was asked for its sharding.')

  x = draw.normal((2, 4, 4, 3))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(jax.core.Tracer, 'sharding', property(look))
    found = jax.jit(call)(state, x)
  np.testing.assert_allclose(
    found['mean'][...], 2 * np.mean(x, (0, 1, 2)), rtol=1e-5
  )
  norm.mean[...] = np.ones(3)  # of another type: as Flax does
  assert norm.mean[...].dtype == jnp.float32
