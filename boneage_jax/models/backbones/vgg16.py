"""VGG-16 (Simonyan and Zisserman 2015), the OxfordNet of Chirawu 2022.

Its fully connected layers are stages of their own and run as convolutions: an
input of 224 pixels gives one position, a larger one a map.
"""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models.backbones import base
from boneage_jax.models.backbones import plain

# Filters of the 3x3 convolutions, each block followed by 2x2 pooling.
BLOCKS = {
  'block1': (64, 64),  # input 224: B 112 112 64
  'block2': (128, 128),  # B 56 56 128
  'block3': (256, 256, 256),  # B 28 28 256
  'block4': (512, 512, 512),  # B 14 14 512
  'block5': (512, 512, 512),  # B 7 7 512
}
WINDOW = 7  # of fc6: B 1 1 4096
HIDDEN, CLASSES = 4096, 1000


class VGG16(base.Backbone):
  """Stages 'block1' ... 'block5', 'fc6', 'fc7', 'fc8'.

  The layers fc6 and fc7 drop nothing in training, as in Keras; fc8 has the
  1,000 outputs of ImageNet, without a softmax.

  Args:
    width: scales the channels of all but fc8.
    endpoint: 'fc7' by default, the deepest layer that is no class.
    in_channels, dtype, remat: as of every backbone.
  """

  receptive_fields: Mapping[str, tuple] = {
    **{name: ((2, 2, 'VALID'),) for name in BLOCKS},
    'fc6': ((WINDOW, 1, 'VALID'),),
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
      names=(*BLOCKS, 'fc6', 'fc7', 'fc8'),
      in_channels=in_channels,
      endpoint=endpoint or 'fc7',
      input_range='caffe',
      remat=remat,
    )
    scale = lambda c: layers.scale_channels(c, width)
    options = {'dtype': dtype, 'rngs': rngs}
    make = {
      name: lambda c, filters=filters: plain.Stage(
        c, [scale(f) for f in filters], 3, pool=(2, 2), **options
      )
      for name, filters in BLOCKS.items()
    } | {
      'fc6': lambda c: plain.FullyConnected(
        c, scale(HIDDEN), WINDOW, **options
      ),
      'fc7': lambda c: plain.FullyConnected(c, scale(HIDDEN), **options),
      'fc8': lambda c: plain.FullyConnected(c, CLASSES, relu=False, **options),
    }
    for name in self.stages:
      stage = make[name](in_channels)
      setattr(self, name, stage)
      in_channels = stage.channels
