"""CBAM, the attention gates of Woo et al. 2018, after a feature map."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers


class CBAM(nnx.Module):
  """Channel gate, then spatial gate (Li et al. 2023, eqs. 1 and 2)."""

  def __init__(
    self,
    channels: int,
    *,
    reduction: int = 16,
    dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
  ):
    hidden = max(1, channels // reduction)
    self.channels = channels
    self.squeeze = nnx.Linear(channels, hidden, dtype=dtype, rngs=rngs)
    self.excite = nnx.Linear(hidden, channels, dtype=dtype, rngs=rngs)
    self.conv = layers.Conv(2, 1, 7, dtype=dtype, rngs=rngs)
    self.bn = layers.BatchNorm(1, eps=1e-5, momentum=0.99, dtype=dtype)

  def channel_gate(self, x: jax.Array) -> jax.Array:
    """Return sigmoid(mlp(mean x) + mlp(max x)), [B, 1, 1, C]."""
    pooled = jnp.stack([x.mean((1, 2)), x.max((1, 2))])  # 2 B C
    logits = self.excite(nnx.relu(self.squeeze(pooled))).sum(0)
    return nnx.sigmoid(logits)[:, None, None]

  def spatial_gate(self, x: jax.Array) -> jax.Array:
    """Return sigmoid(bn(conv7x7([mean x, max x]))), [B, h, w, 1]."""
    # Mean first, as Li et al. write it; the reference code has max first.
    pooled = jnp.stack([x.mean(-1), x.max(-1)], -1)  # B h w 2
    return nnx.sigmoid(self.bn(self.conv(pooled)))

  def __call__(self, x: jax.Array) -> jax.Array:
    x = x * self.channel_gate(x)
    return x * self.spatial_gate(x)
