"""U-Net (Ronneberger 2015) with batch norm: a film to a mask of its size."""

from collections.abc import Sequence

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.core import sizes
from boneage_jax.models import layers
from boneage_jax.models import net as net_lib
from boneage_jax.models import ops
from boneage_jax.models.backbones import base

# Of the five levels, the finest first. Ours: the paper names no width.
CHANNELS = (32, 64, 128, 256, 512)
EPS = 1e-5  # PyTorch's


class Twice(nnx.List):
  """Two convolutions, one after the other."""

  def __call__(self, x: jax.Array) -> jax.Array:
    first, second = self
    return second(first(x))


class UNet(net_lib.Net):
  """Whole film to the logits of a mask (Iglovikov 2017, segmentation).

  The paper adds batch norm to the U-Net. Ours are: convolutions that keep the
  size of a map; upsampling by nearest neighbour and a convolution, which
  leaves no chequered pattern; a momentum of 0.9, for short runs.

  Pixels beyond the film, of a letterbox or of a film that was turned, count in
  the statistics of batch norm like dark film: they look alike, come alike in
  training and in use, and are background that the net must call so.

  Args:
    size: of the net input in pixels: side of a square, or (height, width);
      multiples of 16, with fewer levels of 8 or 4 or 2.
    width: scales CHANNELS, see layers.scale_channels.
    levels: how many of CHANNELS, the finest first.
    dtype: of the computation: 'float32' or 'bfloat16'; parameters, statistics
      and logits stay float32.
    remat: compute the maps of each level again in the backward pass.

  Raises:
    ValueError: a side is no such multiple, or there are no such levels.
  """

  inputs = ()

  def __init__(
    self,
    *,
    size: int | Sequence[int],
    width: float = 1.0,
    levels: int = len(CHANNELS),
    dtype: str = 'float32',
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    if not 2 <= levels <= len(CHANNELS):
      raise ValueError(
        f'Expected net.levels from 2 to {len(CHANNELS)}, got {levels}.'
      )
    multiple = 2 ** (levels - 1)
    if any(side % multiple for side in sizes.size_hw(size)):
      raise ValueError(
        f'Expected an input.size of multiples of {multiple} for net.name='
        f"'unet', which halves the film {levels - 1} times, got {size}."
      )
    dtype, self.remat = jnp.dtype(dtype), remat
    channels = [layers.scale_channels(c, width) for c in CHANNELS[:levels]]
    options = dict(eps=EPS, momentum=0.9, dtype=dtype, rngs=rngs)
    conv = lambda before, after: layers.ConvBN(before, after, 3, **options)
    twice = lambda before, after: Twice(
      [conv(before, after), conv(after, after)]
    )
    self.down = nnx.List(map(twice, [1, *channels], channels))
    fine, coarse = channels[-2::-1], channels[:0:-1]
    self.up = nnx.List(map(conv, coarse, fine))
    self.join = nnx.List([twice(2 * c, c) for c in fine])
    self.mask = layers.Conv(channels[0], 1, 1, use_bias=True, rngs=rngs)

  def features(self, batch, rngs=None):
    """Return the last map [B,H,W,C] of `image`, grey films, uint8 [B,H,W,1]."""
    del rngs
    x = layers.preprocess(batch['image'], 'tf', channels=1)  # B 512 512 1
    maps = []
    for twice in self.down:
      if maps:
        x = ops.max_pool(x, 2, 2)
      x = base.call(twice, x, self.remat)
      maps.append(x)
    # Without a width: B 512 512 32, B 256 256 64, B 128 128 128, B 64 64 256,
    # and last B 32 32 512.
    skips = maps[-2::-1]
    for up, twice, skip in zip(self.up, self.join, skips, strict=True):
      x = jnp.concatenate([skip, up(double(x))], -1)
      x = base.call(twice, x, self.remat)
    # Back the same way, from B 64 64 256 to B 512 512 32.
    return x

  def head(self, features, inputs, rngs=None):
    """Return `mask` [B,H,W], logits that a pixel is inside, float32."""
    del inputs, rngs
    logits = self.mask(features.astype(jnp.float32))
    return {'mask': logits[..., 0]}


def double(x: jax.Array) -> jax.Array:
  """Show every pixel of a map [B,H,W,C] as four: [B,2H,2W,C]."""
  batch, height, width, channels = x.shape
  x = jnp.broadcast_to(
    x[:, :, None, :, None], (batch, height, 2, width, 2, channels)
  )
  return x.reshape(batch, 2 * height, 2 * width, channels)
