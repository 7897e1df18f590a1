"""GoogLeNet (Szegedy et al. 2015), in torchvision's form or the paper's.

'torchvision' has BatchNorm and no biases, 3x3 convolutions where the paper says
5x5, and 2x2 pooling before inception5a; its weights are of this form. 'paper'
has biases, 5x5 convolutions, local response normalisation and 3x3 pooling.
Windows at the right and lower edge may hang over (Caffe's rule).
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
from boneage_jax.models.backbones import plain

FORMS = ('torchvision', 'paper')
EPS, MOMENTUM = 1e-3, 0.9  # torchvision's


class Spec(NamedTuple):
  """Channels of the four branches, table 1; `reduce` are 1x1 before others."""

  one: int
  reduce3: int
  three: int
  reduce5: int
  five: int
  pool: int


STEM = (64, 64, 192)  # input 224: B 112 112 64, B 56 56 64, B 56 56 192
BLOCKS = {
  'inception3a': Spec(64, 96, 128, 16, 32, 32),  # B 28 28 256
  'inception3b': Spec(128, 128, 192, 32, 96, 64),  # B 28 28 480
  'inception4a': Spec(192, 96, 208, 16, 48, 64),  # B 14 14 512
  'inception4b': Spec(160, 112, 224, 24, 64, 64),  # B 14 14 512
  'inception4c': Spec(128, 128, 256, 24, 64, 64),  # B 14 14 512
  'inception4d': Spec(112, 144, 288, 32, 64, 64),  # B 14 14 528
  'inception4e': Spec(256, 160, 320, 32, 128, 128),  # B 14 14 832
  'inception5a': Spec(256, 160, 320, 32, 128, 128),  # B 7 7 832
  'inception5b': Spec(384, 192, 384, 48, 128, 128),  # B 7 7 1024
}
# Blocks that pool their input, with stride 2.
POOLS = ('inception3a', 'inception4a', 'inception5a')
AUXILIARY = {'inception4a': 'aux1', 'inception4d': 'aux2'}
# Of an auxiliary head: side of its map, channels, numbers that it gives.
AUX_SIDE, AUX_CHANNELS, AUX_FEATURES = 4, 128, 1024
AUX_DROPOUT = 0.7


def _conv(form: str, *arguments: int, **options: Any) -> nnx.Module:
  if form == 'paper':
    return plain.ConvReLU(*arguments, **options)
  return layers.ConvBN(*arguments, eps=EPS, momentum=MOMENTUM, **options)


def _pool(form: str, name: str) -> int:
  """Return the window of the pooling before a block of POOLS."""
  return 2 if form == 'torchvision' and name == 'inception5a' else 3


class Stem(nnx.Module):
  """Three convolutions with pooling between, up to the first block."""

  def __init__(self, in_channels, channels, form, options):
    one, two, three = channels
    self.channels, self.normalises = three, form == 'paper'
    self.conv1 = _conv(
      form, in_channels, one, 7, stride=2, padding=3, **options
    )
    self.conv2 = _conv(form, one, two, 1, **options)
    self.conv3 = _conv(form, two, three, 3, padding=1, **options)

  def __call__(self, x: jax.Array) -> jax.Array:
    normalise = layers.local_response_norm if self.normalises else lambda x: x
    x = normalise(ops.max_pool(self.conv1(x), 3, 2, 'CEIL'))
    return normalise(self.conv3(self.conv2(x)))


class Block(nnx.Module):
  """Four branches, and before them pooling in some blocks; window 0: none."""

  def __init__(self, in_channels, spec, form, window, options):
    self.channels = spec.one + spec.three + spec.five + spec.pool
    self.window = window
    wide = 5 if form == 'paper' else 3
    self.branch1 = _conv(form, in_channels, spec.one, 1, **options)
    self.reduce2 = _conv(form, in_channels, spec.reduce3, 1, **options)
    self.branch2 = _conv(form, spec.reduce3, spec.three, 3, **options)
    self.reduce3 = _conv(form, in_channels, spec.reduce5, 1, **options)
    self.branch3 = _conv(form, spec.reduce5, spec.five, wide, **options)
    self.branch4 = _conv(form, in_channels, spec.pool, 1, **options)

  def __call__(self, x: jax.Array) -> jax.Array:
    if self.window:
      x = ops.max_pool(x, self.window, 2, 'CEIL')
    branches = (
      self.branch1(x),
      self.branch2(self.reduce2(x)),
      self.branch3(self.reduce3(x)),
      self.branch4(ops.max_pool(x, 3, 1, 1)),
    )
    return jnp.concatenate(branches, -1)


class Auxiliary(nnx.Module):
  """A map to the numbers before an auxiliary head's last layer."""

  def __init__(self, in_channels, channels, features, form, options):
    self.features = features
    self.conv = _conv(form, in_channels, channels, 1, **options)
    self.fc1 = nnx.Linear(
      AUX_SIDE**2 * channels,
      features,
      kernel_init=layers.kernel_init,
      dtype=options['dtype'],
      rngs=options['rngs'],
    )
    self.dropout = nnx.Dropout(AUX_DROPOUT)

  def __call__(self, x: jax.Array, rngs: nnx.Rngs | None) -> jax.Array:
    x = self.conv(ops.adaptive_avg_pool(x, AUX_SIDE))
    # PyTorch flattens channel by channel, and so are its weights.
    x = jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1)
    x = self.dropout(nnx.relu(self.fc1(x)), rngs=rngs)
    return x.astype(jnp.float32)


class GoogLeNet(base.Backbone):
  """Stages 'stem', 'inception3a' ... 'inception5b'.

  Args:
    form: 'torchvision' or 'paper', see the module.
    auxiliary: build what is before the last layers of the two auxiliary heads,
      'aux1' and 'aux2'; see `features_and_auxiliaries`.
    width: scales the channels, and the numbers of auxiliary heads.
    in_channels, endpoint, dtype, remat: as of every backbone.
  """

  def __init__(
    self,
    *,
    form: str = 'torchvision',
    auxiliary: bool = False,
    in_channels: int = 3,
    width: float = 1.0,
    endpoint: str | None = None,
    dtype: Any = jnp.float32,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    if form not in FORMS:
      raise ValueError(f'form is one of {", ".join(FORMS)}, not {form!r}.')
    super().__init__(
      names=('stem', *BLOCKS),
      in_channels=in_channels,
      endpoint=endpoint,
      input_range='tf',  # what torchvision's net with weights makes of films
      remat=remat,
    )
    self.form = form
    scale = lambda c: layers.scale_channels(c, width)
    options = {'dtype': dtype, 'rngs': rngs}
    self.stem = Stem(in_channels, [scale(c) for c in STEM], form, options)
    channels = self.stem.channels
    for name in self.stages[1:]:
      spec = Spec(*map(scale, BLOCKS[name]))
      window = _pool(form, name) if name in POOLS else 0
      block = Block(channels, spec, form, window, options)
      setattr(self, name, block)
      channels = block.channels
    self.auxiliaries = tuple(
      head
      for name, head in AUXILIARY.items()
      if auxiliary and name in self.stages[:-1]
    )
    sizes = scale(AUX_CHANNELS), scale(AUX_FEATURES)
    for name, head in AUXILIARY.items():
      if head in self.auxiliaries:
        one = Auxiliary(self.channels_at(name), *sizes, form, options)
        setattr(self, head, one)

  @property
  def receptive_fields(self) -> Mapping[str, tuple]:
    return {
      'stem': ((7, 2, 3), (3, 2, 'CEIL')),
      **{name: ((_pool(self.form, name), 2, 'CEIL'),) for name in POOLS},
    }

  def features_and_auxiliaries(
    self, x: jax.Array, rngs: nnx.Rngs | None = None
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return the map, as `features`, and the numbers of the auxiliary heads.

    Returns:
      The map [B, h, w, C], and by head [B, F] float32.
    """
    found = {}
    for i, name in enumerate(self.stages):
      x = self.run(x, i, i + 1)
      head = AUXILIARY.get(name)
      if head in self.auxiliaries:
        found[head] = getattr(self, head)(x, rngs)
    return x, found
