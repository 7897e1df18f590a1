"""The trunk of m46, the age net of Iglovikov 2017, in its authors' form."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import base

FILTERS = (32, 64, 128, 128, 256, 384)
EPS, MOMENTUM = 1e-5, 0.9  # PyTorch's


class ConvELU(nnx.Module):
  """Convolution, ELU, BatchNorm."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    kernel: int,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.conv = layers.Conv(
      in_channels,
      channels,
      kernel,
      use_bias=True,
      init=layers.fan_out_init,
      dtype=dtype,
      rngs=rngs,
    )
    self.bn = layers.BatchNorm(
      channels, eps=EPS, momentum=MOMENTUM, dtype=dtype
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.bn(nnx.elu(self.conv(x)))


class Block(nnx.Module):
  """A 3x3 and a 1x1 convolution, then 3x3 max pooling with stride 2."""

  def __init__(
    self, in_channels: int, channels: int, dtype: Any, rngs: nnx.Rngs
  ):
    self.channels = channels
    self.conv1 = ConvELU(in_channels, channels, 3, dtype, rngs)
    self.conv2 = ConvELU(channels, channels, 1, dtype, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    return ops.max_pool(self.conv2(self.conv1(x)), 3, 2, 'VALID')


class M46(base.Backbone):
  """Stages 'block1' ... 'block6', which take sides of 127 pixels or more.

  Args:
    width: scales the channels, for small budgets.
    endpoint, in_channels, dtype, remat: as of every backbone; the paper's input
      is grey.
  """

  receptive_fields: Mapping[str, tuple] = {
    f'block{i}': ((3, 2, 'VALID'),) for i in range(1, 7)
  }

  def __init__(
    self,
    *,
    in_channels: int = 1,
    width: float = 1.0,
    endpoint: str | None = None,
    dtype: Any = jnp.float32,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    super().__init__(
      names=tuple(self.receptive_fields),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='tf',
      remat=remat,
    )
    # Input 500 x 375: B 249 187 32, B 124 93 64, B 61 46 128, B 30 22 128,
    # B 14 10 256, B 6 4 384.
    for name, filters in zip(self.stages, FILTERS, strict=False):
      channels = layers.scale_channels(filters, width)
      setattr(self, name, Block(in_channels, channels, dtype, rngs))
      in_channels = channels
