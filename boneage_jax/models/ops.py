"""Convolution and pooling of maps [B, H, W, C], in two forms.

The native form is XLA's; `ops_cpu` has one that is faster on a CPU, equal to
rounding. `FORM` picks it: None asks `jax.default_backend()` when a step is
traced, 'shifted' and 'native' force one (tests, exports for another backend).
"""

import jax
from jax import lax
import jax.numpy as jnp

from boneage_jax.models import ops_cpu

FORM: str | None = None

Array = jax.Array
# 'SAME', 'VALID', pixels on every side, or 'CEIL': none but for a last window
# that may hang over the right or lower edge (Caffe's and PyTorch's ceil mode).
Padding = str | int


def use_shifted() -> bool:
  """Tell whether convolutions take the form that is fast on a CPU."""
  if FORM not in (None, 'native', 'shifted'):
    raise ValueError(f"ops.FORM is None, 'native' or 'shifted', not {FORM!r}.")
  return FORM == 'shifted' or (FORM is None and jax.default_backend() == 'cpu')


def compiler_options() -> dict[str, bool | str] | None:
  """Options for `jax.jit` of a net; None where its form is not a CPU's."""
  return ops_cpu.compiler_options() if use_shifted() else None


def once(x: Array) -> Array:
  """Have a map computed once, on a CPU.

  XLA fuses a sum of maps into each of its readers there. In a chain of
  residual blocks the last would compute all sums before it anew.
  """
  return lax.optimization_barrier(x) if use_shifted() else x


def pads(
  size: tuple[int, int],
  window: tuple[int, int],
  stride: int,
  padding: Padding,
) -> ops_cpu.Sides:
  """Return ((top, bottom), (left, right)); an int pads every side."""
  if isinstance(padding, int):
    return ((padding, padding), (padding, padding))
  if padding == 'CEIL':
    over = (k - n for n, k in zip(size, window, strict=True))
    return tuple((0, count % stride) for count in over)
  rows, columns = lax.padtype_to_pads(size, window, (stride, stride), padding)
  return (tuple(rows), tuple(columns))


def depthwise(
  x: Array, kernel: Array, stride: int = 1, padding: Padding = 'SAME'
) -> Array:
  """Convolve every channel of a map with its own odd kernel.

  Args:
    x: [B, H, W, C].
    kernel: [k, k, 1, C].
    stride: with 1, the map keeps its size.
    padding: 'SAME', or k // 2 on every side.
  """
  sides = pads(x.shape[1:3], kernel.shape[:2], stride, padding)
  if use_shifted():
    return ops_cpu.depthwise(x, kernel, stride, sides)
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    sides,
    dimension_numbers=ops_cpu.NHWC,
    feature_group_count=x.shape[-1],
  )


def convolve(
  x: Array, kernel: Array, stride: int = 1, padding: Padding = 'SAME'
) -> Array:
  """Convolve [B, H, W, I] with [kh, kw, I, O]."""
  sides = pads(x.shape[1:3], kernel.shape[:2], stride, padding)
  if not use_shifted():
    return ops_cpu.native(x, kernel, stride, sides)
  if sides == ops_cpu.NONE and x.shape[1:3] == kernel.shape[:2]:
    # One place alone, as of a fully connected layer: a product of flat maps.
    x = x.reshape(len(x), 1, 1, -1)
    kernel = kernel.reshape(1, 1, -1, kernel.shape[-1])
  if kernel.shape[:2] == (1, 1) and sides == ops_cpu.NONE:
    x, stride = x[:, ::stride, ::stride], 1
  return ops_cpu.convolve(x, kernel, stride, sides)


def normalize(
  x: Array, scale: Array, bias: Array, epsilon: float, shift: Array
) -> tuple[Array, Array, Array]:
  """Normalise a map by the mean and variance of each of its channels.

  On accelerators the map is read once for both, as E[d^2] - E[d]^2 of its
  distance d from `shift`; memory traffic holds them. On a CPU, where reading
  again is cheap, the variance is taken about the mean.

  Args:
    x: [B, H, W, C], of any floating type.
    scale: [C].
    bias: [C].
    epsilon: added to the variance.
    shift: [C], a guess of the mean; it does not change the result.

  Returns:
    float32 map, mean and biased variance; gradients flow through the map alone.
  """
  if use_shifted():
    return ops_cpu.normalize(x, scale, bias, epsilon)
  axes, shift = tuple(range(x.ndim - 1)), lax.stop_gradient(shift)
  distance = x.astype(jnp.float32) - shift
  first, second = distance.mean(axes), jnp.square(distance).mean(axes)
  var = jnp.maximum(second - jnp.square(first), 0)  # rounding may be below
  y = (distance - first) * (lax.rsqrt(var + epsilon) * scale) + bias
  return y, lax.stop_gradient(shift + first), lax.stop_gradient(var)


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
  return ops_cpu.max_pool(x, window, stride, sides)


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
    total = ops_cpu.sum_pool(x, window, stride, sides)
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


def adaptive_avg_pool(x: Array, side: int) -> Array:
  """Average a map [B, H, W, C] of any size to [B, side, side, C].

  Place i of n pixels is the mean of pixels floor(i n / side) to
  ceil((i + 1) n / side), as PyTorch's adaptive pooling has it; they overlap
  where `side` does not divide n.
  """
  for axis, length in ((1, x.shape[1]), (2, x.shape[2])):
    places = [
      lax.slice_in_dim(
        x, i * length // side, -(-(i + 1) * length // side), axis=axis
      ).mean(axis, keepdims=True)
      for i in range(side)
    ]
    x = jnp.concatenate(places, axis)
  return x
