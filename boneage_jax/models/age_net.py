"""One film, one age: a backbone, an optional CBAM, and an age head."""

from collections.abc import Sequence

from flax import nnx
import jax.numpy as jnp

from boneage_jax.core import sizes
from boneage_jax.models import backbones
from boneage_jax.models import cbam
from boneage_jax.models import layers
from boneage_jax.models import net as net_lib
from boneage_jax.models.backbones import base
from boneage_jax.models.heads import age as age_head
from boneage_jax.models.heads import age_map
from boneage_jax.models.heads import cam as cam_head


class AgeNet(net_lib.Net):
  """Whole film (or one crop) to bone age; also the cascade's localizer.

  The localizer of Li 2023 is Inception-V3 with CBAM after the last block,
  global average pooling and 240 soft labels (the target of Chen 2020, phase I,
  which knows no sex).

  Args:
    size: of the net input in pixels: side of a square, or (height, width).
    backbone: `name` and arguments of a backbone.
    attention: 'none', or 'cbam' after the backbone's map.
    pool: 'gap', 'gmp', 'conv_pool' or 'mlp' and age.AgeHead; 'fc_map' or
      'gap_map' and age.AgeHead at every place, see age_map; or 'cam' or
      'cam_mean', cam.CamHead with the attention's weights or without.
    output, readout, sex_features, joint_features, extra_inputs, extra_outputs:
      of the head; `joint_features` not of 'cam' and maps of ages.
    dropout: before its last layer; of the pool 'mlp', before both hidden layers
      instead; of 'fc_map' and 'gap_map', before all layers.
    hidden: of 'mlp', 'fc_map' and 'gap_map', numbers in each of their layers.
    fc_layers: of 'fc_map' and 'gap_map', how many.
    classes: with output 'classes' ('cam' and 'cam_mean' only), how many.
    from_features: the map of a batch is its `features` [B,h,w,C], which the
      backbone gave before, averaged over windows; the net is built without it.
      Of the pool 'gap_map'.
    dtype: of the computation: 'float32' or 'bfloat16'; parameters, statistics
      and outputs stay float32.
    remat: compute the maps of each block again in the backward pass.
  """

  def __init__(
    self,
    *,
    size: int | Sequence[int],
    backbone: dict,
    attention: str = 'none',
    pool: str = 'gap',
    output: str = 'bins',
    readout: str = 'expectation',
    sex_features: int = 32,
    joint_features: int = 0,
    dropout: float = 0.0,
    hidden: int = 2048,
    fc_layers: int = 1,
    classes: int = 0,
    from_features: bool = False,
    extra_inputs: Sequence[str] = (),
    extra_outputs: Sequence[str] = (),
    dtype: str = 'float32',
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    if attention not in ('none', 'cbam'):
      raise ValueError(
        f"net.attention={attention!r} is unknown; choose 'none' or 'cbam'."
      )
    dtype = jnp.dtype(dtype)
    if from_features and (pool != 'gap_map' or attention != 'none'):
      raise ValueError(
        "Expected net.pool='gap_map' without attention for a net that reads "
        f'features of films, got {pool!r} and attention {attention!r}.'
      )
    make = lambda rngs: backbones.create(
      backbone, dtype=dtype, remat=remat, rngs=rngs
    )
    if from_features:  # shapes are enough
      built = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    else:
      built = make(rngs)
    channels = built.channels
    self.backbone = None if from_features else built
    self.attention = (
      cbam.CBAM(channels, dtype=dtype, rngs=rngs)
      if attention == 'cbam'
      else None
    )
    self.inputs = net_lib.inputs(sex_features, extra_inputs)
    size_hw = sizes.size_hw(size)
    hw = (1, 1) if from_features else built.map_hw(size_hw)
    self.grid = built.grid_geometry(size_hw)
    arguments = dict(
      output=output,
      readout=readout,
      sex_features=sex_features,
      dropout=dropout,
      rngs=rngs,
    )
    further = dict(
      joint_features=joint_features,
      extra_inputs=extra_inputs,
      extra_outputs=extra_outputs,
    )
    given = [name for name, value in further.items() if value]
    if given and pool in (*cam_head.POOLS, *age_map.POOLS):
      raise ValueError(
        f'Expected a pool whose head takes net.{given[0]}='
        f'{further[given[0]]!r}, got net.pool={pool!r}: choose another pool, '
        "such as 'gap'."
      )
    if pool in cam_head.POOLS:
      self.pool = None
      self.age_head = cam_head.CamHead(
        channels, weighted=pool == 'cam', classes=classes, **arguments
      )
      return
    options = dict(hidden=hidden, dropout=dropout, dtype=dtype, rngs=rngs)
    if pool in age_map.POOLS:
      if output == 'bins':
        raise ValueError(
          f'Expected a net of one number for net.pool={pool!r}, got '
          "net.output='bins': set it to 'standardized'."
        )
      self.pool = age_map.RegressionNet(
        pool, channels, hw, fc_layers=fc_layers, **options
      )
    else:
      self.pool = age_head.pool(pool, channels, hw, **options)
    if pool == 'mlp':
      arguments['dropout'] = 0.0
    arguments |= further
    self.age_head = age_head.AgeHead(self.pool.out_features, **arguments)
    # Of backbones with heads of their own, for training alone.
    for name in getattr(self.backbone, 'auxiliaries', ()):
      count = getattr(self.backbone, name).features
      setattr(self, f'{name}_head', age_head.AgeHead(count, **arguments))

  def __call__(self, batch, rngs=None):
    """Return the outputs of `head`; in training also those of other heads.

    Returns:
      As `head`; of a backbone that deforms its map, also `deformation`
      [B,2,3], see `spatial_transformer`; of one that is trained with auxiliary
      heads, also `aux`, the outputs of each by its name.
    """
    net = self.backbone
    if getattr(net, 'deforms', False):
      x, matrices = net.features_and_deformation(self._input(batch))
      outputs = self.head(self._attend(x), self.scalars(batch), rngs=rngs)
      seen = {'deformation': matrices, 'embedding': net_lib.embedding(x)}
      return outputs | seen
    names = getattr(net, 'auxiliaries', ())
    if not names or getattr(net, names[0]).dropout.deterministic:
      return super().__call__(batch, rngs)
    x, numbers = net.features_and_auxiliaries(self._input(batch), rngs)
    inputs = self.scalars(batch)
    outputs = self.head(self._attend(x), inputs, rngs=rngs)
    outputs['aux'] = {
      name: getattr(self, f'{name}_head')(z, inputs, rngs=rngs)
      for name, z in numbers.items()
    }
    return outputs

  def features(self, batch, rngs=None):
    """Return the map [B,h,w,C] of `image`, grey films, uint8 [B,H,W,1]."""
    if self.backbone is None:
      return batch['features']
    return self._attend(self.backbone.features(self._input(batch), rngs))

  def _input(self, batch):
    net = self.backbone
    return layers.preprocess(batch['image'], net.input_range, net.in_channels)

  def _attend(self, x):
    return x if self.attention is None else self.attention(x)

  def grid_geometry(self, size_hw: tuple[int, int]) -> base.Grid:
    """Return where the map's positions lie; see net.Net."""
    return self.backbone.grid_geometry(size_hw)

  def age_places(
    self, size_hw: tuple[int, int]
  ) -> tuple[base.Grid, tuple[float, float, float, float] | None]:
    """Return where the places of `age_map` lie, and the map that is deformed.

    Args:
      size_hw: height and width of the input in pixels.

    Returns:
      (step, first) along y and x, of the middles of the windows; and x0, y0,
      x1, y1, None where nothing is deformed; all in pixels of the input.
    """
    windows = zip(self.grid_geometry(size_hw), self.pool.window_hw, strict=True)
    grid = tuple(
      (step, first + step * (window - 1) / 2)
      for (step, first), window in windows
    )
    box = getattr(self.backbone, 'deformed_box', lambda _: None)(size_hw)
    return grid, box

  def head(self, features, inputs, rngs=None):
    """Return the outputs of a map.

    Returns:
      `age` [B] months or, of classes, none; with bins or classes, `logits`
      [B,K]; of a map of ages, `age_map` [B,h,w]. Where the last layer sees each
      position alone ('gap' and 'gmp' without `joint_features`, 'cam' and
      'cam_mean'), also its `maps` [B,h,w,K], the `attention` [B,h,w] of the
      answer, and `grid` [2,2], where the positions lie (see `grid_geometry`).
    """
    if self.pool is None:
      outputs = self.age_head(features, inputs, rngs=rngs)
    elif isinstance(self.pool, age_map.RegressionNet):
      z = self.pool(features, rngs)
      return age_map.read(self.age_head, z, inputs, rngs)
    else:
      outputs = self.age_head(self.pool(features, rngs), inputs, rngs=rngs)
      if not isinstance(self.pool, age_head.GlobalPool) or self.age_head.joint:
        return outputs
      outputs['maps'] = self.age_head.maps(features)
      outputs['attention'] = cam_head.attention(outputs)
    return outputs | {'grid': jnp.array(self.grid, jnp.float32)}
