"""ResNet v1 (He et al. 2015) of 18, 34 or 50 layers.

Two published variants of the 50-layer net differ in where a bottleneck strides:
'v1' in its first 1x1 convolution (Keras: convolution biases, eps 1.001e-5,
momentum 0.99, caffe input), 'v1.5' in its 3x3 (torchvision: no biases, eps
1e-5, momentum 0.9, torch input). They are different functions of the same
kernels.
"""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import base

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class Basic(nnx.Module):
  """Two 3x3 convolutions and a shortcut."""

  expansion = 1

  def __init__(
    self,
    in_channels: int,
    width: int,
    stride: int,
    variant: str,
    options: dict[str, Any],
  ):
    del variant  # Only a bottleneck has the choice.
    self.channels = width
    self.project = stride != 1 or in_channels != width
    if self.project:
      self.shortcut = layers.ConvBN(
        in_channels, width, 1, stride=stride, relu=False, **options
      )
    self.conv1 = layers.ConvBN(
      in_channels, width, 3, stride=stride, padding=1, **options
    )
    self.conv2 = layers.ConvBN(
      width, width, 3, padding=1, relu=False, **options
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    shortcut = self.shortcut(x) if self.project else x
    return ops.once(nnx.relu(self.conv2(self.conv1(x)) + shortcut))


class Bottleneck(nnx.Module):
  """1x1 down, 3x3, 1x1 up and a shortcut."""

  expansion = 4

  def __init__(
    self,
    in_channels: int,
    width: int,
    stride: int,
    variant: str,
    options: dict[str, Any],
  ):
    self.channels = width * self.expansion
    first, second = (stride, 1) if variant == 'v1' else (1, stride)
    self.project = stride != 1 or in_channels != self.channels
    if self.project:
      self.shortcut = layers.ConvBN(
        in_channels, self.channels, 1, stride=stride, relu=False, **options
      )
    self.conv1 = layers.ConvBN(in_channels, width, 1, stride=first, **options)
    self.conv2 = layers.ConvBN(
      width, width, 3, stride=second, padding=1, **options
    )
    self.conv3 = layers.ConvBN(width, self.channels, 1, relu=False, **options)

  def __call__(self, x: jax.Array) -> jax.Array:
    shortcut = self.shortcut(x) if self.project else x
    return ops.once(nnx.relu(self.conv3(self.conv2(self.conv1(x))) + shortcut))


class Stem(nnx.Module):
  """Convolution of an odd kernel and, if pool, a max pool; stride 2 each."""

  def __init__(
    self,
    in_channels: int,
    width: int,
    *,
    kernel: int,
    pool: bool,
    options: dict[str, Any],
  ):
    self.channels, self.pool = width, pool
    self.fields = ((kernel, 2, kernel // 2), *(((3, 2, 1),) if pool else ()))
    self.conv = layers.ConvBN(
      in_channels, width, kernel, stride=2, padding=kernel // 2, **options
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    x = self.conv(x)  # B 150 150 64 (input 300)
    return ops.max_pool(x, 3, 2, 1) if self.pool else x  # B 75 75 64


class Stage(nnx.Module):
  """Residual blocks of one width, `block1` first."""

  def __init__(
    self,
    block: type[Basic] | type[Bottleneck],
    *,
    count: int,
    in_channels: int,
    width: int,
    stride: int,
    variant: str,
    remat: bool,
    options: dict[str, Any],
  ):
    self.count, self.remat = count, remat
    for i in range(1, count + 1):
      module = block(
        in_channels, width, stride if i == 1 else 1, variant, options
      )
      setattr(self, f'block{i}', module)
      in_channels = module.channels
    self.channels = in_channels

  def __call__(self, x: jax.Array) -> jax.Array:
    for i in range(1, self.count + 1):
      x = base.call(getattr(self, f'block{i}'), x, self.remat)
    return x


class ResNet(base.Backbone):
  """Stages 'stem', 'stage1' ... 'stage4'.

  `conv_bias=None` takes what the published weights of the form have: biases
  for the 50-layer net with variant 'v1', none otherwise. Small films lose less
  in a stem of a smaller `stem_kernel` (the paper: 7) without `stem_pool`; maps
  then have twice the side.
  """

  def __init__(
    self,
    *,
    depth: int = 50,
    in_channels: int = 3,
    width: float = 1.0,
    endpoint: str | None = None,
    variant: str = 'v1',
    conv_bias: bool | None = None,
    stem_kernel: int = 7,
    stem_pool: bool = True,
    cbam: str = 'none',
    dtype: Any = jnp.float32,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    if depth not in BLOCKS:
      raise ValueError(f'depth is one of {tuple(BLOCKS)}, not {depth}.')
    if variant not in ('v1', 'v1.5'):
      raise ValueError(f"variant is 'v1' or 'v1.5', not {variant!r}.")
    if stem_kernel < 1 or stem_kernel % 2 == 0:
      raise ValueError(
        f'Expected an odd stem_kernel of 1 or more, got {stem_kernel}.'
      )
    keras = variant == 'v1'
    super().__init__(
      names=('stem', 'stage1', 'stage2', 'stage3', 'stage4'),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='caffe' if keras else 'torch',
      remat=False,  # Within the stages, per residual block.
    )
    options = {
      'use_bias': keras and depth == 50 if conv_bias is None else conv_bias,
      'eps': 1.001e-5 if keras else 1e-5,
      'momentum': 0.99 if keras else 0.9,
      'dtype': dtype,
      'rngs': rngs,
    }
    block = Bottleneck if depth == 50 else Basic
    c = layers.scale_channels(64, width)
    self.stem = Stem(
      in_channels, c, kernel=stem_kernel, pool=stem_pool, options=options
    )
    channels = c
    # Input 300: B 75 75 256, B 38 38 512, B 19 19 1024, B 10 10 2048.
    for i, name in enumerate(self.stages[1:]):
      stage = Stage(
        block,
        count=BLOCKS[depth][i],
        in_channels=channels,
        width=layers.scale_channels(64 * 2**i, width),
        stride=1 if i == 0 else 2,
        variant=variant,
        remat=remat,
        options=options,
      )
      setattr(self, name, stage)
      channels = stage.channels
    self.add_gates(cbam, self.stages[1:], dtype, rngs)

  @property
  def receptive_fields(self) -> Mapping[str, tuple]:
    return {
      'stem': self.stem.fields,
      # A 3x3 convolution with stride 2 and padding 1 looks at these centres.
      **{f'stage{i}': ((1, 2, 0),) for i in (2, 3, 4)},
    }
