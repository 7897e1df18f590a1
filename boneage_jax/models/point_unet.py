"""Key points of a hand by a U-Net: each is the mean place of a map (ours)."""

from collections.abc import Sequence

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import unet


class PointUNet(unet.UNet):
  """Whole film to coordinates of its key points, from a map for each (ours).

  The paper's net (keypoint_net.py) tells coordinates by fully connected layers,
  which must learn anew for each place how a finger tip looks. Here the last
  maps of a U-Net are one for each point; a point is the mean position of the
  map's softmax. Loss and points are as the paper's.

  Args:
    size, width, levels, dtype, remat: see unet.UNet.
    points: how many there are.
  """

  def __init__(
    self,
    *,
    size: int | Sequence[int],
    points: int,
    width: float = 1.0,
    levels: int = len(unet.CHANNELS),
    dtype: str = 'float32',
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    super().__init__(
      size=size, width=width, levels=levels, dtype=dtype, remat=remat, rngs=rngs
    )
    channels = layers.scale_channels(unet.CHANNELS[0], width)
    self.mask = layers.Conv(channels, points, 1, use_bias=True, rngs=rngs)

  def head(self, features, inputs, rngs=None):
    """Return `points` [B,K,2], see points.to_unit, float32, of a map."""
    del inputs, rngs
    return {'points': mean_position(self.mask(features.astype(jnp.float32)))}


def mean_position(logits: jax.Array) -> jax.Array:
  """Return x and y [B,K,2] of the softmax over pixels [B,h,w,K], see to_unit.

  A pixel stands at its centre: of w pixels the first is at 1 / w - 1.
  """
  _, height, width, _ = logits.shape
  share = jax.nn.softmax(logits, (1, 2))
  centres = lambda n: (2 * jnp.arange(n) + 1) / n - 1
  x = jnp.sum(share.sum(1) * centres(width)[:, None], 1)
  y = jnp.sum(share.sum(2) * centres(height)[:, None], 1)
  return jnp.stack([x, y], -1)
