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
from boneage_jax.models.heads import age as age_head

# Ours: filters of the blocks, the first three of the paper's age nets.
FILTERS = (32, 64, 128)
EPS = 1e-5
READOUTS = ('linear', 'soft_argmax')


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

  With `readout='soft_argmax'` (ours) the last layer gives a logit for each cell
  of the last map instead, to which a 1x1 convolution adds what the cell itself
  looks like; a point is the mean position of the softmax. A net of few films
  finds points closer so.

  Args:
    size: of the net input in pixels: side of a square, or (height, width); the
      paper has (130, 100).
    points: how many there are.
    readout: 'linear', the paper's, or 'soft_argmax'.
    width: of the filters, 1 is 32, 64 and 128.
    features: of the fully connected block.
    dropout: before the last layer.
    dtype: of the convolutions: 'float32' or 'bfloat16'; all else is float32.

  Raises:
    ValueError: an input that three poolings leave nothing of; no such readout.
  """

  inputs: tuple[str, ...] = ()

  def __init__(
    self,
    *,
    size: int | Sequence[int],
    points: int,
    readout: str = 'linear',
    width: float = 1.0,
    features: int = 512,
    dropout: float = 0.0,
    dtype: str = 'float32',
    rngs: nnx.Rngs,
  ):
    hw = [side // 2 ** len(FILTERS) for side in sizes.size_hw(size)]
    if min(hw) < 1:
      raise ValueError(
        f'Expected an input of {2 ** len(FILTERS)} pixels or more along each '
        f'side for keypoint_net, got {size}: raise input.size.'
      )
    if readout not in READOUTS:
      raise ValueError(
        f'Expected net.readout to be one of {", ".join(READOUTS)}, got '
        f'{readout!r}.'
      )
    channels = [layers.scale_channels(n, width) for n in FILTERS]
    self.blocks = nnx.List(
      Block(before, after, dtype=jnp.dtype(dtype), rngs=rngs)
      for before, after in zip([1, *channels], channels, strict=False)
    )
    flat = math.prod(hw) * channels[-1]
    self.hidden = age_head.linear(flat, features, rngs=rngs)
    self.dropout = nnx.Dropout(dropout)
    self.hw = tuple(hw)
    if readout == 'soft_argmax':
      outputs = points * math.prod(hw)
      self.cells = layers.Conv(
        channels[-1], points, 1, use_bias=True, rngs=rngs
      )
    else:
      outputs, self.cells = 2 * points, None
    self.fc = age_head.linear(features, outputs, rngs=rngs)

  def features(self, batch, rngs=None):
    """Return the map [B,h,w,C] of `image`, grey films, uint8 [B,H,W,1]."""
    x = layers.preprocess(batch['image'], 'tf', 1)
    for block in self.blocks:
      x = block(x)
    return x

  def head(self, features, inputs, rngs=None):
    """Return `points` [B,K,2], see points.to_unit, float32, of a map."""
    del inputs
    features = features.astype(jnp.float32)
    count = features.shape[0]
    x = features.reshape(count, -1)
    x = self.dropout(nnx.elu(self.hidden(x)), rngs=rngs)
    x = self.fc(x)
    if self.cells is None:
      return {'points': x.reshape(count, -1, 2)}
    logits = self.cells(features) + x.reshape(count, *self.hw, -1)
    return {'points': mean_position(logits)}


def mean_position(logits: jax.Array) -> jax.Array:
  """Return x and y [B,K,2] of the softmax over cells [B,h,w,K], see to_unit.

  A cell stands at its centre: of w cells the first is at 1 / w - 1.
  """
  _, height, width, _ = logits.shape
  share = jax.nn.softmax(logits, (1, 2))
  centres = lambda n: (2 * jnp.arange(n) + 1) / n - 1
  x = jnp.sum(share.sum(1) * centres(width)[:, None], 1)
  y = jnp.sum(share.sum(2) * centres(height)[:, None], 1)
  return jnp.stack([x, y], -1)
