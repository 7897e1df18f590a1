"""The cascade's assessor: two region streams, exchanged, fused with sex.

Li 2023: the carpal crop goes through Xception, the metacarpal/phalanx crop
through ResNet50; their features are exchanged, concatenated, joined by sex
(eq. 3) and mapped to age.
"""

from collections.abc import Sequence

from flax import nnx
import jax.numpy as jnp

from boneage_jax.core import sizes
from boneage_jax.models import backbones
from boneage_jax.models import layers
from boneage_jax.models import net as net_lib
from boneage_jax.models.backbones import base
from boneage_jax.models.heads import age as age_head

STREAMS = ('carpal', 'metacarpal')
EXCHANGES = ('none', 'whole', 'channel', 'mid')


def exchange_channels(a, b, scale_a, scale_b, threshold):
  """Swap the channels whose BatchNorm scale has died (Wang et al. 2020).

  Args:
    a, b: maps [B,h,w,C] of the two streams, after BatchNorm.
    scale_a, scale_b: BatchNorm scales [C].
    threshold: a channel of one stream is replaced by the other's where its own
      |scale| is below this; 0 replaces none, infinity swaps the whole maps.
  """
  dead_a = jnp.abs(scale_a)[None, None, None, :] < threshold
  dead_b = jnp.abs(scale_b)[None, None, None, :] < threshold
  return jnp.where(dead_a, b, a), jnp.where(dead_b, a, b)


def scale_penalty(scale_a, scale_b):
  """Return the sum of |scale| that moves channels to be swapped (Wang 2020).

  The first half of the channels of one stream and the second half of the other
  pay, so that no channel can die in both.

  Args:
    scale_a, scale_b: BatchNorm scales [C].
  """
  half = len(scale_a) // 2
  return jnp.sum(jnp.abs(scale_a[:half])) + jnp.sum(jnp.abs(scale_b[half:]))


class TwoStream(net_lib.Net):
  """Two crops, one age.

  Args:
    size: of each crop in pixels: side of a square, or (height, width).
    carpal, metacarpal: backbone sections of the two streams.
    exchange: what happens between the backbones and the stream heads.
      'whole' swaps the two final maps, the literal reading of Li 2023. With
        heads of one form this only renames the heads: it computes the same
        functions as 'none' does.
      'channel' swaps the channels that a stream has stopped using: BatchNorm
        on each map, a channel is replaced where |scale| < `threshold`, and
        scales pay an L1 penalty (outputs['penalty']), see `scale_penalty`.
      'mid' swaps the maps half-way through the backbones (19 x 19 at 300 px)
        through learned 1x1 projections.
      'none' swaps nothing.
    mid: names of the stages after which 'mid' swaps, one per stream.
    pool, output, readout, sex_features, joint_features, dropout, extra_inputs,
      extra_outputs, dtype, remat: as in age_net.AgeNet.
  """

  def __init__(
    self,
    *,
    size: int | Sequence[int],
    carpal: dict,
    metacarpal: dict,
    exchange: str = 'whole',
    threshold: float = 2e-2,
    penalty: float = 2e-4,
    mid: tuple[str, str] = ('block12', 'stage3'),
    pool: str = 'conv_pool',
    output: str = 'bins',
    readout: str = 'expectation',
    sex_features: int = 32,
    joint_features: int = 0,
    dropout: float = 0.0,
    extra_inputs: Sequence[str] = (),
    extra_outputs: Sequence[str] = (),
    dtype: str = 'float32',
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    if exchange not in EXCHANGES:
      raise ValueError(
        f'net.exchange={exchange!r} is unknown; choose one of {EXCHANGES}.'
      )
    dtype = jnp.dtype(dtype)
    self.exchange, self.threshold, self.penalty = exchange, threshold, penalty
    self.mid = tuple(mid)
    self.inputs = net_lib.inputs(sex_features, extra_inputs)
    options = dict(dtype=dtype, remat=remat, rngs=rngs)
    self.carpal = backbones.create(carpal, **options)
    self.metacarpal = backbones.create(metacarpal, **options)
    nets = (self.carpal, self.metacarpal)
    channels = [net.channels for net in nets]
    size_hw = sizes.size_hw(size)
    hw = [net.map_hw(size_hw) for net in nets]
    if exchange in ('whole', 'channel') and (
      channels[0] != channels[1] or hw[0] != hw[1]
    ):
      raise ValueError(
        f'exchange={exchange!r} needs equal maps, but the carpal stream ends '
        f'in {hw[0]} x {channels[0]} and the metacarpal stream in {hw[1]} x '
        f'{channels[1]}; choose equal taps and widths, or another exchange.'
      )
    if exchange == 'channel':
      self.norms = nnx.List(
        [layers.BatchNorm(c, eps=1e-5, dtype=dtype) for c in channels]
      )
    if exchange == 'mid':
      at = [n.channels_at(name) for n, name in zip(nets, self.mid, strict=True)]
      self.projections = nnx.List(
        [
          age_head.linear(at[1], at[0], dtype=dtype, rngs=rngs),
          age_head.linear(at[0], at[1], dtype=dtype, rngs=rngs),
        ]
      )
    self.pools = nnx.List(
      [
        age_head.pool(pool, c, n, dtype=dtype, rngs=rngs)
        for c, n in zip(channels, hw, strict=True)
      ]
    )
    self.age_head = age_head.AgeHead(
      sum(p.out_features for p in self.pools),
      output=output,
      readout=readout,
      sex_features=sex_features,
      joint_features=joint_features,
      dropout=dropout,
      extra_inputs=extra_inputs,
      extra_outputs=extra_outputs,
      rngs=rngs,
    )

  def features(self, batch, rngs=None):
    """Return a map of each region of `regions`, uint8 [B,2,H,W,1].

    Maps have the name of the region that they lie over, whichever stream drew
    them last; behind 'channel' they hold channels of the other region, too.
    """
    nets = (self.carpal, self.metacarpal)
    x = [
      layers.preprocess(
        batch['regions'][:, i], net.input_range, net.in_channels
      )
      for i, net in enumerate(nets)
    ]
    if self.exchange == 'mid':
      half = [
        net.run(image, stop=cut, rngs=rngs)
        for net, image, cut in zip(nets, x, self._cuts(), strict=True)
      ]
      to_carpal, to_metacarpal = self.projections
      if half[0].shape[1:3] != half[1].shape[1:3]:
        raise ValueError(
          f"exchange='mid' needs maps of one size at {self.mid}, not "
          f'{half[0].shape[1:3]} and {half[1].shape[1:3]}.'
        )
      half = [to_carpal(half[1]), to_metacarpal(half[0])]
      b, a = (
        net.run(image, start=cut, rngs=rngs)
        for net, image, cut in zip(nets, half, self._cuts(), strict=True)
      )
    else:
      a, b = (
        net.features(image, rngs) for net, image in zip(nets, x, strict=True)
      )
    if self.exchange == 'channel':
      a, b = (norm(f) for norm, f in zip(self.norms, (a, b), strict=True))
      scales = [norm.scale[...] for norm in self.norms]
      a, b = exchange_channels(a, b, *scales, self.threshold)
    return dict(zip(STREAMS, (a, b), strict=True))

  def grid_geometry(self, size_hw):
    """Return where the positions of both maps lie; see net.Net."""
    a, b = self.carpal, self.metacarpal
    chains = (a.fields(), b.fields())
    if self.exchange == 'mid':  # one net begins, the other goes on
      at_a, at_b = self._cuts()
      chains = (
        a.fields(stop=at_a) + b.fields(start=at_b),
        b.fields(stop=at_b) + a.fields(start=at_a),
      )
    grids = [base.grid_geometry(chain, size_hw) for chain in chains]
    return dict(zip(STREAMS, grids, strict=True))

  def head(self, features, inputs, rngs=None):
    """Return of the maps `age` [B] and, with bins, `logits` [B,240]."""
    swapped = self.exchange in ('whole', 'mid')
    order = STREAMS[::-1] if swapped else STREAMS
    z = [
      pool(features[name], rngs)
      for pool, name in zip(self.pools, order, strict=True)
    ]
    outputs = self.age_head(jnp.concatenate(z, axis=-1), inputs, rngs=rngs)
    if self.exchange == 'channel':
      scales = [norm.scale[...] for norm in self.norms]
      outputs['penalty'] = self.penalty * scale_penalty(*scales)
    return outputs

  def _cuts(self) -> list[int]:
    nets = (self.carpal, self.metacarpal)
    return [
      net.stages.index(name) + 1
      for net, name in zip(nets, self.mid, strict=True)
    ]
