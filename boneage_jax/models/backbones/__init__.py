"""Backbones by name."""

from typing import Any

from flax import nnx

from boneage_jax.core import extend
from boneage_jax.models.backbones import bonet
from boneage_jax.models.backbones import convnext
from boneage_jax.models.backbones import efficientnet
from boneage_jax.models.backbones import googlenet
from boneage_jax.models.backbones import inception_v3
from boneage_jax.models.backbones import m46
from boneage_jax.models.backbones import mobilenet_v3
from boneage_jax.models.backbones import overfeat
from boneage_jax.models.backbones import resnet
from boneage_jax.models.backbones import vgg16
from boneage_jax.models.backbones import xception

BACKBONES = {
  'bonet': bonet.BoNet,
  'convnext': convnext.ConvNeXt,
  'efficientnet': efficientnet.EfficientNet,
  'googlenet': googlenet.GoogLeNet,
  'inception_v3': inception_v3.InceptionV3,
  'm46': m46.M46,
  'mobilenet_v3': mobilenet_v3.MobileNetV3,
  'overfeat': overfeat.OverFeat,
  'resnet': resnet.ResNet,
  'vgg16': vgg16.VGG16,
  'xception': xception.Xception,
}
# add(name, backbone): one of your own, a subclass of `base.Backbone`.
add = extend.table('backbone', BACKBONES, given=('dtype', 'remat', 'rngs'))


def create(
  config: dict, *, dtype: Any, remat: bool = False, rngs: nnx.Rngs
) -> nnx.Module:
  """Build a backbone from `{'name': ..., **arguments}`; see `base.call`."""
  arguments = dict(config) | ({'remat': True} if remat else {})
  name = arguments.pop('name')
  if name not in BACKBONES:
    raise ValueError(
      f'backbone.name={name!r} is unknown; choose one of {sorted(BACKBONES)}.'
    )
  return BACKBONES[name](dtype=dtype, rngs=rngs, **arguments)
