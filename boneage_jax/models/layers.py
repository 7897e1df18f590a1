"""Layers the backbones share: convolutions, BatchNorm, input range."""

from collections.abc import Callable
import math
import types
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax.models import ops

Array = jax.Array


class Keys:
  """Keys of the parameters of a net, those of `nnx.Rngs(seed)`.

  That one counts in an array. Where a trace builds the net, each new count
  makes JAX look through all of the trace: seconds for a hundred layers.
  """

  def __init__(self, seed: int):
    self._key, self._count = jax.random.key(seed), 0

  def params(self) -> Array:
    """Return the next key."""
    key = jax.random.fold_in(self._key, self._count)
    self._count += 1
    return key


def kernel_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32):
  """He uniform, fan in (He et al. 2015), drawn on the host.

  Hundreds of random operations take XLA a minute to compile and NumPy half a
  second to run. Under a trace, where only shapes count (`nnx.eval_shape`), it
  gives NaN, so that a net built inside `jax.jit` cannot be taken for one.
  """
  limit = math.sqrt(6 / math.prod(shape[:-1]))
  return _drawn(
    key, shape, dtype, lambda rng: rng.uniform(-limit, limit, shape)
  )


def fan_out_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32):
  """He normal, fan out, of convolutions [kh, kw, I, O]; see `kernel_init`."""
  deviation = math.sqrt(2 / math.prod((*shape[:-2], shape[-1])))
  return _drawn(key, shape, dtype, lambda rng: rng.normal(0, deviation, shape))


def linear_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32):
  """Uniform as PyTorch's linear layers [I, O]; see `kernel_init`."""
  bound = 1 / math.sqrt(shape[0])
  return _drawn(
    key, shape, dtype, lambda rng: rng.uniform(-bound, bound, shape)
  )


def _drawn(
  key: Array,
  shape: tuple[int, ...],
  dtype: Any,
  draw: Callable[[np.random.Generator], np.ndarray],
) -> Array:
  if isinstance(key, jax.core.Tracer):
    return jnp.full(shape, jnp.nan, dtype)
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
  return jnp.asarray(draw(rng), dtype)


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
    channels: what the backbone takes: 3, or another number of grey ones, each
      of which takes the mean of the constants.

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
  if channels != len(values):
    values = values.mean(keepdims=True)
  return per_channel(values)


def per_channel(values: Array) -> Array:
  """Reshape [C] to [1, 1, 1, C], to meet maps without rank promotion."""
  return values.reshape(1, 1, 1, -1)


def local_response_norm(
  x: Array, size: int = 5, alpha: float = 1e-4, beta: float = 0.75
) -> Array:
  """Divide by (1 + alpha * mean of squares)^beta over neighbouring channels.

  The mean is over `size` channels about each one, zero beyond the ends
  (Krizhevsky et al. 2012, with the constants of GoogLeNet in Caffe).
  """
  reach = size // 2
  squares = jnp.pad(jnp.square(x), ((0, 0), (0, 0), (0, 0), (reach, reach)))
  count = x.shape[-1]
  total = sum(squares[..., i : i + count] for i in range(size))
  return x / (1 + alpha / size * total) ** beta


class Conv(nnx.Module):
  """Convolution; `kernel` [kh, kw, I, O] and `bias` [O] stay float32.

  Not Flax's: to take the forms of `ops` and draw no key for the bias, that
  needs as much code.
  """

  def __init__(
    self,
    in_channels: int,
    channels: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    padding: ops.Padding = 'SAME',
    use_bias: bool = False,
    init: Callable[..., Array] = kernel_init,
    dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
  ):
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    self.stride, self.padding, self.dtype = stride, padding, dtype
    self.kernel = nnx.Param(init(rngs.params(), (*size, in_channels, channels)))
    self.bias = nnx.Param(jnp.zeros(channels)) if use_bias else None

  def __call__(self, x: Array) -> Array:
    kernel = self.kernel[...].astype(self.dtype)
    x = ops.convolve(x.astype(self.dtype), kernel, self.stride, self.padding)
    if self.bias is not None:
      x = x + per_channel(self.bias[...]).astype(self.dtype)
    return x


def _as_they_are(values: Any, dtype: Any) -> Any:
  """Leave statistics float32, where Flax would round them to bfloat16."""
  del dtype
  return values


# Batch normalisation begins at constants, and looks at no key.
_NO_KEYS = types.SimpleNamespace(params=lambda: None)


class _Statistic(nnx.BatchStat):
  """A moving value that is replaced without a look at where its values lie.

  Flax compares the shardings of old and new values. Of one under a trace JAX
  then looks through the whole trace, which takes longer than all else.
  """

  def set_value(self, value: Any, **options: Any) -> None:
    old = self.get_raw_value()
    whole = options.get('index') is Ellipsis and isinstance(value, jax.Array)
    if whole and (value.shape, value.dtype) == (old.shape, old.dtype):
      self.set_raw_value(value)
    else:
      super().set_value(value, **options)


class BatchNorm(nnx.BatchNorm):
  """Flax's batch normalisation with float32 statistics, Keras' conventions.

  The new moving value is momentum * old + (1 - momentum) * batch, with the
  biased variance. `model.train()` and `model.eval()` set use_running_average.
  In training `ops.normalize` computes, in the form that suits the device.
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
    super().__init__(
      channels,
      epsilon=eps,
      momentum=momentum,
      use_scale=use_scale,
      use_fast_variance=False,
      dtype=dtype,
      promote_dtype=_as_they_are,
      rngs=_NO_KEYS,
    )
    self.mean = _Statistic(self.mean[...])
    self.var = _Statistic(self.var[...])

  def __call__(self, x: Array) -> Array:
    if self.use_running_average:
      return super().__call__(x)
    y, mean, var = ops.normalize(
      x,
      jnp.ones(x.shape[-1]) if self.scale is None else self.scale[...],
      self.bias[...],
      self.epsilon,
      shift=self.mean[...],
    )
    share = 1 - self.momentum
    for moving, value in ((self.mean, mean), (self.var, var)):
      moving[...] += share * (value - moving[...])
    return y.astype(self.dtype)


def set_batch_norms(net: nnx.Module, **attributes: Any) -> None:
  """Set attributes of every BatchNorm of a net, which may have none."""
  net.set_attributes(nnx.BatchNorm, raise_if_not_found=False, **attributes)


class ConvBN(nnx.Module):
  """Convolution, BatchNorm and, unless relu is False, ReLU."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    padding: ops.Padding = 'SAME',
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
    return self.pointwise(ops.depthwise(x.astype(self.dtype), kernel))
