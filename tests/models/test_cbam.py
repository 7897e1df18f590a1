"""CBAM: gates lie in (0, 1), and the sizes of the published module."""

import draw
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax.models import cbam
from boneage_jax.models.backbones import inception_v3


def size(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_output_never_exceeds_the_input():
  gate = cbam.CBAM(32, rngs=nnx.Rngs(0))
  x = draw.normal((2, 5, 6, 32))
  y = gate(x)
  assert y.shape == x.shape
  assert (jnp.abs(y) <= jnp.abs(x)).all()
  assert jnp.abs(y - 0.25 * x).max() > 1e-3


def test_zero_weights_halve_twice():
  gate = cbam.CBAM(32, rngs=nnx.Rngs(0))
  params = nnx.state(gate, nnx.Param)
  nnx.update(gate, jax.tree.map(jnp.zeros_like, params))
  x = draw.normal((2, 5, 6, 32))
  np.testing.assert_array_equal(gate(x), 0.25 * x)


def test_channel_gate_follows_equation_1():
  gate = cbam.CBAM(32, reduction=8, rngs=nnx.Rngs(0))
  x = np.asarray(draw.normal((2, 5, 6, 32)))

  gates = nnx.to_pure_dict(nnx.state(gate, nnx.Param))
  squeeze, excite = (
    jax.tree.map(np.asarray, gates[n]) for n in ('squeeze', 'excite')
  )

  def mlp(v):
    v = v @ squeeze['kernel'] + squeeze['bias']
    return np.maximum(v, 0) @ excite['kernel'] + excite['bias']

  logits = mlp(x.mean((1, 2))) + mlp(x.max((1, 2)))
  np.testing.assert_allclose(
    gate.channel_gate(x)[:, 0, 0], 1 / (1 + np.exp(-logits)), atol=1e-6
  )


def test_spatial_gate_reads_mean_then_max():
  gate = cbam.CBAM(16, rngs=nnx.Rngs(0))
  gate.eval()
  kernel = np.zeros((7, 7, 2, 1))
  kernel[3, 3, 0, 0] = 1.0  # the mean only
  gate.conv.kernel[...] = kernel
  x = draw.normal((2, 5, 6, 16))
  np.testing.assert_allclose(
    gate.spatial_gate(x)[..., 0], nnx.sigmoid(x.mean(-1)), atol=1e-5
  )


def test_parameter_count():
  gate = nnx.eval_shape(lambda: cbam.CBAM(2048, rngs=nnx.Rngs(0)))
  params = nnx.to_pure_dict(nnx.state(gate, nnx.Param))
  assert size([params['squeeze'], params['excite']]) == 526_464
  assert size(params['conv']) == 98
  assert size(params['bn']) == 2


def test_one_gate_behind_every_mixed_block():
  make = lambda: inception_v3.InceptionV3(
    endpoint='mixed3', cbam='blocks', rngs=nnx.Rngs(0)
  )
  params = nnx.to_pure_dict(nnx.state(nnx.eval_shape(make), nnx.Param))
  gates = [name for name in params if name.endswith('_cbam')]
  assert gates == [f'mixed{i}_cbam' for i in range(4)]
