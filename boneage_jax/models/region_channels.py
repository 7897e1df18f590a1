"""Regions as the channels of one picture, for one backbone (Chen 2020)."""

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import backbones
from boneage_jax.models import heads
from boneage_jax.models import layers


class RegionChannels(nnx.Module):
  """Crops of a film, stacked as colours are, to one age (Chen 2020, phase II).

  Xception's map goes through a 3x3 convolution to 256 channels and 3x3 maximum
  pooling, and is joined by 32 linear features of sex ('conv_pool',
  `sex_features=32`). The age is one number (v1: output 'scalar'), or the
  expectation of 240 bins (v2: output 'bins').

  Args:
    size: side of each crop in pixels.
    backbone: `name` and arguments of a backbone. Fewer regions than it has
      channels take turns: one region is a grey picture, of two the first comes
      twice. The paper does not say; so ImageNet weights fit every choice.
    pool: 'conv_pool', 'gap' or 'gmp'.
    output, readout, sex_features, dropout: of heads.AgeHead.
    dtype: as in age_net.AgeNet.
  """

  def __init__(
    self,
    *,
    size: int,
    backbone: dict,
    pool: str = 'conv_pool',
    output: str = 'bins',
    readout: str = 'expectation',
    sex_features: int = 32,
    dropout: float = 0.0,
    dtype: str = 'float32',
    rngs: nnx.Rngs,
  ):
    dtype = jnp.dtype(dtype)
    self.backbone = backbones.create(backbone, dtype=dtype, rngs=rngs)
    hw = heads.map_hw(self.backbone, size)
    channels = self.backbone.channels
    self.pool = heads.pool(pool, channels, hw, dtype=dtype, rngs=rngs)
    self.age_head = heads.AgeHead(
      self.pool.out_features,
      output=output,
      readout=readout,
      sex_features=sex_features,
      dropout=dropout,
      rngs=rngs,
    )

  def features(self, regions, rngs=None):
    """Map [B,h,w,C] of regions, uint8 [B,R,H,W,1]."""
    net, count = self.backbone, regions.shape[1]
    if count > net.in_channels:
      raise ValueError(
        f'{count} regions do not fit {net.in_channels} channels; name fewer in '
        f'input.regions or set net.backbone.in_channels={count}.'
      )
    turns = [channel % count for channel in range(net.in_channels)]
    x = jnp.moveaxis(regions[..., 0], 1, -1)[..., jnp.array(turns)]
    x = layers.preprocess(x, net.input_range, net.in_channels)
    return net.features(x, rngs)

  def head(self, features, male, rngs=None):
    """Outputs of a map: `age` [B] and, with bins, `logits` [B,240]."""
    return self.age_head(self.pool(features), male, rngs=rngs)

  def __call__(self, batch: dict[str, jax.Array], rngs=None):
    if 'regions' in batch:
      regions = batch['regions']
    else:  # the whole film is the only region
      regions = batch['image'][:, None]
    return self.head(self.features(regions, rngs), batch['male'], rngs=rngs)
