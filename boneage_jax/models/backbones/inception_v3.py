"""Inception V3 (Szegedy et al. 2015) in the form of Keras' weights.

No convolution bias, BatchNorm without scale, eps 1e-3, input in [-1, 1].
Branches and their convolutions stand in the order in which Keras creates them:
`pretrained` counts on it.
"""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import base


class Spec(NamedTuple):
  """One convolution of a branch."""

  channels: int
  height: int
  width: int
  stride: int = 1
  padding: str = 'SAME'


# A branch is a chain of convolutions; a tuple of two at its end is a fork
# whose halves are concatenated. 'pool' averages 3x3 first.
Branches = dict[str, tuple]


def _a(pool: int) -> Branches:
  return {
    'branch1x1': (Spec(64, 1, 1),),
    'branch5x5': (Spec(48, 1, 1), Spec(64, 5, 5)),
    'branch3x3dbl': (Spec(64, 1, 1), Spec(96, 3, 3), Spec(96, 3, 3)),
    'pool': (Spec(pool, 1, 1),),
  }


def _c(c: int) -> Branches:
  return {
    'branch1x1': (Spec(192, 1, 1),),
    'branch7x7': (Spec(c, 1, 1), Spec(c, 1, 7), Spec(192, 7, 1)),
    'branch7x7dbl': (
      Spec(c, 1, 1),
      Spec(c, 7, 1),
      Spec(c, 1, 7),
      Spec(c, 7, 1),
      Spec(192, 1, 7),
    ),
    'pool': (Spec(192, 1, 1),),
  }


_B = {
  'branch3x3': (Spec(384, 3, 3, 2, 'VALID'),),
  'branch3x3dbl': (
    Spec(64, 1, 1),
    Spec(96, 3, 3),
    Spec(96, 3, 3, 2, 'VALID'),
  ),
}
_D = {
  'branch3x3': (Spec(192, 1, 1), Spec(320, 3, 3, 2, 'VALID')),
  'branch7x7x3': (
    Spec(192, 1, 1),
    Spec(192, 1, 7),
    Spec(192, 7, 1),
    Spec(192, 3, 3, 2, 'VALID'),
  ),
}
_FORK = (Spec(384, 1, 3), Spec(384, 3, 1))
_E = {
  'branch1x1': (Spec(320, 1, 1),),
  'branch3x3': (Spec(384, 1, 1), _FORK),
  'branch3x3dbl': (Spec(448, 1, 1), Spec(384, 3, 3), _FORK),
  'pool': (Spec(192, 1, 1),),
}
STEM = (
  Spec(32, 3, 3, 2, 'VALID'),
  Spec(32, 3, 3, 1, 'VALID'),
  Spec(64, 3, 3),
  Spec(80, 1, 1, 1, 'VALID'),
  Spec(192, 3, 3, 1, 'VALID'),
)
MIXED = {
  'mixed0': _a(32),  # B 35 35 256 (input 299 or 300)
  'mixed1': _a(64),  # B 35 35 288
  'mixed2': _a(64),  # B 35 35 288
  'mixed3': _B,  # B 17 17 768
  'mixed4': _c(128),  # B 17 17 768
  'mixed5': _c(160),  # B 17 17 768
  'mixed6': _c(160),  # B 17 17 768
  'mixed7': _c(192),  # B 17 17 768
  'mixed8': _D,  # B 8 8 1280
  'mixed9': _E,  # B 8 8 2048
  'mixed10': _E,  # B 8 8 2048
}


def flatten(branch: tuple) -> list[tuple[str, Spec]]:
  """Name the convolutions of a branch: '0', '1', and '2a', '2b' of a fork."""
  named = []
  for i, spec in enumerate(branch):
    if isinstance(spec, Spec):
      named.append((f'{i}', spec))
    else:
      named += [(f'{i}{half}', s) for half, s in zip('ab', spec, strict=True)]
  return named


class _Conv(layers.ConvBN):
  """ConvBN of a spec, with Inception's constants."""

  def __init__(
    self, in_channels: int, spec: Spec, width: float, dtype: Any, rngs: nnx.Rngs
  ):
    super().__init__(
      in_channels,
      layers.scale_channels(spec.channels, width),
      (spec.height, spec.width),
      stride=spec.stride,
      padding=spec.padding,
      use_scale=False,
      eps=1e-3,
      dtype=dtype,
      rngs=rngs,
    )


class Stem(nnx.Module):
  """Five convolutions and two max pools: B 35 35 192 from 300 px."""

  def __init__(
    self, in_channels: int, width: float, dtype: Any, rngs: nnx.Rngs
  ):
    for i, spec in enumerate(STEM):
      conv = _Conv(in_channels, spec, width, dtype, rngs)
      setattr(self, f'conv{i}', conv)
      in_channels = conv.channels
    self.channels = in_channels

  def __call__(self, x: jax.Array) -> jax.Array:
    x = self.conv2(self.conv1(self.conv0(x)))  # B 147 147 64
    x = ops.max_pool(x, 3, 2)  # B 73 73 64
    x = self.conv4(self.conv3(x))  # B 71 71 192
    return ops.max_pool(x, 3, 2)  # B 35 35 192


class Branch(nnx.Module):
  """A chain of convolutions, forked at the end where the spec says so."""

  def __init__(
    self,
    in_channels: int,
    branch: tuple,
    width: float,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.fork = not isinstance(branch[-1], Spec)
    self.names = tuple(f'conv{name}' for name, _ in flatten(branch))
    for name, spec in flatten(branch):
      conv = _Conv(in_channels, spec, width, dtype, rngs)
      setattr(self, f'conv{name}', conv)
      # Both halves of a fork read the same map.
      in_channels = in_channels if name.endswith('a') else conv.channels
    self.channels = conv.channels * (2 if self.fork else 1)

  def __call__(self, x: jax.Array) -> jax.Array:
    chain = self.names[:-2] if self.fork else self.names
    for name in chain:
      x = getattr(self, name)(x)
    if self.fork:
      halves = [getattr(self, name)(x) for name in self.names[-2:]]
      x = jnp.concatenate(halves, -1)
    return x


class PoolBranch(nnx.Module):
  """3x3 average and 1x1 convolution.

  The two commute, being linear; averaging after the convolution reads a
  quarter of the channels.
  """

  def __init__(
    self, in_channels: int, spec: Spec, width: float, dtype: Any, rngs: nnx.Rngs
  ):
    self.conv0 = _Conv(in_channels, spec, width, dtype, rngs)
    self.channels = self.conv0.channels

  def __call__(self, x: jax.Array) -> jax.Array:
    x = ops.avg_pool(self.conv0.conv(x), 3, 1, 'SAME')
    return nnx.relu(self.conv0.bn(x))


class Mixed(nnx.Module):
  """Parallel branches, concatenated; in place of 'pool' may be a max pool."""

  def __init__(
    self,
    in_channels: int,
    branches: Branches,
    width: float,
    dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.names = tuple(branches)
    for name, branch in branches.items():
      if name == 'pool':
        module = PoolBranch(in_channels, branch[0], width, dtype, rngs)
      else:
        module = Branch(in_channels, branch, width, dtype, rngs)
      setattr(self, name, module)
    self.channels = sum(getattr(self, name).channels for name in branches)
    if 'pool' not in branches:
      self.channels += in_channels

  def __call__(self, x: jax.Array) -> jax.Array:
    maps = [getattr(self, name)(x) for name in self.names]
    if 'pool' not in self.names:
      maps.append(ops.max_pool(x, 3, 2))
    return jnp.concatenate(maps, -1)


class InceptionV3(base.Backbone):
  """Stages 'stem', 'mixed0' ... 'mixed10'; see `MIXED` for the shapes."""

  receptive_fields: Mapping[str, tuple] = {
    'stem': (
      (3, 2, 'VALID'),
      (3, 1, 'VALID'),
      (3, 2, 'VALID'),
      (3, 1, 'VALID'),
      (3, 2, 'VALID'),
    ),
    'mixed3': ((3, 2, 'VALID'),),
    'mixed8': ((3, 2, 'VALID'),),
  }

  def __init__(
    self,
    *,
    in_channels: int = 3,
    width: float = 1.0,
    endpoint: str | None = None,
    cbam: str = 'none',
    dtype: Any = jnp.float32,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    super().__init__(
      names=('stem', *MIXED),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='tf',
      remat=remat,
    )
    self.stem = Stem(in_channels, width, dtype, rngs)
    channels = self.stem.channels
    for name in self.stages[1:]:
      block = Mixed(channels, MIXED[name], width, dtype, rngs)
      setattr(self, name, block)
      channels = block.channels
    self.add_gates(cbam, self.stages[1:], dtype, rngs)
