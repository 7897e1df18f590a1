"""EfficientNet (Tan and Le 2019): inverted residuals, scaled by one rule.

The published weights come in two kinds. 'tf' is Keras' and timm's tf_*:
strided convolutions pad as 'SAME', eps 1e-3, momentum 0.99. 'torch' is timm's
own: they pad evenly, eps 1e-5, momentum 0.9. They are different functions of
the same kernels. Input is in the 'torch' range for both; Keras' net does the
same inside (the variances in its weight file are deviations, which a second
rescaling by 1 / sqrt(deviation) completes).
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import Any
from typing import NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import base

# Width and depth; 1.1 ** phi and 1.2 ** phi, as published.
VARIANTS = {
  'b0': (1.0, 1.0),
  'b1': (1.0, 1.1),
  'b2': (1.1, 1.2),
  'b3': (1.2, 1.4),
  'b4': (1.4, 1.8),
  'b5': (1.6, 2.2),
  'b6': (1.8, 2.6),
  'b7': (2.0, 3.1),
}
PADDINGS = ('tf', 'torch')
BLOCKS = 'abcdefghijklm'  # names within a stage; B7 has 13 in one


class Spec(NamedTuple):
  """One stage of B0."""

  count: int
  channels: int
  kernel: int
  stride: int
  expand: int


STAGES = {
  'block1': Spec(1, 16, 3, 1, 1),  # input 224: B 112 112 16
  'block2': Spec(2, 24, 3, 2, 6),  # B 56 56 24
  'block3': Spec(2, 40, 5, 2, 6),  # B 28 28 40
  'block4': Spec(3, 80, 3, 2, 6),  # B 14 14 80
  'block5': Spec(3, 112, 5, 1, 6),  # B 14 14 112
  'block6': Spec(4, 192, 5, 2, 6),  # B 7 7 192
  'block7': Spec(1, 320, 3, 1, 6),  # B 7 7 320
}


def scale_channels(channels: int, width: float) -> int:
  """Scale to a multiple of 8 that is at least 8 and 90 % of the exact value."""
  exact = channels * width
  rounded = max(8, int(exact + 4) // 8 * 8)
  return rounded + 8 if rounded < 0.9 * exact else rounded


def counts(variant: str) -> dict[str, int]:
  """Blocks of each stage."""
  depth = VARIANTS[variant][1]
  return {name: math.ceil(depth * spec.count) for name, spec in STAGES.items()}


def conv_padding(padding: str, kernel: int) -> ops.Padding:
  """Return how a strided convolution pads; `padding` is one of PADDINGS."""
  return 'SAME' if padding == 'tf' else kernel // 2


class Conv(layers.ConvBN):
  """Convolution, BatchNorm, swish."""

  def __init__(self, *arguments: Any, **options: Any):
    super().__init__(*arguments, relu=False, **options)

  def __call__(self, x: jax.Array) -> jax.Array:
    return nnx.silu(super().__call__(x))


class Depthwise(nnx.Module):
  """Depthwise convolution, BatchNorm, an activation."""

  def __init__(
    self,
    channels: int,
    kernel: int,
    stride: int,
    padding: ops.Padding = 'SAME',
    activation: Callable[[jax.Array], jax.Array] = nnx.silu,
    *,
    eps: float,
    momentum: float,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.stride, self.padding, self.dtype = stride, padding, dtype
    self.activation = activation
    self.kernel = nnx.Param(
      layers.kernel_init(rngs.params(), (kernel, kernel, 1, channels))
    )
    self.bn = layers.BatchNorm(
      channels, eps=eps, momentum=momentum, dtype=dtype
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.kernel[...].astype(self.dtype)
    x = ops.depthwise(x.astype(self.dtype), kernel, self.stride, self.padding)
    return self.activation(self.bn(x))


class SqueezeExcite(nnx.Module):
  """Channel gate (Hu et al. 2018)."""

  def __init__(self, channels: int, hidden: int, dtype: Any, rngs: nnx.Rngs):
    options = {'use_bias': True, 'dtype': dtype, 'rngs': rngs}
    self.reduce = layers.Conv(channels, hidden, 1, **options)
    self.expand = layers.Conv(hidden, channels, 1, **options)

  def __call__(self, x: jax.Array) -> jax.Array:
    pooled = x.mean((1, 2), keepdims=True)
    return x * nnx.sigmoid(self.expand(nnx.silu(self.reduce(pooled))))


class Block(nnx.Module):
  """1x1 up, depthwise, channel gate, 1x1 down and, where it fits, shortcut."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    spec: Spec,
    stride: int,
    padding: str,
    drop_path: float,
    options: dict[str, Any],
  ):
    self.channels, self.expands = channels, spec.expand > 1
    self.residual = stride == 1 and in_channels == channels
    hidden = in_channels * spec.expand
    if self.expands:
      self.expand = Conv(in_channels, hidden, 1, **options)
    self.depthwise = Depthwise(
      hidden,
      spec.kernel,
      stride,
      conv_padding(padding, spec.kernel),
      **options,
    )
    self.gate = SqueezeExcite(
      hidden, max(1, in_channels // 4), options['dtype'], options['rngs']
    )
    self.project = layers.ConvBN(hidden, channels, 1, relu=False, **options)
    self.drop = nnx.Dropout(drop_path, broadcast_dims=(1, 2, 3))

  def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
    y = self.expand(x) if self.expands else x
    y = self.project(self.gate(self.depthwise(y)))
    return ops.once(x + self.drop(y, rngs=rngs)) if self.residual else y


class Stage(nnx.Module):
  """Blocks 'a', 'b', ...; the first one strides."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    spec: Spec,
    padding: str,
    drop_paths: Sequence[float],
    remat: bool,
    options: dict[str, Any],
  ):
    self.names = tuple(BLOCKS[: len(drop_paths)])
    self.channels, self.remat = channels, remat
    for name, rate in zip(self.names, drop_paths, strict=True):
      stride = spec.stride if name == 'a' else 1
      block = Block(in_channels, channels, spec, stride, padding, rate, options)
      setattr(self, name, block)
      in_channels = channels

  def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
    for name in self.names:
      x = base.call(getattr(self, name), x, self.remat, rngs)
    return x


class EfficientNet(base.Backbone):
  """Stages 'stem', 'block1' ... 'block7', 'top', named as in Keras.

  Args:
    variant: a key of VARIANTS.
    width: multiplies the variant's own.
    padding: 'tf' or 'torch', see the module.
    drop_path: share of films whose last residual path is dropped in training;
      it falls linearly to 0 at the first (Keras: 0.2).
  """

  random: tuple[str, ...] = tuple(STAGES)

  def __init__(
    self,
    *,
    variant: str = 'b0',
    in_channels: int = 3,
    width: float = 1.0,
    endpoint: str | None = None,
    padding: str = 'tf',
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
    if padding not in PADDINGS:
      raise ValueError(
        f'padding is one of {", ".join(PADDINGS)}, not {padding!r}.'
      )
    super().__init__(
      names=('stem', *STAGES, 'top'),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='torch',
      remat=False,  # Within the stages, per block.
    )
    self.padding = padding
    options = {
      'eps': 1e-3 if padding == 'tf' else 1e-5,
      'momentum': 0.99 if padding == 'tf' else 0.9,
      'dtype': dtype,
      'rngs': rngs,
    }
    scale = lambda c: scale_channels(c, VARIANTS[variant][0] * width)
    channels = scale(32)
    self.stem = Conv(
      in_channels,
      channels,
      3,
      stride=2,
      padding=conv_padding(padding, 3),
      **options,
    )
    blocks, built = counts(variant), 0
    total = sum(blocks.values())
    for name in self.stages[1:8]:
      spec = STAGES[name]
      order = np.arange(built, built + blocks[name])
      stage = Stage(
        channels,
        scale(spec.channels),
        spec,
        padding,
        (drop_path * order / total).tolist(),
        remat,
        options,
      )
      setattr(self, name, stage)
      channels = stage.channels
      built += blocks[name]
    if 'top' in self.stages:
      self.top = Conv(channels, scale(1280), 1, **options)
    self.add_gates(cbam, self.stages[1:8], dtype, rngs)

  @property
  def receptive_fields(self) -> Mapping[str, tuple]:
    return {
      'stem': ((3, 2, conv_padding(self.padding, 3)),),
      **{
        name: ((spec.kernel, 2, conv_padding(self.padding, spec.kernel)),)
        for name, spec in STAGES.items()
        if spec.stride == 2
      },
    }
