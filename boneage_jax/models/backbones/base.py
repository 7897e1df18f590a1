"""What every backbone is: named stages in order, up to an endpoint."""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax

from boneage_jax.models import cbam as cbam_lib
from boneage_jax.models import ops

Field = tuple[int, int, ops.Padding]  # kernel, stride and padding
# Of the positions along y, then along x: pixels from one to the next, and the
# centre of the first in pixels from the input's edge.
Grid = tuple[tuple[int, float], tuple[int, float]]


def grid_geometry(fields: Iterable[Field], size_hw: tuple[int, int]) -> Grid:
  """Return where the positions of a map lie on the net's input.

  They do not lie where a resized map would put them: convolutions without
  padding move the first one into the image, by 10 % of a 128-pixel input in
  Inception-V3.

  Args:
    fields: of the layers between input and map.
    size_hw: height and width of the input in pixels.
  """
  return follow(fields, size_hw)[0]


def check_map(
  name: str,
  fields: Iterable[Field],
  size_hw: tuple[int, int],
  map_hw: tuple[int, int],
) -> None:
  """Check that `fields` lead from an input to the map that a net made of it.

  Args:
    name: of the net, for the message.
    fields: of the layers between input and map.
    size_hw: height and width of the input in pixels.
    map_hw: height and width of its map.

  Raises:
    ValueError: they lead to another map, so heat maps would lie elsewhere.
  """
  told = follow(fields, size_hw)[1]
  if told != tuple(map_hw):
    raise ValueError(
      f'The receptive_fields of {name} say that an input of {size_hw} pixels '
      f'gives a map of {told} positions, but it has {tuple(map_hw)}: heat maps '
      'and guided attention would lie in wrong places. Correct '
      'receptive_fields.'
    )


def follow(
  fields: Iterable[Field], size_hw: tuple[int, int]
) -> tuple[Grid, tuple[int, int]]:
  """Return where the positions of a map lie, and how many it has."""
  grid = ((1, 0.5), (1, 0.5))
  for kernel, stride, padding in fields:
    sides = ops.pads(size_hw, (kernel, kernel), stride, padding)
    grid = tuple(
      (step * stride, first + step * ((kernel - 1) / 2 - before))
      for (step, first), (before, _) in zip(grid, sides, strict=True)
    )
    size_hw = tuple(
      (n + sum(side) - kernel) // stride + 1
      for n, side in zip(size_hw, sides, strict=True)
    )
  return grid, size_hw


def call(
  block: nnx.Module, x: jax.Array, remat: bool, *rngs: nnx.Rngs | None
) -> jax.Array:
  """Call a block, keeping only its input for the backward pass if remat."""
  if remat:
    return nnx.remat(type(block).__call__)(block, x, *rngs)
  return block(x, *rngs)


class Backbone(nnx.Module):
  """Image to feature map through `stages`, each an attribute of that name.

  Attributes:
    stages: names of the stages that were built, in order; the last is the
      endpoint.
    channels: channels of the endpoint's map.
    input_range: argument of `layers.preprocess`.
    in_channels: channels of the input.
    receptive_fields: (kernel, stride, padding) of what strides or moves the
      centres of the map's positions, by stage; see `grid_geometry`. Every
      backbone states them; a stage that is left out moves nothing.
    random: names of the stages that take rngs, to drop residual paths.
  """

  receptive_fields: Mapping[str, tuple[Field, ...]] | None = None
  random: tuple[str, ...] = ()

  def __init__(
    self,
    *,
    names: tuple[str, ...],
    in_channels: int,
    endpoint: str | None,
    input_range: str,
    remat: bool,
  ):
    self.in_channels = in_channels
    self.input_range = input_range
    self.remat = remat
    endpoint = endpoint or names[-1]
    if endpoint not in names:
      raise ValueError(
        f'{type(self).__name__} has no endpoint {endpoint!r}; it has '
        f'{", ".join(names)}.'
      )
    self.stages = names[: names.index(endpoint) + 1]

  def add_gates(
    self, cbam: str, names: Iterable[str], dtype: Any, rngs: nnx.Rngs
  ) -> None:
    """Put a CBAM behind each of the named stages if cbam is 'blocks'."""
    if cbam not in ('none', 'blocks'):
      raise ValueError(f"cbam is 'none' or 'blocks', not {cbam!r}.")
    for name in names if cbam == 'blocks' else ():
      gate = cbam_lib.CBAM(self.channels_at(name), dtype=dtype, rngs=rngs)
      setattr(self, f'{name}_cbam', gate)

  @property
  def channels(self) -> int:
    return self.channels_at(self.stages[-1])

  def channels_at(self, name: str) -> int:
    """Return the channels of the map behind a stage."""
    if name not in self.stages:
      raise ValueError(
        f'{type(self).__name__} was built with the stages '
        f'{", ".join(self.stages)}; {name!r} is not one of them.'
      )
    stage = getattr(self, name)
    if not hasattr(stage, 'channels'):
      raise TypeError(
        f'Expected the stage {name} of {type(self).__name__} to have '
        f'`channels`, how many its map has, but {type(stage).__name__} has '
        'none: set self.channels there.'
      )
    return stage.channels

  def fields(
    self, start: int = 0, stop: int | None = None
  ) -> tuple[Field, ...]:
    """Return the receptive fields of stages[start:stop], one behind another.

    Raises:
      ValueError: the backbone does not state them.
    """
    known = self.receptive_fields
    if known is None:
      raise ValueError(
        f'{type(self).__name__} does not say where the positions of its map '
        'lie: give the class `receptive_fields`, (kernel, stride, padding) of '
        'the layers of each stage that stride or move them.'
      )
    return tuple(f for n in self.stages[start:stop] for f in known.get(n, ()))

  def grid_geometry(self, size_hw: tuple[int, int]) -> Grid:
    """Return where the positions of the map lie; see the module's function."""
    return grid_geometry(self.fields(), size_hw)

  def map_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the map of an input of `size_hw`.

    Raises:
      ValueError: the input is too small to have one.
    """
    found = follow(self.fields(), size_hw)[1]
    if min(found) < 1:
      raise ValueError(
        f'{type(self).__name__} has no map of {size_hw[0]} x {size_hw[1]} '
        f'pixels at {self.stages[-1]}: raise input.size, or end earlier with '
        'net.backbone.endpoint.'
      )
    return found

  def run(
    self,
    x: jax.Array,
    start: int = 0,
    stop: int | None = None,
    rngs: nnx.Rngs | None = None,
  ) -> jax.Array:
    """Run stages[start:stop]; x is what stage `start` takes.

    Raises:
      ValueError: the receptive fields lead to another map.
    """
    size_hw = x.shape[1:3]
    for name in self.stages[start:stop]:
      taken = (rngs,) if name in self.random else ()
      x = call(getattr(self, name), x, self.remat, *taken)
      gate = getattr(self, f'{name}_cbam', None)
      x = x if gate is None else gate(x)
    name, fields = type(self).__name__, self.fields(start, stop)
    check_map(name, fields, size_hw, x.shape[1:3])
    return x

  def features(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
    """Map an image [B, H, W, in_channels] in `input_range` to [B, h, w, C].

    Only a net that drops residual paths needs rngs, and only in training.
    """
    return self.run(x, rngs=rngs)

  def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
    return self.features(x, rngs)
