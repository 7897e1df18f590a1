"""Both forms of the operations, against one another, NumPy and Flax."""

import functools

import draw
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import ops
from boneage_jax.models import ops_cpu


def both_forms(monkeypatch, function, *args):
  """Return value and gradients of the two forms of an operation."""
  out = []
  for form in ('shifted', 'native'):
    monkeypatch.setattr(ops, 'FORM', form)
    weight = lambda y: jnp.cos(jnp.arange(y.size, dtype=y.dtype))

    def loss(*args, weight=weight):
      y = function(*args)
      return (y.ravel() * weight(y)).sum(), y

    grad = jax.value_and_grad(loss, tuple(range(len(args))), has_aux=True)
    (_, value), gradients = jax.jit(grad)(*args)
    out.append((value, gradients))
  return out


def outer(kernel):
  """Return a [1, 1, 6, 6] kernel that depends on all of a [3, 3, 1, 6]."""
  rows = kernel.reshape(9, 6)
  return (rows.T @ rows)[None, None]


@pytest.mark.parametrize('hw', [(7, 10), (8, 5)])
@pytest.mark.parametrize(
  'operation',
  [
    lambda x, k: ops.convolve(x, outer(k), 1),
    lambda x, k: ops.convolve(x, outer(k), 2),
    ops.depthwise,
    lambda x, k: ops.max_pool(x, 3, 2) * k[:1, :1],
    lambda x, k: ops.max_pool(x, 3, 2, 'SAME') * k[:1, :1],
    lambda x, k: ops.max_pool(x, 3, 2, 1) * k[:1, :1],
    lambda x, k: ops.avg_pool(x, 3, 1, 'SAME') * k[:1, :1],
    lambda x, k: ops.avg_pool(x, 3, 2, 'VALID') * k[:1, :1],
  ],
)
def test_forms_agree(monkeypatch, operation, hw):
  x = draw.normal((2, *hw, 6))
  kernel = draw.normal((3, 3, 1, 6), 1)
  ours, native = both_forms(monkeypatch, operation, x, kernel)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    ours,
    native,
  )


@pytest.mark.parametrize('few, many', [(0, 0), (0, 1300), (512, 1300)])
@pytest.mark.parametrize('channels', [(2, 5), (5, 2)])
@pytest.mark.parametrize(
  'size, stride, padding',
  [
    ((3, 3), 1, 'SAME'),
    ((3, 3), 1, 'VALID'),
    ((3, 3), 2, 'VALID'),
    ((3, 3), 2, 'SAME'),
    ((7, 7), 2, 3),
    ((1, 7), 1, 'SAME'),
    ((7, 1), 1, 'VALID'),
    ((1, 1), 1, 1),
    ((1, 1), 2, 'VALID'),
    ((9, 12), 1, 'VALID'),  # of the whole map
    ((9, 12), 2, 'VALID'),
  ],
)
def test_forms_of_a_convolution_agree(
  monkeypatch, size, stride, padding, channels, few, many
):
  monkeypatch.setattr(ops_cpu, 'FEW', few)
  monkeypatch.setattr(ops_cpu, 'MANY', many)
  x = draw.normal((2, 9, 12, channels[0]))
  kernel = draw.normal((*size, *channels), 1)
  ours, native = both_forms(
    monkeypatch, lambda x, k: ops.convolve(x, k, stride, padding), x, kernel
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    ours,
    native,
  )


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_forms_of_a_batch_norm_agree(monkeypatch, dtype):
  x = (3 + draw.normal((2, 9, 7, 5))).astype(dtype)
  scale, bias = draw.normal((5,), 1), draw.normal((5,), 2)
  normalize = functools.partial(
    ops.normalize, epsilon=1e-3, shift=jnp.full(5, 2.0)
  )
  ours, native = both_forms(
    monkeypatch, lambda *args: normalize(*args)[0], x, scale, bias
  )
  for a, b in zip(*map(jax.tree.leaves, (ours, native)), strict=True):
    assert a.dtype == b.dtype
    rtol = 1e-4 if a.dtype == jnp.float32 else 2**-8
    wide = [np.asarray(v, np.float64) for v in (a, b)]
    np.testing.assert_allclose(*wide, rtol=rtol, atol=1e-5)
  values = np.asarray(x, np.float64)
  for form in ('shifted', 'native'):
    monkeypatch.setattr(ops, 'FORM', form)
    _, mean, var = normalize(x, scale, bias)
    np.testing.assert_allclose(mean, values.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, values.var((0, 1, 2)), rtol=1e-4)


def test_a_sum_is_computed_once_on_a_cpu():
  """A barrier that XLA drops too early lets each reader sum all anew."""

  def chain(x, maps, kernel):
    outs = []
    for one in maps:
      x = ops.once(jax.nn.relu(x + one))
      outs.append(ops.convolve(x, kernel))
    return outs

  x, kernel = draw.normal((2, 6, 6, 8)), draw.normal((1, 1, 8, 8), 1)
  maps = [draw.normal((2, 6, 6, 8), i) for i in range(2, 7)]
  program = jax.jit(chain, compiler_options=ops.compiler_options())
  text = program.lower(x, maps, kernel).compile().as_text()
  assert text.count(' maximum(') == len(maps)


@pytest.mark.parametrize('hw', [(1, 1), (5, 9)])
@pytest.mark.parametrize('channels', [(3, 1), (8, 17), (64, 8)])
def test_products_of_bfloat16_run_and_are_rounded_once(channels, hw):
  """Some products with float32 results end only when they run."""
  x = draw.normal((2, *hw, channels[0])).astype(jnp.bfloat16)
  kernel = draw.normal((1, 1, *channels), 1).astype(jnp.bfloat16)
  loss = lambda x, k: ops.convolve(x, k).astype(jnp.float32).sum()
  run = lambda x, k: (ops.convolve(x, k), jax.grad(loss, (0, 1))(x, k))
  options = ops.compiler_options()
  y, (to_x, to_kernel) = jax.jit(run, compiler_options=options)(x, kernel)
  wide = lambda a: np.asarray(a, np.float64)
  wanted = [
    wide(x) @ wide(kernel)[0, 0],
    np.broadcast_to(wide(kernel)[0, 0].sum(1), x.shape),
    np.broadcast_to(wide(x).sum((0, 1, 2))[:, None], channels)[None, None],
  ]
  for one, other in zip((y, to_x, to_kernel), wanted, strict=True):
    assert one.dtype == jnp.bfloat16
    error = np.abs(wide(one) - other).max() / np.abs(other).max()
    assert error <= 2**-8


def test_same_average_leaves_the_padding_out():
  ones = jnp.ones((1, 4, 5, 1))
  np.testing.assert_allclose(ops.avg_pool(ones, 3, 1, 'SAME'), 1, atol=1e-6)
  x = jnp.arange(20.0).reshape(1, 4, 5, 1)
  corner = ops.avg_pool(x, 3, 1, 'SAME')[0, 0, 0, 0]
  np.testing.assert_allclose(corner, (0 + 1 + 5 + 6) / 4)


def test_unknown_form_is_refused(monkeypatch):
  monkeypatch.setattr(ops, 'FORM', 'fast')
  with pytest.raises(ValueError, match="not 'fast'"):
    ops.use_shifted()


def test_depthwise_gradient_under_a_sharded_batch():
  x = draw.normal((jax.device_count() * 2, 6, 6, 4))
  kernel = draw.normal((3, 3, 1, 4), 1)
  loss = lambda k, x: jnp.square(ops.depthwise(x, k)).mean()
  whole = jax.jit(jax.grad(loss))(kernel, x)
  mesh = jax.make_mesh(
    (jax.device_count(),), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  spec = jax.sharding.PartitionSpec('data')
  x = jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
  sharded = jax.jit(jax.grad(loss))(kernel, x)
  np.testing.assert_allclose(sharded, whole, rtol=1e-5, atol=1e-6)


def test_max_pool_matches_flax():
  x = draw.normal((1, 9, 9, 2))
  wanted = nnx.max_pool(x, (3, 3), (2, 2))
  np.testing.assert_array_equal(ops.max_pool(x, 3, 2), wanted)


def test_options_of_a_cpu_are_options_of_its_compiler(monkeypatch):
  options = ops.compiler_options()
  assert options  # else XLA has dropped it: say so, and take it out
  double = jax.jit(lambda x: 2 * x, compiler_options=options)
  assert double(2.0) == 4
  monkeypatch.setattr(ops, 'FORM', 'native')
  assert ops.compiler_options() is None


def test_options_that_a_compiler_does_not_know_are_left_out(monkeypatch):
  options = ops.compiler_options()
  known = ops_cpu._is_known
  assert not known({'xla_cpu_no_such_option': True})
  assert not known(dict.fromkeys(options, 'no such value'))
  one = next(iter(options))
  monkeypatch.setattr(ops_cpu, '_is_known', lambda o: one not in o and known(o))
  left = ops_cpu.compiler_options.__wrapped__()
  assert left == {k: v for k, v in options.items() if k != one}


@pytest.mark.parametrize('side', [4, 40])
@pytest.mark.parametrize('kernel', [1, 3])
def test_the_forms_of_a_cpu_know_no_number_of_films(monkeypatch, side, kernel):
  """A model file computes batches of any size."""
  monkeypatch.setattr(ops, 'FORM', 'shifted')
  weights = draw.normal((kernel, kernel, 6, 4), 1)
  spread = draw.normal((3, 3, 1, 6), 2)

  def net(x):
    x = ops.max_pool(ops.depthwise(x, spread), 3, 1, 1)
    return ops.once(ops.avg_pool(ops.convolve(x, weights), 3, 1, 'SAME'))

  films = jax.export.symbolic_shape('films, 1, 1, 6')[0]
  shape = jax.ShapeDtypeStruct((films, side, side, 6), jnp.float32)
  exported = jax.export.export(jax.jit(net))(shape)
  for count in (1, 3):
    x = draw.normal((count, side, side, 6))
    np.testing.assert_allclose(exported.call(x), net(x), rtol=1e-4, atol=1e-5)
