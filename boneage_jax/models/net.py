"""What every net is: two halves, `features` and `head`, with maps between."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from flax import nnx
import jax
from jax import numpy as jnp

from boneage_jax.models.backbones import base

Batch = Mapping[str, jax.Array]
Outputs = dict[str, jax.Array]
# One map [B,h,w,C], or one for each stream.
Maps = jax.Array | dict[str, jax.Array]


class Net(nnx.Module):
  """Batch to outputs: `head` of `features`, which Grad-CAM calls one by one.

  Attributes:
    inputs: names of the scalars of a batch, each [B], that `head` takes: the
      sex and numbers of `scalars.SCALARS`. A film without one is refused.
  """

  inputs: tuple[str, ...] = ('sex',)

  def features(self, batch: Batch, rngs: nnx.Rngs | None = None) -> Maps:
    """Return the last map, or a dict of maps by stream."""
    raise NotImplementedError

  def head(
    self, features: Maps, inputs: Batch, rngs: nnx.Rngs | None = None
  ) -> Outputs:
    """Return the outputs of what `features` gives and of `scalars`.

    Numbers beside the age are `extra`, a dict of [B]: they reach
    predictions.csv, the report and `predict` by their names.
    """
    raise NotImplementedError

  def grid_geometry(
    self, size_hw: tuple[int, int]
  ) -> base.Grid | dict[str, base.Grid]:
    """Return (step, first) of a map's positions along y and x, in pixels.

    Args:
      size_hw: height and width of the net's input.

    Returns:
      That of the one map, or a dict by stream, with the keys of `features`.
    """
    raise NotImplementedError(
      f'{type(self).__name__} does not say where the positions of its map lie: '
      'write its grid_geometry.'
    )

  def scalars(self, batch: Batch) -> dict[str, Any]:
    """Return those of a batch's scalars that `head` takes."""
    return {name: batch[name] for name in self.inputs}

  def __call__(self, batch: Batch, rngs: nnx.Rngs | None = None) -> Outputs:
    features = self.features(batch, rngs)
    outputs = self.head(features, self.scalars(batch), rngs=rngs)
    return outputs | {'embedding': embedding(features)}


def inputs(sex_features: int, extra: Sequence[str]) -> tuple[str, ...]:
  """Name what a head of so many features of sex, and of others, reads."""
  return (*(('sex',) if sex_features else ()), *extra)


def embedding(features: Maps) -> jax.Array:
  """Return the mean over positions of one map or of all, float32 [B,C]."""
  maps = features.values() if isinstance(features, dict) else [features]
  means = [jnp.mean(x.astype(jnp.float32), (1, 2)) for x in maps]
  return jnp.concatenate(means, -1)
