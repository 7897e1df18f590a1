"""Xception (Chollet 2017) in the form of Keras' weights: eps 1e-3, [-1, 1]."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import base

EPS = 1e-3


class SepBN(nnx.Module):
  """Separable convolution and BatchNorm."""

  def __init__(
    self, in_channels: int, channels: int, dtype: Any, rngs: nnx.Rngs
  ):
    self.conv = layers.SeparableConv(
      in_channels, channels, dtype=dtype, rngs=rngs
    )
    self.bn = layers.BatchNorm(channels, eps=EPS, dtype=dtype)

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.bn(self.conv(x))


class Stem(nnx.Module):
  """block1: two 3x3 convolutions, the first with stride 2."""

  def __init__(
    self,
    in_channels: int,
    channels: tuple[int, int],
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    options = {'padding': 'VALID', 'eps': EPS, 'dtype': dtype, 'rngs': rngs}
    self.channels = channels[1]
    self.conv1 = layers.ConvBN(in_channels, channels[0], 3, stride=2, **options)
    self.conv2 = layers.ConvBN(channels[0], channels[1], 3, **options)

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.conv2(self.conv1(x))  # B 147 147 64 (input 300)


class Block(nnx.Module):
  """[ReLU, separable] chain plus shortcut; `down` halves the map."""

  def __init__(
    self,
    in_channels: int,
    channels: tuple[int, ...],
    *,
    down: bool = False,
    relu_first: bool = True,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.count, self.down = len(channels), down
    self.relu_first, self.channels = relu_first, channels[-1]
    if down:
      self.shortcut = layers.ConvBN(
        in_channels,
        channels[-1],
        1,
        stride=2,
        eps=EPS,
        relu=False,
        dtype=dtype,
        rngs=rngs,
      )
    for i, c in enumerate(channels, 1):
      setattr(self, f'sepconv{i}', SepBN(in_channels, c, dtype, rngs))
      in_channels = c

  def __call__(self, x: jax.Array) -> jax.Array:
    shortcut = self.shortcut(x) if self.down else x
    for i in range(1, self.count + 1):
      x = nnx.relu(x) if i > 1 or self.relu_first else x
      x = getattr(self, f'sepconv{i}')(x)
    if self.down:
      x = ops.max_pool(x, 3, 2, 'SAME')
    return ops.once(x + shortcut)


class Exit(nnx.Module):
  """The last two separable convolutions, [separable, ReLU], no shortcut."""

  def __init__(
    self,
    in_channels: int,
    channels: tuple[int, int],
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.channels = channels[1]
    self.sepconv1 = SepBN(in_channels, channels[0], dtype, rngs)
    self.sepconv2 = SepBN(channels[0], channels[1], dtype, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    return nnx.relu(self.sepconv2(nnx.relu(self.sepconv1(x))))


class Xception(base.Backbone):
  """Stages 'block1' ... 'block14', named as in Keras.

  With fewer middle blocks the names of the missing ones (from 'block12' down)
  are left out, so 'block13' and 'block14' keep theirs.
  """

  receptive_fields: Mapping[str, tuple] = {
    'block1': ((3, 2, 'VALID'), (3, 1, 'VALID')),
    **{f'block{i}': ((3, 2, 'SAME'),) for i in (2, 3, 4, 13)},
  }

  def __init__(
    self,
    *,
    in_channels: int = 3,
    width: float = 1.0,
    endpoint: str | None = None,
    middle_blocks: int = 8,
    cbam: str = 'none',
    dtype: Any = jnp.float32,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    if not 0 <= middle_blocks <= 8:
      raise ValueError(f'middle_blocks is 0 to 8, not {middle_blocks}.')
    c = lambda *channels: tuple(
      layers.scale_channels(n, width) for n in channels
    )
    down = {'down': True}
    plan = {  # input 300: block1 gives B 147 147 64
      'block2': (c(128, 128), {'down': True, 'relu_first': False}),  # 74
      'block3': (c(256, 256), down),  # B 37 37 256
      'block4': (c(728, 728), down),  # B 19 19 728
      **{
        f'block{i + 5}': (c(728, 728, 728), {})  # B 19 19 728
        for i in range(middle_blocks)
      },
      'block13': (c(728, 1024), down),  # B 10 10 1024
      'block14': (c(1536, 2048), None),  # B 10 10 2048
    }
    super().__init__(
      names=('block1', *plan),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='tf',
      remat=remat,
    )
    self.block1 = Stem(in_channels, c(32, 64), dtype, rngs)
    in_channels = self.block1.channels
    for name in self.stages[1:]:
      channels, options = plan[name]
      if options is None:
        block = Exit(in_channels, channels, dtype, rngs)
      else:
        block = Block(in_channels, channels, dtype=dtype, rngs=rngs, **options)
      setattr(self, name, block)
      in_channels = block.channels
    self.add_gates(cbam, self.stages[1:], dtype, rngs)
