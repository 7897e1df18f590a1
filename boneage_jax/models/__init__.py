"""Nets: backbones (image to map), heads (map to age), and others."""

from collections.abc import Sequence
from typing import Any

from flax import nnx

from boneage_jax.core import extend
from boneage_jax.models import age_net
from boneage_jax.models import keypoint_net
from boneage_jax.models import layers
from boneage_jax.models import point_unet
from boneage_jax.models import stacked_regions
from boneage_jax.models import two_stream
from boneage_jax.models import unet

NETS = {
  'age_net': age_net.AgeNet,
  'keypoint_net': keypoint_net.KeypointNet,
  'point_unet': point_unet.PointUNet,
  'region_channels': stacked_regions.RegionChannels,
  'two_stream': two_stream.TwoStream,
  'unet': unet.UNet,
}
# add(name, net): one of your own, a subclass of `net.Net`.
add = extend.table(
  'net', NETS, given=('size', 'rngs'), shared=('bn_momentum', 'remat')
)
DTYPES = ('float32', 'bfloat16')


def create(
  config: Any, *, size: int | Sequence[int], seed: int = 0
) -> nnx.Module:
  """Build the net that `config` (a stage's `net` section) describes.

  Args:
    config: `name` (a key of NETS), `bn_momentum` of every BatchNorm's moving
      statistics (0 keeps each backbone's own, 0.99 in Keras; short runs want
      0.9), and that net's own arguments.
    size: of the net input in pixels: side of a square, or (height, width).
    seed: of the initial parameters.

  Raises:
    ValueError: `config.name` is not a net, or `config.dtype` none to train in:
      gradients of float16 fall to zero where nothing scales the loss.
  """
  arguments = config.to_dict()
  name = arguments.pop('name')
  if name not in NETS:
    raise ValueError(
      f'net.name={name!r} is unknown; choose one of {sorted(NETS)}.'
    )
  dtype = arguments.get('dtype', DTYPES[0])
  if dtype not in DTYPES:
    raise ValueError(
      f'net.dtype={dtype!r} is none that nets are trained in (float16 would '
      f'need scaled losses); choose one of {DTYPES}.'
    )
  for field in ('remat', 'joint_features', 'extra_inputs', 'extra_outputs'):
    if not arguments.get(field):  # not every net need have it
      arguments.pop(field, None)
  momentum = arguments.pop('bn_momentum')
  net = NETS[name](size=size, rngs=layers.Keys(seed), **arguments)
  for _, module in nnx.iter_modules(net) if momentum else ():
    if isinstance(module, nnx.BatchNorm):
      module.momentum = momentum
  return net
