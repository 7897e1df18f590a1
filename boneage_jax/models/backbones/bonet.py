"""BoNet (Spampinato 2017): five convolutions and a deformation layer.

Filters of the paper are not known but for their number of layers; these are
ours. Nothing is padded, so that each position of a large film's map sees what
the map of a crop saw.
"""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import spatial_transformer
from boneage_jax.models.backbones import base
from boneage_jax.models.backbones import plain

# Channels, kernel, stride, and whether 3x3 pooling with stride 2 follows.
CONVS = {
  'conv1': (96, 7, 2, True),  # input 224: B 54 54 96
  'conv2': (256, 5, 1, True),  # B 24 24 256
  'conv3': (384, 3, 1, False),  # B 22 22 384
  'conv4': (384, 3, 1, False),  # B 20 20 384
  'conv5': (256, 3, 1, True),  # B 8 8 256
}
POOL = (3, 2)
DEFORM = 'deform'  # on the map of conv4: B 20 20 384


class BoNet(base.Backbone):
  """Stages 'conv1' ... 'conv4', 'deform', 'conv5'.

  Args:
    deformation: build the stage 'deform', a spatial transformer.
    width: scales the channels.
    in_channels, endpoint, dtype, remat: as of every backbone; a film is grey.
  """

  # Those of the undeformed map.
  receptive_fields: Mapping[str, tuple] = {
    name: ((kernel, stride, 'VALID'),) + (((*POOL, 'VALID'),) if pooled else ())
    for name, (_, kernel, stride, pooled) in CONVS.items()
  }

  def __init__(
    self,
    *,
    deformation: bool = True,
    in_channels: int = 1,
    width: float = 1.0,
    endpoint: str | None = None,
    dtype: Any = jnp.float32,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    names = list(CONVS)
    if deformation:
      names.insert(names.index('conv5'), DEFORM)
    super().__init__(
      names=tuple(names),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='tf',
      remat=remat,
    )
    options = {'dtype': dtype, 'rngs': rngs}
    for name in self.stages:
      if name == DEFORM:
        stage = spatial_transformer.SpatialTransformer(in_channels, **options)
      else:
        channels, kernel, stride, pooled = CONVS[name]
        stage = plain.Stage(
          in_channels,
          [layers.scale_channels(channels, width)],
          kernel,
          stride=stride,
          padding='VALID',
          pool=POOL if pooled else (1, 1),
          **options,
        )
      setattr(self, name, stage)
      in_channels = stage.channels

  @property
  def deforms(self) -> bool:
    """Whether it has the stage 'deform'."""
    return DEFORM in self.stages

  def features_and_deformation(
    self, x: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Return `features`, and the affine maps [B, 2, 3] of the stage 'deform'.

    Such a map takes a place of the stage's output to one of its input, see
    `spatial_transformer`.
    """
    at = self.stages.index(DEFORM)
    x = self.run(x, stop=at)
    matrices = self.deform.matrices(x)
    return self.run(self.deform.bend(x, matrices), start=at + 1), matrices

  def deformed_box(
    self, size_hw: tuple[int, int]
  ) -> tuple[float, float, float, float] | None:
    """Return where the map lies that the stage 'deform' bends.

    Args:
      size_hw: height and width of the input in pixels.

    Returns:
      x0, y0, x1, y1, edges of its outermost positions in pixels of the input;
      None of a net that deforms nothing.
    """
    if not self.deforms:
      return None
    fields = self.fields(stop=self.stages.index(DEFORM))
    (y, x), (height, width) = base.follow(fields, size_hw)
    (x0, x1), (y0, y1) = (
      (first - step / 2, first + step * (count - 0.5))
      for (step, first), count in ((x, width), (y, height))
    )
    return x0, y0, x1, y1
