"""One film, one age: a backbone, an optional CBAM, and an age head."""

from flax import nnx
import jax.numpy as jnp

from boneage_jax.models import backbones
from boneage_jax.models import cbam
from boneage_jax.models import heads
from boneage_jax.models import layers


class AgeNet(nnx.Module):
  """Whole film (or one crop) to bone age; also the cascade's localizer.

  `features` and `head` are all that Grad-CAM needs. The localizer of Li 2023
  is Inception-V3 with CBAM after the last block, global average pooling and
  240 soft labels (the target of Chen 2020, phase I, which knows no sex).

  Args:
    size: side of the net input in pixels.
    backbone: `name` and arguments of a backbone.
    attention: 'none', or 'cbam' after the backbone's map.
    pool: 'gap', 'gmp' or 'conv_pool'.
    output, readout, sex_features, dropout: of heads.AgeHead.
    dtype: of the computation: 'float32' or 'bfloat16'; parameters, statistics
      and outputs stay float32.
  """

  def __init__(
    self,
    *,
    size: int,
    backbone: dict,
    attention: str = 'none',
    pool: str = 'gap',
    output: str = 'bins',
    readout: str = 'expectation',
    sex_features: int = 32,
    dropout: float = 0.0,
    dtype: str = 'float32',
    rngs: nnx.Rngs,
  ):
    if attention not in ('none', 'cbam'):
      raise ValueError(
        f"net.attention={attention!r} is unknown; choose 'none' or 'cbam'."
      )
    dtype = jnp.dtype(dtype)
    self.backbone = backbones.create(backbone, dtype=dtype, rngs=rngs)
    channels = self.backbone.channels
    self.attention = (
      cbam.CBAM(channels, dtype=dtype, rngs=rngs)
      if attention == 'cbam'
      else None
    )
    hw = heads.map_hw(self.backbone, size)
    self.pool = heads.pool(pool, channels, hw, dtype=dtype, rngs=rngs)
    self.age_head = heads.AgeHead(
      self.pool.out_features,
      output=output,
      readout=readout,
      sex_features=sex_features,
      dropout=dropout,
      rngs=rngs,
    )

  def features(self, image, rngs=None):
    """Map [B,h,w,C] of grey films, uint8 [B,H,W,1]."""
    net = self.backbone
    x = layers.preprocess(image, net.input_range, net.in_channels)
    x = net.features(x, rngs)
    return x if self.attention is None else self.attention(x)

  def head(self, features, male, rngs=None):
    """Outputs of a map: `age` [B] months and, with bins, `logits` [B,240]."""
    return self.age_head(self.pool(features), male, rngs=rngs)

  def __call__(self, batch, rngs=None):
    features = self.features(batch['image'], rngs)
    return self.head(features, batch['male'], rngs=rngs)
