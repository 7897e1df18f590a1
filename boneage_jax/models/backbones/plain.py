"""Stages of nets without shortcuts, branches or BatchNorm."""

from collections.abc import Sequence
from typing import Any

from flax import nnx
import jax

from boneage_jax.models import layers
from boneage_jax.models import ops


class ConvReLU(nnx.Module):
  """Convolution with a bias, and ReLU."""

  def __init__(self, in_channels: int, channels: int, kernel: int, **options):
    self.channels = channels
    self.conv = layers.Conv(
      in_channels, channels, kernel, use_bias=True, **options
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    return nnx.relu(self.conv(x))


class Stage(nnx.Module):
  """Convolutions 'conv1', 'conv2', ... of one kernel, and maximum pooling.

  Args:
    in_channels: of the input.
    channels: of each convolution.
    kernel: of all of them.
    stride: of the first.
    padding: of all of them.
    pool: window and stride, without padding; (1, 1) for none.
    dtype, rngs: of the convolutions.
  """

  def __init__(
    self,
    in_channels: int,
    channels: Sequence[int],
    kernel: int,
    *,
    stride: int = 1,
    padding: ops.Padding = 'SAME',
    pool: tuple[int, int] = (1, 1),
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.channels, self.pool = channels[-1], pool
    self.names = tuple(f'conv{i + 1}' for i in range(len(channels)))
    options = {'padding': padding, 'dtype': dtype, 'rngs': rngs}
    for name, count in zip(self.names, channels, strict=True):
      conv = ConvReLU(in_channels, count, kernel, stride=stride, **options)
      setattr(self, name, conv)
      in_channels, stride = count, 1

  def __call__(self, x: jax.Array) -> jax.Array:
    for name in self.names:
      x = getattr(self, name)(x)
    return x if self.pool == (1, 1) else ops.max_pool(x, *self.pool)


class FullyConnected(nnx.Module):
  """A fully connected layer at every place where its window fits.

  On a map of the window's size it is the layer itself; on a larger one, a
  convolution that gives a map of its outputs.
  """

  def __init__(
    self,
    in_channels: int,
    channels: int,
    window: int = 1,
    *,
    relu: bool = True,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.channels, self.window, self.relu = channels, window, relu
    self.conv = layers.Conv(
      in_channels,
      channels,
      window,
      padding='VALID',
      use_bias=True,
      dtype=dtype,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    if min(x.shape[1:3]) < self.window:
      raise ValueError(
        f'Expected a map of {self.window} x {self.window} positions or more '
        f'for a fully connected layer, got {x.shape[1]} x {x.shape[2]}: raise '
        'input.size, or end before it with net.backbone.endpoint.'
      )
    x = self.conv(x)
    return nnx.relu(x) if self.relu else x
