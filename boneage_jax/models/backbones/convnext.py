"""ConvNeXt (Liu et al. 2022): LayerNorm, 7x7 depthwise, GELU, layer scale.

Keras' weights and timm's are one function up to 'stage4'; the last stage,
'norm', is the LayerNorm of the published head. Keras' no-top net applies it at
every position of the map, and so do we. With the top on, and in timm, it
follows the average over the map instead: endpoint='stage4' gives the map that
they average.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import base

# Blocks and channels of the four stages.
VARIANTS = {
  'tiny': ((3, 3, 9, 3), (96, 192, 384, 768)),
  'small': ((3, 3, 27, 3), (96, 192, 384, 768)),
  'base': ((3, 3, 27, 3), (128, 256, 512, 1024)),
  'large': ((3, 3, 27, 3), (192, 384, 768, 1536)),
  'xlarge': ((3, 3, 27, 3), (256, 512, 1024, 2048)),
}


class LayerNorm(nnx.LayerNorm):
  """Normalise the channels at every position; statistics are float32."""

  def __init__(self, channels: int, dtype: Any, rngs: nnx.Rngs):
    self.channels = channels
    super().__init__(
      channels, epsilon=1e-6, use_fast_variance=False, dtype=dtype, rngs=rngs
    )


class Depthwise(nnx.Module):
  """7x7 convolution of every channel by itself, with bias."""

  def __init__(self, channels: int, dtype: Any, rngs: nnx.Rngs):
    self.dtype = dtype
    self.kernel = nnx.Param(
      layers.kernel_init(rngs.params(), (7, 7, 1, channels))
    )
    self.bias = nnx.Param(jnp.zeros(channels))

  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.kernel[...].astype(self.dtype)
    x = ops.depthwise(x.astype(self.dtype), kernel)
    return x + layers.per_channel(self.bias[...]).astype(self.dtype)


class Block(nnx.Module):
  """Depthwise convolution, LayerNorm, two-layer perceptron, shortcut."""

  def __init__(
    self,
    channels: int,
    layer_scale: float,
    drop_path: float,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    linear = lambda i, o: nnx.Linear(
      i, o, kernel_init=layers.kernel_init, dtype=dtype, rngs=rngs
    )
    self.depthwise = Depthwise(channels, dtype, rngs)
    self.norm = LayerNorm(channels, dtype, rngs)
    self.expand = linear(channels, 4 * channels)
    self.contract = linear(4 * channels, channels)
    self.layer_scale = nnx.Param(jnp.full(channels, layer_scale))
    self.drop = nnx.Dropout(drop_path, broadcast_dims=(1, 2, 3))

  def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
    y = self.norm(self.depthwise(x))
    y = self.contract(nnx.gelu(self.expand(y), approximate=False))
    y = y * layers.per_channel(self.layer_scale[...]).astype(y.dtype)
    return ops.once(x + self.drop(y, rngs=rngs))


class Stem(nnx.Module):
  """4x4 patches."""

  def __init__(
    self, in_channels: int, channels: int, dtype: Any, rngs: nnx.Rngs
  ):
    self.channels = channels
    self.conv = layers.Conv(
      in_channels,
      channels,
      4,
      stride=4,
      padding='VALID',
      use_bias=True,
      dtype=dtype,
      rngs=rngs,
    )
    self.norm = LayerNorm(channels, dtype, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.norm(self.conv(x))


class Stage(nnx.Module):
  """Blocks, `block1` first, behind 2x2 patches unless in_channels is None."""

  def __init__(
    self,
    in_channels: int | None,
    channels: int,
    drop_paths: Sequence[float],
    *,
    layer_scale: float,
    remat: bool,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.down = in_channels is not None
    self.channels, self.count, self.remat = channels, len(drop_paths), remat
    if self.down:
      self.norm = LayerNorm(in_channels, dtype, rngs)
      self.conv = layers.Conv(
        in_channels,
        channels,
        2,
        stride=2,
        padding='VALID',
        use_bias=True,
        dtype=dtype,
        rngs=rngs,
      )
    for i, rate in enumerate(drop_paths, 1):
      setattr(
        self, f'block{i}', Block(channels, layer_scale, rate, dtype, rngs)
      )

  def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
    x = self.conv(self.norm(x)) if self.down else x
    for i in range(1, self.count + 1):
      x = base.call(getattr(self, f'block{i}'), x, self.remat, rngs)
    return x


class ConvNeXt(base.Backbone):
  """Stages 'stem', 'stage1' ... 'stage4', 'norm'.

  Args:
    variant: a key of VARIANTS.
    layer_scale: where the residual paths' scales start. At the published 1e-6
      a net begins as a few linear maps, which suits long training; short
      training from scratch wants 0.1 to 1.
    drop_path: share of films whose last residual path is dropped in training;
      it falls linearly to 0 at the first (the paper's tiny net: 0.1).
  """

  receptive_fields: Mapping[str, tuple] = {
    'stem': ((4, 4, 'VALID'),),
    **{f'stage{i}': ((2, 2, 'VALID'),) for i in (2, 3, 4)},
  }
  random: tuple[str, ...] = ('stage1', 'stage2', 'stage3', 'stage4')

  def __init__(
    self,
    *,
    variant: str = 'tiny',
    in_channels: int = 3,
    width: float = 1.0,
    endpoint: str | None = None,
    layer_scale: float = 1e-6,
    drop_path: float = 0.0,
    cbam: str = 'none',
    dtype: Any = jnp.float32,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    if variant not in VARIANTS:
      raise ValueError(
        f'variant is one of {", ".join(VARIANTS)}, not {variant!r}.'
      )
    super().__init__(
      names=('stem', *self.random, 'norm'),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='torch',
      remat=False,  # Within the stages, per block.
    )
    counts, channels = VARIANTS[variant]
    channels = [layers.scale_channels(c, width) for c in channels]
    rates = np.linspace(0, drop_path, sum(counts)).tolist()
    self.stem = Stem(in_channels, channels[0], dtype, rngs)  # input 224: 56 96
    # B 56 56 96, B 28 28 192, B 14 14 384, B 7 7 768.
    for i, name in enumerate(self.stages[1:5]):
      stage = Stage(
        channels[i - 1] if i else None,
        channels[i],
        rates[sum(counts[:i]) : sum(counts[: i + 1])],
        layer_scale=layer_scale,
        remat=remat,
        dtype=dtype,
        rngs=rngs,
      )
      setattr(self, name, stage)
    if 'norm' in self.stages:
      self.norm = LayerNorm(channels[-1], dtype, rngs)
    self.add_gates(cbam, self.stages[1:5], dtype, rngs)
