"""The forms that a CPU computes fast, equal to the native ones to rounding.

XLA's CPU depthwise convolution, its unpadded ones, and what it derives for
kernels of one tap and for batch normalisation are far slower than what a CPU
can do. `ops` chooses between these forms and the native ones; nothing else
calls this module.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

Array = jax.Array
Sides = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
NHWC = ('NHWC', 'HWIO', 'NHWC')
NONE = ((0, 0), (0, 0))
FEW = 512  # pixels, see `_contract`
MANY = 1300  # places of one film, see `_product`


@functools.cache
def compiler_options() -> dict[str, bool | str] | None:
  """Options for `jax.jit` of a net, with which a CPU's cores are all used.

  The loops of XLA's newer emitters run on one core each; those of the older
  ones are split, which takes a fifth off a step of Inception-V3. Products and
  sums go to the YNN library, convolutions to Eigen, whose kernel gradients are
  faster. Barriers hold until loops are fused; else XLA drops them before.
  Options that XLA no longer knows are left out.
  """
  options = {
    'xla_cpu_use_fusion_emitters': False,
    'xla_cpu_experimental_ynn_fusion_type': (
      'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE'
    ),
    'xla_disable_hlo_passes': 'cse_barrier_expander',
  }
  if _is_known(options):
    return options
  return {k: v for k, v in options.items() if _is_known({k: v})} or None


def _is_known(options: dict[str, bool | str]) -> bool:
  try:
    jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
  except RuntimeError:  # no such option, or no such value
    return False
  return True


def _pad(x: Array, fill: float, sides: Sides) -> Array:
  if sides == NONE:
    return x
  rows, columns = ((*side, 0) for side in sides)
  none = (0, 0, 0)
  return lax.pad(x, jnp.asarray(fill, x.dtype), (none, rows, columns, none))


def _shifts(x: Array, window: int, stride: int, axis: int) -> list[Array]:
  """Return what each tap of a window reads of a padded map along one axis."""
  span = (x.shape[axis] - window) // stride * stride + 1
  return [lax.slice_in_dim(x, i, i + span, stride, axis) for i in range(window)]


def depthwise(x: Array, kernel: Array, stride: int, sides: Sides) -> Array:
  """Convolve every channel with its own odd [k, k, 1, C] kernel."""
  # bfloat16 sums would be rounded after each tap, and take twice as long.
  y = _depthwise(x.astype(jnp.float32), kernel.astype(jnp.float32))
  y = y.astype(x.dtype)
  if stride == 1:
    return y
  # XLA computes only what the slice keeps; 'SAME' may start one row later.
  top, left = (len(kernel) // 2 - before for before, _ in sides)
  return y[:, top::stride, left::stride]


@jax.custom_vjp
def _depthwise(x: Array, kernel: Array) -> Array:
  x = _pad(x, 0.0, ((len(kernel) // 2,) * 2,) * 2)
  return sum(
    column * per_channel
    for row, taps in zip(_shifts(x, len(kernel), 1, 1), kernel, strict=True)
    for column, per_channel in zip(
      _shifts(row, len(kernel), 1, 2), taps[:, None, None], strict=True
    )
  )


def _depthwise_forward(x: Array, kernel: Array) -> tuple[Array, tuple]:
  return _depthwise(x, kernel), (x, kernel)


def _depthwise_backward(residuals: tuple, grad: Array) -> tuple[Array, Array]:
  x, kernel = residuals
  to_x = _depthwise(grad, kernel[::-1, ::-1])
  size, width = len(kernel), grad.shape[2]
  x = _pad(x, 0.0, ((size // 2,) * 2,) * 2)

  def add_row(row: Array, sums: list[Array]) -> list[Array]:
    rows = lax.dynamic_slice_in_dim(x, row, size, 1)
    by = lax.dynamic_slice_in_dim(grad, row, 1, 1).astype(jnp.float32)
    taps = [(i, j) for i in range(size) for j in range(size)]
    return [
      total + rows[:, i : i + 1, j : j + width] * by
      for total, (i, j) in zip(sums, taps, strict=True)
    ]

  # Sums over rows stay in the cache; reducing all of the map takes six times
  # as long.
  zero = jnp.zeros_like(grad[:, :1], jnp.float32)
  sums = lax.fori_loop(0, grad.shape[1], add_row, [zero] * size**2)
  to_kernel = jnp.stack([s.sum((0, 1, 2)) for s in sums]).reshape(kernel.shape)
  return to_x, to_kernel.astype(kernel.dtype)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def native(x: Array, kernel: Array, stride: int, sides: Sides) -> Array:
  """Convolve [B, H, W, I] with [kh, kw, I, O] as XLA does by itself."""
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), sides, dimension_numbers=NHWC
  )


def convolve(x: Array, kernel: Array, stride: int, sides: Sides) -> Array:
  """Convolve [B, H, W, I] with [kh, kw, I, O], padded by `sides`."""
  if kernel.shape[:2] == (1, 1) and stride == 1 and sides == NONE:
    return _multiply(x, kernel)
  if sides != NONE:
    return native(x, kernel, stride, sides)
  # Without any padding XLA takes a form that is twice as slow.
  rows = (x.shape[1] - kernel.shape[0]) // stride + 1
  return native(x, kernel, stride, ((0, 1), (0, 0)))[:, :rows]


@jax.custom_vjp
def _multiply(x: Array, kernel: Array) -> Array:
  """Convolve with a kernel of one tap."""
  return _product(x, kernel, False)


def _product(x: Array, kernel: Array, turned: bool) -> Array:
  """Multiply all pixels by a [1, 1, I, O] kernel, or by its transpose."""
  # How many films there are is not known where a net is exported.
  if x.shape[1] * x.shape[2] >= MANY and x.dtype == jnp.float32:
    # Here XLA's convolution is faster than its product.
    return native(x, kernel.swapaxes(2, 3) if turned else kernel, 1, NONE)
  # With results of bfloat16 XLA would compute the product in float32.
  y = jnp.einsum(
    'bhwo,io->bhwi' if turned else 'bhwi,io->bhwo',
    x,
    kernel[0, 0],
    preferred_element_type=jnp.float32,
  )
  return y.astype(x.dtype)


def _multiply_forward(x: Array, kernel: Array) -> tuple[Array, tuple]:
  return _multiply(x, kernel), (x, kernel)


def _multiply_backward(residuals: tuple, grad: Array) -> tuple[Array, Array]:
  x, kernel = residuals
  to_kernel = _contract(x, grad).reshape(kernel.shape)
  return _product(grad, kernel, True), to_kernel.astype(kernel.dtype)


_multiply.defvjp(_multiply_forward, _multiply_backward)


def _contract(a: Array, b: Array) -> Array:
  """Sum a.T @ b over pixels: [B, H, W, M], [B, H, W, N] to [M, N]."""
  # Merged before the product, pixels need no transposed copy of a or b.
  a, b = (m.reshape(-1, m.shape[-1]) for m in (a, b))
  multiply = functools.partial(
    jnp.einsum, 'mk,mn->kn', preferred_element_type=jnp.float32
  )
  if a.shape[-1] <= b.shape[-1] or len(a) <= FEW:
    return multiply(a, b)
  # A tall result takes twice the time of a wide one, and of few pixels less
  # than to turn it; the barrier keeps XLA from turning it round again.
  return lax.optimization_barrier(multiply(b, a)).T


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalize(
  x: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[Array, Array, Array]:
  """Normalise a map by its own statistics; return float32 y, mean, variance.

  No gradient flows through the statistics that are returned.
  """
  return _normalize_forward(x, scale, bias, epsilon)[0]


def _normalize_forward(
  x: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[tuple, tuple]:
  axes, values = tuple(range(x.ndim - 1)), x.astype(jnp.float32)
  mean = values.mean(axes)
  var = jnp.square(values - mean).mean(axes)
  y = (values - mean) * (lax.rsqrt(var + epsilon) * scale) + bias
  return (y, mean, var), (x, scale, mean, var)


def _normalize_backward(
  epsilon: float, residuals: tuple, grads: tuple
) -> tuple[Array, Array, Array]:
  # What JAX derives reads the map once more, for a sum that is zero: that of
  # all distances from the mean.
  x, scale, mean, var = residuals
  grad, axes, count = grads[0], tuple(range(x.ndim - 1)), x[..., 0].size
  distance = x.astype(jnp.float32) - mean
  inverse = lax.rsqrt(var + epsilon)
  to_bias = grad.sum(axes)
  to_scale = (grad * distance).sum(axes) * inverse
  along = to_scale * inverse / count
  to_x = (grad - to_bias / count - distance * along) * (inverse * scale)
  return to_x.astype(x.dtype), to_scale, to_bias


normalize.defvjp(_normalize_forward, _normalize_backward)


def max_pool(x: Array, window: int, stride: int, sides: Sides) -> Array:
  """Take the maximum of each window; padding never wins."""
  x = _pad(x, -jnp.inf, sides)
  for axis in (1, 2):
    x = functools.reduce(jnp.maximum, _shifts(x, window, stride, axis))
  return x


def sum_pool(x: Array, window: int, stride: int, sides: Sides) -> Array:
  """Sum each window."""
  x = _pad(x, 0.0, sides)
  for axis in (1, 2):
    x = sum(_shifts(x, window, stride, axis))
  return x
