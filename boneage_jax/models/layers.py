"""Layers the backbones share: convolutions, BatchNorm, pooling, input range.

XLA's CPU depthwise convolution and the weight gradient of its 1x1 convolution
are far slower than what a CPU can do, so both have a second form here, equal to
rounding. `FORM` picks it: None asks `jax.default_backend()` when a step is
traced, 'shifted' and 'native' force one (tests, exports for another backend).
"""

import math
from typing import Any

from flax import nnx
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

FORM: str | None = None

Array = jax.Array
Padding = str | int
NHWC = ('NHWC', 'HWIO', 'NHWC')


def kernel_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32):
  """He uniform, fan in (He et al. 2015), drawn on the host.

  Hundreds of random operations take XLA a minute to compile and NumPy half a
  second to run. Under a trace, where only shapes count (`nnx.eval_shape`), it
  gives NaN, so that a net built inside `jax.jit` cannot be taken for one.
  """
  if isinstance(key, jax.core.Tracer):
    return jnp.full(shape, jnp.nan, dtype)
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
  limit = math.sqrt(6 / math.prod(shape[:-1]))
  return jnp.asarray(rng.uniform(-limit, limit, shape), dtype)


def use_shifted() -> bool:
  """Tell whether convolutions take the form that is fast on a CPU."""
  if FORM not in (None, 'native', 'shifted'):
    raise ValueError(
      f"layers.FORM is None, 'native' or 'shifted', not {FORM!r}."
    )
  return FORM == 'shifted' or (FORM is None and jax.default_backend() == 'cpu')


def scale_channels(channels: int, width: float) -> int:
  """Scale a channel count, rounded to a multiple of 8 and at least 8."""
  return max(8, round(channels * width / 8) * 8)


# Statistics of ImageNet, RGB.
_CAFFE_MEAN = (123.68, 116.779, 103.939)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)


def preprocess(image: Array, input_range: str, channels: int = 3) -> Array:
  """Bring a uint8 image to the range a backbone was trained on.

  Args:
    image: [B, H, W, 1 or 3] uint8; grey is repeated, colour is RGB.
    input_range: 'tf' [-1, 1]; 'caffe' BGR minus the mean; 'torch' RGB, mean 0
      and deviation 1 over ImageNet.
    channels: what the backbone takes, 3 or 1 (grey; per-channel constants are
      averaged).

  Returns:
    [B, H, W, channels] float32.
  """
  if image.shape[-1] not in (1, channels):
    raise ValueError(
      f'The backbone takes {channels} channels, the image {image.shape} has '
      f'{image.shape[-1]}. Give a grey image, or build the backbone with '
      f'in_channels={image.shape[-1]}.'
    )
  x = jnp.asarray(image, jnp.float32)
  x = jnp.broadcast_to(x, (*x.shape[:-1], channels))
  if input_range == 'tf':
    return x / 127.5 - 1.0
  if input_range == 'caffe':
    return x[..., ::-1] - _constants(_CAFFE_MEAN[::-1], channels)
  if input_range == 'torch':
    mean = _constants(_TORCH_MEAN, channels)
    return (x / 255.0 - mean) / _constants(_TORCH_STD, channels)
  raise ValueError(
    f"input_range is 'tf', 'caffe' or 'torch', not {input_range!r}."
  )


def _constants(values: tuple[float, ...], channels: int) -> Array:
  values = jnp.asarray(values, jnp.float32)
  if channels == 1:
    values = values.mean(keepdims=True)
  return per_channel(values)


def per_channel(values: Array) -> Array:
  """Reshape [C] to [1, 1, 1, C], to meet maps without rank promotion."""
  return values.reshape(1, 1, 1, -1)


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
  if kernel.shape[:2] == (1, 1) and use_shifted() and padding != 1:
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


class Conv(nnx.Module):
  """Convolution; `kernel` [kh, kw, I, O] and `bias` [O] stay float32."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    padding: Padding = 'SAME',
    use_bias: bool = False,
    dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
  ):
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    self.stride, self.padding, self.dtype = stride, padding, dtype
    self.kernel = nnx.Param(
      kernel_init(rngs.params(), (*size, in_channels, channels))
    )
    self.bias = nnx.Param(jnp.zeros(channels)) if use_bias else None

  def __call__(self, x: Array) -> Array:
    kernel = self.kernel[...].astype(self.dtype)
    x = convolve(x.astype(self.dtype), kernel, self.stride, self.padding)
    if self.bias is not None:
      x = x + per_channel(self.bias[...]).astype(self.dtype)
    return x


class BatchNorm(nnx.Module):
  """Batch normalisation with float32 statistics, Keras' conventions.

  The new moving value is momentum * old + (1 - momentum) * batch, with the
  biased variance. `model.train()` and `model.eval()` set use_running_average.
  """

  def __init__(
    self,
    channels: int,
    *,
    eps: float,
    momentum: float = 0.99,
    use_scale: bool = True,
    dtype: Any = jnp.float32,
  ):
    self.eps, self.momentum, self.dtype = eps, momentum, dtype
    self.use_running_average = False
    self.scale = nnx.Param(jnp.ones(channels)) if use_scale else None
    self.bias = nnx.Param(jnp.zeros(channels))
    self.mean = nnx.BatchStat(jnp.zeros(channels))
    self.var = nnx.BatchStat(jnp.ones(channels))

  def __call__(self, x: Array) -> Array:
    if self.use_running_average:
      mean, var = self.mean[...], self.var[...]
    else:
      x32 = x.astype(jnp.float32)
      mean = x32.mean((0, 1, 2))
      var = jnp.square(x32 - per_channel(mean)).mean((0, 1, 2))
      keep = self.momentum
      self.mean[...] = keep * self.mean[...] + (1 - keep) * lax.stop_gradient(
        mean
      )
      self.var[...] = keep * self.var[...] + (1 - keep) * lax.stop_gradient(var)
    gain = lax.rsqrt(var + self.eps)
    if self.scale is not None:
      gain = gain * self.scale[...]
    centred = x.astype(jnp.float32) - per_channel(mean)
    y = centred * per_channel(gain) + per_channel(self.bias[...])
    return y.astype(self.dtype)


class ConvBN(nnx.Module):
  """Convolution, BatchNorm and, unless relu is False, ReLU."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    padding: Padding = 'SAME',
    use_bias: bool = False,
    use_scale: bool = True,
    eps: float,
    momentum: float = 0.99,
    relu: bool = True,
    dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
  ):
    self.channels, self.relu = channels, relu
    self.conv = Conv(
      in_channels,
      channels,
      kernel,
      stride=stride,
      padding=padding,
      use_bias=use_bias,
      dtype=dtype,
      rngs=rngs,
    )
    self.bn = BatchNorm(
      channels, eps=eps, momentum=momentum, use_scale=use_scale, dtype=dtype
    )

  def __call__(self, x: Array) -> Array:
    x = self.bn(self.conv(x))
    return nnx.relu(x) if self.relu else x


class SeparableConv(nnx.Module):
  """3x3 depthwise then 1x1 convolution, both without bias."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    *,
    dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
  ):
    self.dtype = dtype
    self.depthwise = nnx.Param(
      kernel_init(rngs.params(), (3, 3, 1, in_channels))
    )
    self.pointwise = Conv(in_channels, channels, 1, dtype=dtype, rngs=rngs)

  def __call__(self, x: Array) -> Array:
    kernel = self.depthwise[...].astype(self.dtype)
    return self.pointwise(depthwise(x.astype(self.dtype), kernel))
