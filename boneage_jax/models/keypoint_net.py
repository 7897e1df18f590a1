"""Key points of a hand: a small VGG net of coordinates (Iglovikov 2017)."""

from collections.abc import Sequence
import math

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.core import sizes
from boneage_jax.models import layers
from boneage_jax.models import net as net_lib
from boneage_jax.models import ops
from boneage_jax.models.backbones import base
from boneage_jax.models.heads import age as age_head

# Ours: filters of the blocks, the first three of the paper's age nets.
FILTERS = (32, 64, 128)
EPS = 1e-5


class Block(nnx.Module):
  """Two 3x3 convolutions, each with BatchNorm and ELU, then max pooling 2x2."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    *,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
  ):
    arguments = dict(eps=EPS, relu=False, dtype=dtype, rngs=rngs)
    self.first = layers.ConvBN(in_channels, channels, 3, **arguments)
    self.second = layers.ConvBN(channels, channels, 3, **arguments)

  def __call__(self, x: jax.Array) -> jax.Array:
    x = nnx.elu(self.second(nnx.elu(self.first(x))))
    return ops.max_pool(x, 2, 2)


class KeypointNet(net_lib.Net):
  """Whole film to coordinates of its key points (Iglovikov 2017).

  Three VGG blocks, a fully connected block (linear, ELU) and one linear layer.
  Filters, features and the two convolutions of a block are ours: the paper has
  none of them in numbers that we could read. BatchNorm in the fully connected
  block too made the loss on phantoms fall more slowly.

  Args:
    size: of the net input in pixels: side of a square, or (height, width); the
      paper has (130, 100).
    points: how many there are.
    width: of the filters, 1 is 32, 64 and 128.
    features: of the fully connected block.
    dropout: before the last layer.
    dtype: of the convolutions: 'float32' or 'bfloat16'; all else is float32.
    remat: compute the maps of each block again in the backward pass.

  Raises:
    ValueError: an input that three poolings leave nothing of.
  """

  inputs: tuple[str, ...] = ()

  def __init__(
    self,
    *,
    size: int | Sequence[int],
    points: int,
    width: float = 1.0,
    features: int = 512,
    dropout: float = 0.0,
    dtype: str = 'float32',
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    self.remat = remat
    hw = [side // 2 ** len(FILTERS) for side in sizes.size_hw(size)]
    if min(hw) < 1:
      raise ValueError(
        f'Expected an input of {2 ** len(FILTERS)} pixels or more along each '
        f'side for keypoint_net, got {size}: raise input.size.'
      )
    channels = [layers.scale_channels(n, width) for n in FILTERS]
    self.blocks = nnx.List(
      Block(before, after, dtype=jnp.dtype(dtype), rngs=rngs)
      for before, after in zip([1, *channels], channels, strict=False)
    )
    flat = math.prod(hw) * channels[-1]
    self.hidden = age_head.linear(flat, features, rngs=rngs)
    self.dropout = nnx.Dropout(dropout)
    self.fc = age_head.linear(features, 2 * points, rngs=rngs)

  def features(self, batch, rngs=None):
    """Return the map [B,h,w,C] of `image`, grey films, uint8 [B,H,W,1]."""
    x = layers.preprocess(batch['image'], 'tf', 1)
    for block in self.blocks:
      x = base.call(block, x, self.remat)
    return x

  def head(self, features, inputs, rngs=None):
    """Return `points` [B,K,2], see points.to_unit, float32, of a map."""
    del inputs
    x = features.reshape(features.shape[0], -1).astype(jnp.float32)
    x = self.dropout(nnx.elu(self.hidden(x)), rngs=rngs)
    x = self.fc(x)
    return {'points': x.reshape(x.shape[0], -1, 2)}
