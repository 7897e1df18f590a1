"""Regions as the channels of one picture, for one backbone (Chen 2020)."""

import jax.numpy as jnp

from boneage_jax.models import age_net


class RegionChannels(age_net.AgeNet):
  """Crops of a film, stacked as colours are, to one age (Chen 2020, phase II).

  Xception's map goes through a 3x3 convolution to 256 channels and 3x3 maximum
  pooling (pool 'conv_pool'), and is joined by 32 linear features of sex. The
  age is one number (v1: output 'scalar'), or the expectation of 240 bins (v2:
  output 'bins').

  Fewer regions than the backbone has channels take turns: one region is a grey
  picture, of two the first comes twice. The paper does not say; so ImageNet
  weights fit every choice. Arguments are those of AgeNet.
  """

  def _input(self, batch):
    """Return what the backbone takes of `regions`, uint8 [B,R,H,W,1].

    Without any, the whole film, `image`, is the only region.
    """
    if 'regions' in batch:
      regions = batch['regions']
    else:
      regions = batch['image'][:, None]
    net, count = self.backbone, regions.shape[1]
    if count > net.in_channels:
      raise ValueError(
        f'{count} regions do not fit {net.in_channels} channels; name fewer in '
        f'input.regions or set net.backbone.in_channels={count}.'
      )
    turns = [channel % count for channel in range(net.in_channels)]
    x = jnp.moveaxis(regions[..., 0], 1, -1)[..., jnp.array(turns)]
    return super()._input({'image': x})
