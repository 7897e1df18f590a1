"""OverFeat, the fast model (Sermanet et al. 2014, table 1).

Its fully connected layers are stages of their own and run as convolutions: an
input of 231 pixels gives one position, one of 264 pixels 2 x 2.
"""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from flax import nnx
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import base
from boneage_jax.models.backbones import plain


class Spec(NamedTuple):
  """A convolution, and whether 2x2 pooling follows."""

  channels: int
  kernel: int
  stride: int
  padding: ops.Padding
  pooled: bool


CONVS = {
  'conv1': Spec(96, 11, 4, 'VALID', True),  # input 231: B 28 28 96
  'conv2': Spec(256, 5, 1, 'VALID', True),  # B 12 12 256
  'conv3': Spec(512, 3, 1, 'SAME', False),  # B 12 12 512
  'conv4': Spec(1024, 3, 1, 'SAME', False),  # B 12 12 1024
  'conv5': Spec(1024, 3, 1, 'SAME', True),  # B 6 6 1024
}
# Window and channels: B 1 1 3072, B 1 1 4096.
FULL = {'fc6': (6, 3072), 'fc7': (1, 4096)}
CLASSES = 1000


class OverFeat(base.Backbone):
  """Stages 'conv1' ... 'conv5', 'fc6', 'fc7', 'fc8'.

  The layers fc6 and fc7 drop nothing in training; fc8 has the 1,000 outputs of
  ImageNet, without a softmax.

  Args:
    width: scales the channels of all but fc8.
    endpoint: 'fc7' by default, the deepest layer that is no class.
    in_channels, dtype, remat: as of every backbone.
  """

  receptive_fields: Mapping[str, tuple] = {
    **{
      name: ((spec.kernel, spec.stride, spec.padding),)
      + (((2, 2, 'VALID'),) if spec.pooled else ())
      for name, spec in CONVS.items()
    },
    'fc6': ((FULL['fc6'][0], 1, 'VALID'),),
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
      names=(*CONVS, *FULL, 'fc8'),
      in_channels=in_channels,
      endpoint=endpoint or 'fc7',
      input_range='tf',  # ours: no file of weights that is read here says other
      remat=remat,
    )
    options = {'dtype': dtype, 'rngs': rngs}
    for name in self.stages:
      if name in CONVS:
        spec = CONVS[name]
        stage = plain.Stage(
          in_channels,
          [layers.scale_channels(spec.channels, width)],
          spec.kernel,
          stride=spec.stride,
          padding=spec.padding,
          pool=(2, 2) if spec.pooled else (1, 1),
          **options,
        )
      elif name in FULL:
        window, channels = FULL[name]
        channels = layers.scale_channels(channels, width)
        stage = plain.FullyConnected(in_channels, channels, window, **options)
      else:
        stage = plain.FullyConnected(
          in_channels, CLASSES, relu=False, **options
        )
      setattr(self, name, stage)
      in_channels = stage.channels
