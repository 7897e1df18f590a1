"""Backbones by name."""

from typing import Any

from flax import nnx

from boneage_jax.models.backbones import convnext
from boneage_jax.models.backbones import efficientnet
from boneage_jax.models.backbones import inception_v3
from boneage_jax.models.backbones import m46
from boneage_jax.models.backbones import resnet
from boneage_jax.models.backbones import xception

BACKBONES = {
  'convnext': convnext.ConvNeXt,
  'efficientnet': efficientnet.EfficientNet,
  'inception_v3': inception_v3.InceptionV3,
  'm46': m46.M46,
  'resnet': resnet.ResNet,
  'xception': xception.Xception,
}


def create(config: dict, *, dtype: Any, rngs: nnx.Rngs) -> nnx.Module:
  """Build a backbone from `{'name': ..., **arguments}`."""
  arguments = dict(config)
  name = arguments.pop('name')
  if name not in BACKBONES:
    raise ValueError(
      f'backbone.name={name!r} is unknown; choose one of {sorted(BACKBONES)}.'
    )
  return BACKBONES[name](dtype=dtype, rngs=rngs, **arguments)
