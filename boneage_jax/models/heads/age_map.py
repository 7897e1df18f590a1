"""A map of ages: a regression network at each place where its input fits.

The network is built for the map of an input of the training size and gives one
age there. A larger film gives one at every place of its map where that window
fits, and the film's age is their mean (Spampinato 2017; Chirawu 2022). Fully
connected layers so become convolutions, and averages of all of a map those of
windows; at the training size nothing changes.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models.heads import age as age_head

POOLS = ('fc_map', 'gap_map')


def moving_mean(x: jax.Array, window_hw: tuple[int, int]) -> jax.Array:
  """Average windows of a map [B, H, W, C] with stride 1, float32."""
  x = x.astype(jnp.float32)
  for axis, window in zip((1, 2), window_hw, strict=True):
    count = x.shape[axis] - window + 1
    parts = [
      jax.lax.slice_in_dim(x, i, i + count, axis=axis) for i in range(window)
    ]
    x = sum(parts) / window
  return x


class RegressionNet(nnx.Module):
  """The layers before the last one, at every place.

  'fc_map': the first layer is fully connected to a window of the map. 'gap_map'
  averages the window before all layers. Each layer drops, is linear and has
  ReLU.

  Args:
    kind: one of POOLS.
    channels, window_hw: of the map of an input of the training size.
    hidden: numbers that each layer gives.
    fc_layers: how many; 0 with 'gap_map' alone.
    dropout: share of each layer's inputs dropped in training.
    dtype, rngs: of the layers.
  """

  def __init__(
    self,
    kind: str,
    channels: int,
    window_hw: tuple[int, int],
    *,
    hidden: int,
    fc_layers: int,
    dropout: float,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    if fc_layers < (kind == 'fc_map'):
      raise ValueError(
        'Expected net.fc_layers to be 1 or more for the pool fc_map and 0 or '
        f'more for gap_map, got {fc_layers} for {kind}.'
      )
    self.kind, self.window_hw = kind, window_hw
    self.dropout = nnx.Dropout(dropout)
    self.names = tuple(f'fc{i + 1}' for i in range(fc_layers))
    for name in self.names:
      first = kind == 'fc_map' and name == self.names[0]
      kernel = window_hw if first else 1
      layer = layers.Conv(
        channels,
        hidden,
        kernel,
        padding='VALID',
        use_bias=True,
        dtype=dtype,
        rngs=rngs,
      )
      setattr(self, name, layer)
      channels = hidden
    self.out_features = channels

  def __call__(
    self, features: jax.Array, rngs: nnx.Rngs | None = None
  ) -> jax.Array:
    """Return [B, h, w, out_features] float32 of a map [B, H, W, channels]."""
    x, (height, width) = features, self.window_hw
    if x.shape[1] < height or x.shape[2] < width:
      raise ValueError(
        f'Expected a film whose map has {height} x {width} positions or more, '
        f'as in training, got {x.shape[1]} x {x.shape[2]}: raise input.size.'
      )
    if self.kind == 'gap_map':
      x = moving_mean(x, self.window_hw)
    for name in self.names:
      x = nnx.relu(getattr(self, name)(self.dropout(x, rngs=rngs)))
    return x.astype(jnp.float32)


def read(
  head: age_head.AgeHead,
  z: jax.Array,
  inputs: dict[str, jax.Array],
  rngs: nnx.Rngs | None = None,
) -> dict[str, jax.Array]:
  """Return the ages that a head of one number reads at every place.

  Args:
    head: the last layer.
    z: [B, h, w, F].
    inputs: scalars of the films, each [B].
    rngs: of its dropout.

  Returns:
    `age_map` [B, h, w] and its mean, `age` [B], months.
  """
  shape, places = z.shape[:3], z.shape[1] * z.shape[2]
  each = {name: jnp.repeat(value, places) for name, value in inputs.items()}
  ages = head(z.reshape(-1, z.shape[-1]), each, rngs=rngs)['age']
  ages = ages.reshape(shape)
  return {'age_map': ages, 'age': jnp.mean(ages, (1, 2))}
