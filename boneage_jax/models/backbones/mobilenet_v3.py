"""MobileNetV3-Large (Howard et al. 2019), in the form of Keras' weights.

Strided convolutions pad as 'SAME', which is what Keras' own padding gives on
inputs of known size; eps 1e-3, momentum 0.999.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import base
from boneage_jax.models.backbones import efficientnet

EPS, MOMENTUM = 1e-3, 0.999
GATE = 0.25  # channels of a gate's hidden layer, share of the block's
TOP = 6  # channels of 'top' to one of the last block's

Activation = Callable[[jax.Array], jax.Array]


class Spec(NamedTuple):
  """One inverted residual block."""

  expand: float
  channels: int
  kernel: int
  stride: int
  gated: bool
  swish: bool  # hard swish, else ReLU


BLOCKS = {
  'block0': Spec(1, 16, 3, 1, False, False),  # input 224: B 112 112 16
  'block1': Spec(4, 24, 3, 2, False, False),  # B 56 56 24
  'block2': Spec(3, 24, 3, 1, False, False),
  'block3': Spec(3, 40, 5, 2, True, False),  # B 28 28 40
  'block4': Spec(3, 40, 5, 1, True, False),
  'block5': Spec(3, 40, 5, 1, True, False),
  'block6': Spec(6, 80, 3, 2, False, True),  # B 14 14 80
  'block7': Spec(2.5, 80, 3, 1, False, True),
  'block8': Spec(2.3, 80, 3, 1, False, True),
  'block9': Spec(2.3, 80, 3, 1, False, True),
  'block10': Spec(6, 112, 3, 1, True, True),  # B 14 14 112
  'block11': Spec(6, 112, 3, 1, True, True),
  'block12': Spec(6, 160, 5, 2, True, True),  # B 7 7 160
  'block13': Spec(6, 160, 5, 1, True, True),
  'block14': Spec(6, 160, 5, 1, True, True),
}

scale_channels = efficientnet.scale_channels  # the rule of both families


class Conv(layers.ConvBN):
  """Convolution, BatchNorm and an activation, if any."""

  def __init__(
    self, *arguments: Any, activation: Activation | None = None, **options: Any
  ):
    super().__init__(*arguments, relu=False, **options)
    self.activation = activation

  def __call__(self, x: jax.Array) -> jax.Array:
    x = super().__call__(x)
    return x if self.activation is None else self.activation(x)


class Gate(efficientnet.SqueezeExcite):
  """Channel gate (Hu et al. 2018) with a hard sigmoid."""

  def __call__(self, x: jax.Array) -> jax.Array:
    pooled = x.mean((1, 2), keepdims=True)
    return x * nnx.hard_sigmoid(self.expand(nnx.relu(self.reduce(pooled))))


class Block(nnx.Module):
  """1x1 up, depthwise, gate, 1x1 down and, where it fits, shortcut."""

  def __init__(
    self, in_channels: int, channels: int, spec: Spec, options: dict[str, Any]
  ):
    self.channels, self.gated = channels, spec.gated
    self.expands = spec.expand != 1
    self.residual = spec.stride == 1 and in_channels == channels
    activation = nnx.hard_swish if spec.swish else nnx.relu
    hidden = in_channels
    if self.expands:
      hidden = scale_channels(in_channels, spec.expand)
      self.expand = Conv(
        in_channels, hidden, 1, activation=activation, **options
      )
    self.depthwise = efficientnet.Depthwise(
      hidden, spec.kernel, spec.stride, activation=activation, **options
    )
    if self.gated:
      self.gate = Gate(
        hidden,
        scale_channels(hidden, GATE),
        options['dtype'],
        options['rngs'],
      )
    self.project = Conv(hidden, channels, 1, **options)

  def __call__(self, x: jax.Array) -> jax.Array:
    y = self.expand(x) if self.expands else x
    y = self.depthwise(y)
    y = self.project(self.gate(y) if self.gated else y)
    return ops.once(x + y) if self.residual else y


class MobileNetV3(base.Backbone):
  """Stages 'stem', 'block0' ... 'block14', 'top', numbered as in Keras.

  Args:
    width: scales the channels of the blocks (Keras' alpha, which leaves the
      stem as it is).
    in_channels, endpoint, dtype, remat: as of every backbone.
  """

  receptive_fields: Mapping[str, tuple] = {
    'stem': ((3, 2, 'SAME'),),
    **{
      name: ((spec.kernel, 2, 'SAME'),)
      for name, spec in BLOCKS.items()
      if spec.stride == 2
    },
  }

  def __init__(
    self,
    *,
    in_channels: int = 3,
    width: float = 1.0,
    endpoint: str | None = None,
    dtype: Any = jnp.float32,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    super().__init__(
      names=('stem', *BLOCKS, 'top'),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='tf',
      remat=remat,
    )
    options = {'eps': EPS, 'momentum': MOMENTUM, 'dtype': dtype, 'rngs': rngs}
    self.stem = Conv(
      in_channels, 16, 3, stride=2, activation=nnx.hard_swish, **options
    )
    channels = self.stem.channels  # B 112 112 16
    for name, spec in BLOCKS.items():
      if name in self.stages:
        out = scale_channels(spec.channels, width)
        setattr(self, name, Block(channels, out, spec, options))
        channels = out
    if 'top' in self.stages:
      self.top = Conv(  # B 7 7 960
        channels,
        scale_channels(channels, TOP),
        1,
        activation=nnx.hard_swish,
        **options,
      )
