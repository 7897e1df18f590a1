"""Convolution and pooling of maps [B, H, W, C], in two forms.

XLA's CPU depthwise convolution, the kernel gradients of its other convolutions
and its unpadded ones are far slower than what a CPU can do, so they have a
second form here, equal to rounding. `FORM` picks it: None asks
`jax.default_backend()` when a step is traced, 'shifted' and 'native' force one
(tests, exports for another backend).
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

FORM: str | None = None

Array = jax.Array
Padding = str | int  # 'SAME', 'VALID', or pixels on every side
Sides = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
NHWC = ('NHWC', 'HWIO', 'NHWC')
NONE = ((0, 0), (0, 0))


def use_shifted() -> bool:
  """Tell whether convolutions take the form that is fast on a CPU."""
  if FORM not in (None, 'native', 'shifted'):
    raise ValueError(f"ops.FORM is None, 'native' or 'shifted', not {FORM!r}.")
  return FORM == 'shifted' or (FORM is None and jax.default_backend() == 'cpu')


def compiler_options() -> dict[str, bool] | None:
  """Options for `jax.jit` of a net, with which a CPU's cores are all used.

  The loops of XLA's newer emitters run on one core each; those of the older
  ones are split, which takes a fifth off a step of Inception-V3. None where the
  net's form is another backend's, or XLA no longer knows the option.
  """
  return _older_loops() if use_shifted() else None


@functools.cache
def _older_loops() -> dict[str, bool] | None:
  options = {'xla_cpu_use_fusion_emitters': False}
  try:
    jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
  except RuntimeError:  # no such option
    return None
  return options


def pads(
  size: tuple[int, int],
  window: tuple[int, int],
  stride: int,
  padding: Padding,
) -> Sides:
  """Return ((top, bottom), (left, right)); an int pads every side."""
  if isinstance(padding, int):
    return ((padding, padding), (padding, padding))
  rows, columns = lax.padtype_to_pads(size, window, (stride, stride), padding)
  return (tuple(rows), tuple(columns))


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


def depthwise(x: Array, kernel: Array) -> Array:
  """Convolve every channel with its own odd [k, k, 1, C] kernel, 'SAME'."""
  if use_shifted():
    return _depthwise_shifted(x, kernel)
  return lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    'SAME',
    dimension_numbers=NHWC,
    feature_group_count=x.shape[-1],
  )


@jax.custom_vjp
def _depthwise_shifted(x: Array, kernel: Array) -> Array:
  size = len(kernel)
  x = _pad(x, 0.0, pads(x.shape[1:3], (size, size), 1, 'SAME'))
  return sum(
    column * per_channel
    for row, taps in zip(_shifts(x, size, 1, 1), kernel, strict=True)
    for column, per_channel in zip(
      _shifts(row, size, 1, 2), taps[:, None, None], strict=True
    )
  )


def _depthwise_forward(x: Array, kernel: Array) -> tuple[Array, tuple]:
  return _depthwise_shifted(x, kernel), (x, kernel)


def _depthwise_backward(residuals: tuple, grad: Array) -> tuple[Array, Array]:
  x, kernel = residuals
  to_x = _depthwise_shifted(grad, kernel[::-1, ::-1])
  size, width = len(kernel), grad.shape[2]
  x = _pad(x, 0.0, pads(x.shape[1:3], kernel.shape[:2], 1, 'SAME'))

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


_depthwise_shifted.defvjp(_depthwise_forward, _depthwise_backward)


def convolve(
  x: Array, kernel: Array, stride: int = 1, padding: Padding = 'SAME'
) -> Array:
  """Convolve [B, H, W, I] with [kh, kw, I, O]."""
  sides = pads(x.shape[1:3], kernel.shape[:2], stride, padding)
  if not use_shifted():
    return _convolve(x, kernel, stride, sides)
  if kernel.shape[:2] == (1, 1) and sides == NONE:
    x, stride = x[:, ::stride, ::stride], 1
  return _convolve_shifted(x, kernel, stride, sides)


def _is_product(kernel: Array, stride: int, sides: Sides) -> bool:
  return kernel.shape[:2] == (1, 1) and stride == 1 and sides == NONE


def _convolve(x: Array, kernel: Array, stride: int, sides: Sides) -> Array:
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), sides, dimension_numbers=NHWC
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve_shifted(
  x: Array, kernel: Array, stride: int, sides: Sides
) -> Array:
  if _is_product(kernel, stride, sides):
    return jnp.einsum('bhwi,io->bhwo', x, kernel[0, 0])
  if sides != NONE:
    return _convolve(x, kernel, stride, sides)
  # Without any padding XLA takes a form that is twice as slow.
  rows = (x.shape[1] - kernel.shape[0]) // stride + 1
  return _convolve(x, kernel, stride, ((0, 1), (0, 0)))[:, :rows]


def _convolve_forward(
  x: Array, kernel: Array, stride: int, sides: Sides
) -> tuple[Array, tuple]:
  return _convolve_shifted(x, kernel, stride, sides), (x, kernel)


def _convolve_backward(
  stride: int, sides: Sides, residuals: tuple, grad: Array
) -> tuple[Array, Array]:
  x, kernel = residuals
  height, width = kernel.shape[:2]
  if _is_product(kernel, stride, sides):
    to_x = jnp.einsum('bhwo,io->bhwi', grad, kernel[0, 0])
  else:
    forward = functools.partial(
      _convolve, kernel=kernel, stride=stride, sides=sides
    )
    (to_x,) = jax.linear_transpose(forward, x)(grad)
  # One product for each row of the kernel, over the taps of that row.
  taps = jnp.concatenate(_shifts(_pad(x, 0.0, sides), width, stride, 2), -1)
  to_kernel = [_contract(t, grad) for t in _shifts(taps, height, stride, 1)]
  to_kernel = jnp.stack(to_kernel).reshape(kernel.shape)
  return to_x, to_kernel.astype(kernel.dtype)


_convolve_shifted.defvjp(_convolve_forward, _convolve_backward)


def _contract(a: Array, b: Array) -> Array:
  """Sum a.T @ b over pixels: [B, H, W, M], [B, H, W, N] to [M, N]."""
  # Merged before the product, pixels need no transposed copy of a or b.
  a, b = (m.reshape(-1, m.shape[-1]) for m in (a, b))
  multiply = functools.partial(
    jnp.einsum, 'mk,mn->kn', preferred_element_type=jnp.float32
  )
  if a.shape[-1] <= b.shape[-1]:
    return multiply(a, b)
  # A tall result takes twice the time of a wide one; the barrier keeps XLA
  # from turning it round again.
  return lax.optimization_barrier(multiply(b, a)).T


def max_pool(
  x: Array, window: int, stride: int, padding: Padding = 'VALID'
) -> Array:
  """Take the maximum of each window; padding never wins."""
  sides = pads(x.shape[1:3], (window, window), stride, padding)
  if not use_shifted():
    return lax.reduce_window(
      x,
      -jnp.inf,
      lax.max,
      (1, window, window, 1),
      (1, stride, stride, 1),
      ((0, 0), *sides, (0, 0)),
    )
  x = _pad(x, -jnp.inf, sides)
  for axis in (1, 2):
    x = functools.reduce(jnp.maximum, _shifts(x, window, stride, axis))
  return x


def avg_pool(
  x: Array, window: int, stride: int, padding: Padding = 'VALID'
) -> Array:
  """Average each window over the pixels inside the image, as Keras does."""
  sides = pads(x.shape[1:3], (window, window), stride, padding)
  counts = []
  for length, (before, after) in zip(x.shape[1:3], sides, strict=True):
    starts = range(-before, length + after - window + 1, stride)
    counts.append([min(s + window, length) - max(s, 0) for s in starts])
  rows, columns = (jnp.asarray(c, x.dtype) for c in counts)
  inside = rows[None, :, None, None] * columns[None, None, :, None]
  if use_shifted():
    total = _pad(x, 0.0, sides)
    for axis in (1, 2):
      total = sum(_shifts(total, window, stride, axis))
  else:
    total = lax.reduce_window(
      x,
      0.0,
      lax.add,
      (1, window, window, 1),
      (1, stride, stride, 1),
      ((0, 0), *sides, (0, 0)),
    )
  return total / inside
