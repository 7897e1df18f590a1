"""Convolution and pooling of maps [B, H, W, C], in two forms.

XLA's CPU depthwise convolution and the weight gradient of its 1x1 convolution
are far slower than what a CPU can do, so both have a second form here, equal to
rounding. `FORM` picks it: None asks `jax.default_backend()` when a step is
traced, 'shifted' and 'native' force one (tests, exports for another backend).
"""

import jax
from jax import lax
import jax.numpy as jnp

FORM: str | None = None

Array = jax.Array
Padding = str | int  # 'SAME', 'VALID', or pixels on every side
NHWC = ('NHWC', 'HWIO', 'NHWC')


def use_shifted() -> bool:
  """Tell whether convolutions take the form that is fast on a CPU."""
  if FORM not in (None, 'native', 'shifted'):
    raise ValueError(f"ops.FORM is None, 'native' or 'shifted', not {FORM!r}.")
  return FORM == 'shifted' or (FORM is None and jax.default_backend() == 'cpu')


def pads(
  size: tuple[int, int],
  window: tuple[int, int],
  stride: int,
  padding: Padding,
) -> list[tuple[int, int]]:
  """Return ((top, bottom), (left, right)); an int pads every side."""
  if isinstance(padding, int):
    return [(padding, padding)] * 2
  return lax.padtype_to_pads(size, window, (stride, stride), padding)


def _shifts(
  x: Array, window: tuple[int, int], stride: int, fill: float, padding: Padding
) -> tuple[Array, tuple[int, int]]:
  """Pad x and return it with the height and width of the output."""
  (top, bottom), (left, right) = pads(x.shape[1:3], window, stride, padding)
  if top or bottom or left or right:
    config = ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0))
    x = lax.pad(x, jnp.asarray(fill, x.dtype), config)
  height = (x.shape[1] - window[0]) // stride + 1
  width = (x.shape[2] - window[1]) // stride + 1
  return x, (height, width)


def _rows(x: Array, start: int, count: int, stride: int, axis: int) -> Array:
  stop = start + (count - 1) * stride + 1
  return lax.slice_in_dim(x, start, stop, stride, axis)


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


def _windows(x: Array, size: int) -> list[Array]:
  """Return the size * size shifted copies of x that a 'SAME' kernel reads."""
  x, (height, width) = _shifts(x, (size, size), 1, 0.0, 'SAME')
  return [
    x[:, i : i + height, j : j + width]
    for i in range(size)
    for j in range(size)
  ]


@jax.custom_vjp
def _depthwise_shifted(x: Array, kernel: Array) -> Array:
  taps = kernel.reshape(-1, 1, 1, 1, kernel.shape[-1])
  windows = _windows(x, len(kernel))
  return sum(w * tap for w, tap in zip(windows, taps, strict=True))


def _depthwise_forward(x: Array, kernel: Array) -> tuple[Array, tuple]:
  return _depthwise_shifted(x, kernel), (x, kernel)


def _depthwise_backward(residuals: tuple, grad: Array) -> tuple[Array, Array]:
  x, kernel = residuals
  to_x = _depthwise_shifted(grad, kernel[::-1, ::-1])
  grad = grad.astype(jnp.float32)
  products = [w * grad for w in _windows(x, len(kernel))]
  # One reduction of all taps reads the map once instead of k * k times.
  to_taps = lax.reduce(
    products,
    [jnp.float32(0)] * len(products),
    lambda a, b: [p + q for p, q in zip(a, b, strict=True)],
    (0, 1, 2),
  )
  to_kernel = jnp.stack(to_taps).reshape(kernel.shape)
  return to_x, to_kernel.astype(kernel.dtype)


_depthwise_shifted.defvjp(_depthwise_forward, _depthwise_backward)


def convolve(
  x: Array, kernel: Array, stride: int = 1, padding: Padding = 'SAME'
) -> Array:
  """Convolve [B, H, W, I] with [kh, kw, I, O]."""
  unpadded = padding in ('SAME', 'VALID', 0)  # the same for a 1x1 kernel
  if kernel.shape[:2] == (1, 1) and unpadded and use_shifted():
    x = x[:, ::stride, ::stride]
    return jnp.einsum('bhwi,io->bhwo', x, kernel[0, 0])
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    pads(x.shape[1:3], kernel.shape[:2], stride, padding),
    dimension_numbers=NHWC,
  )


def max_pool(
  x: Array, window: int, stride: int, padding: Padding = 'VALID'
) -> Array:
  """Take the maximum of each window; padding never wins."""
  if not use_shifted():
    sides = pads(x.shape[1:3], (window, window), stride, padding)
    return lax.reduce_window(
      x,
      -jnp.inf,
      lax.max,
      (1, window, window, 1),
      (1, stride, stride, 1),
      ((0, 0), *sides, (0, 0)),
    )
  x, sizes = _shifts(x, (window, window), stride, -jnp.inf, padding)
  for axis, size in zip((1, 2), sizes, strict=True):
    parts = [_rows(x, i, size, stride, axis) for i in range(window)]
    x = parts[0]
    for part in parts[1:]:
      x = jnp.maximum(x, part)
  return x


def avg_pool(
  x: Array, window: int, stride: int, padding: Padding = 'VALID'
) -> Array:
  """Average each window over the pixels inside the image, as Keras does."""
  size = (window, window)
  sides = pads(x.shape[1:3], size, stride, padding)
  counts = []
  for length, (before, after) in zip(x.shape[1:3], sides, strict=True):
    starts = range(-before, length + after - window + 1, stride)
    counts.append([min(s + window, length) - max(s, 0) for s in starts])
  rows, columns = (jnp.asarray(c, x.dtype) for c in counts)
  inside = rows[None, :, None, None] * columns[None, None, :, None]
  if use_shifted():
    total, sizes = _shifts(x, size, stride, 0.0, padding)
    for axis, length in zip((1, 2), sizes, strict=True):
      total = sum(_rows(total, i, length, stride, axis) for i in range(window))
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
