"""What timm's and torchvision's weight files call the modules of our backbones.

ResNets have one set of names in both; ConvNeXt and EfficientNet are timm's, and
GoogLeNet is torchvision's.
The heads that the files hold as well are in the tables without a module.
"""

from collections.abc import Callable
from collections.abc import Iterable
import functools

import numpy as np

from boneage_jax.models.backbones import convnext
from boneage_jax.models.backbones import efficientnet
from boneage_jax.models.backbones import googlenet
from boneage_jax.models.backbones import resnet

Path = tuple[str, ...]

SOURCE = "timm's or torchvision's"  # whose files, in messages
# What the files fit. timm has EfficientNets of both forms under equal names.
REQUIRES = {
  'googlenet': ('form', 'torchvision'),
  'resnet': ('variant', 'v1.5'),
}
NORM = (
  ('weight', 'params', ('scale',)),
  ('bias', 'params', ('bias',)),
  ('running_mean', 'stats', ('mean',)),
  ('running_var', 'stats', ('var',)),
)
OTHER = (
  ('weight', 'params', ('kernel',)),
  ('bias', 'params', ('bias',)),
  ('gamma', 'params', ('layer_scale',)),
)


def _resnet(depth: int) -> dict[str, Path | None]:
  table = {
    'conv1': ('stem', 'conv', 'conv'),
    'bn1': ('stem', 'conv', 'bn'),
    'fc': None,
  }
  convs = 3 if depth == 50 else 2
  for stage, count in enumerate(resnet.BLOCKS[depth], 1):
    for block in range(count):
      name = f'layer{stage}.{block}'
      path = (f'stage{stage}', f'block{block + 1}')
      for i in range(1, convs + 1):
        table[f'{name}.conv{i}'] = (*path, f'conv{i}', 'conv')
        table[f'{name}.bn{i}'] = (*path, f'conv{i}', 'bn')
      if block == 0 and (stage > 1 or depth == 50):
        table[f'{name}.downsample.0'] = (*path, 'shortcut', 'conv')
        table[f'{name}.downsample.1'] = (*path, 'shortcut', 'bn')
  return table


def _convnext(variant: str) -> dict[str, Path | None]:
  table = {
    'stem.0': ('stem', 'conv'),
    'stem.1': ('stem', 'norm'),
    'head.norm': ('norm',),
    'head.fc': None,
  }
  for stage, count in enumerate(convnext.VARIANTS[variant][0]):
    here = f'stage{stage + 1}'
    if stage:
      table[f'stages.{stage}.downsample.0'] = (here, 'norm')
      table[f'stages.{stage}.downsample.1'] = (here, 'conv')
    for block in range(count):
      name = f'stages.{stage}.blocks.{block}'
      path = (here, f'block{block + 1}')
      table[name] = path
      table[f'{name}.conv_dw'] = (*path, 'depthwise')
      table[f'{name}.norm'] = (*path, 'norm')
      table[f'{name}.mlp.fc1'] = (*path, 'expand')
      table[f'{name}.mlp.fc2'] = (*path, 'contract')
  return table


def _efficientnet(variant: str) -> dict[str, Path | None]:
  table = {
    'conv_stem': ('stem', 'conv'),
    'bn1': ('stem', 'bn'),
    'conv_head': ('top', 'conv'),
    'bn2': ('top', 'bn'),
    'classifier': None,
  }
  for i, (stage, count) in enumerate(efficientnet.counts(variant).items()):
    for j in range(count):
      name, path = f'blocks.{i}.{j}', (stage, efficientnet.BLOCKS[j])
      convs = [('conv_dw', (*path, 'depthwise'), (*path, 'depthwise', 'bn'))]
      if efficientnet.STAGES[stage].expand > 1:
        expand, project = (*path, 'expand'), 'conv_pwl'
        convs.insert(0, ('conv_pw', (*expand, 'conv'), (*expand, 'bn')))
      else:
        project = 'conv_pw'
      path_out = (*path, 'project')
      convs.append((project, (*path_out, 'conv'), (*path_out, 'bn')))
      for k, (conv, to_conv, to_bn) in enumerate(convs, 1):
        table[f'{name}.{conv}'] = to_conv
        table[f'{name}.bn{k}'] = to_bn
      table[f'{name}.se.conv_reduce'] = (*path, 'gate', 'reduce')
      table[f'{name}.se.conv_expand'] = (*path, 'gate', 'expand')
  return table


def _googlenet() -> dict[str, Path | None]:
  convs = {f'conv{i}': ('stem', f'conv{i}') for i in (1, 2, 3)}
  branches = {
    'branch1': 'branch1',
    'branch2.0': 'reduce2',
    'branch2.1': 'branch2',
    'branch3.0': 'reduce3',
    'branch3.1': 'branch3',
    'branch4.1': 'branch4',
  }
  for block in googlenet.BLOCKS:
    for theirs, ours in branches.items():
      convs[f'{block}.{theirs}'] = (block, ours)
  table = {'fc': None}
  for head in googlenet.AUXILIARY.values():
    convs[f'{head}.conv'] = (head, 'conv')
    table[f'{head}.fc1'] = (head, 'fc1')
    table[f'{head}.fc2'] = None
  for name, path in convs.items():
    table[f'{name}.conv'] = (*path, 'conv')
    table[f'{name}.bn'] = (*path, 'bn')
  return table


_TABLES: dict[str, Callable[[], dict[str, Path | None]]] = {
  'googlenet': _googlenet,
  **{f'resnet_{d}': functools.partial(_resnet, d) for d in resnet.BLOCKS},
  **{
    f'convnext_{v}': functools.partial(_convnext, v) for v in convnext.VARIANTS
  },
  **{
    f'efficientnet_{v}': functools.partial(_efficientnet, v)
    for v in efficientnet.VARIANTS
  },
}
# Repositories on the Hugging Face hub with such a file, for messages.
_FILE = 'model.safetensors of timm/{}'
FILES = {
  'googlenet': "torchvision's googlenet-1378be20.pth, saved as .safetensors",
  **{f'resnet_{d}': _FILE.format(f'resnet{d}.tv_in1k') for d in resnet.BLOCKS},
  **{
    f'convnext_{v}': _FILE.format(f'convnext_{v}.fb_in22k_ft_in1k')
    for v in convnext.VARIANTS
  },
  **{
    f'efficientnet_{v}': _FILE.format(f'tf_efficientnet_{v}.ns_jft_in1k')
    for v in efficientnet.VARIANTS
  },
}


def weights(module: Path) -> tuple[tuple[str, str, Path], ...]:
  """Return what a layer may hold: name, our tree, path below the module."""
  return NORM if module[-1] in ('bn', 'norm') else OTHER


def table(architecture: str, layers: Iterable[str]) -> dict[str, Path | None]:
  """Return layer -> module, None where we have none."""
  del layers  # PyTorch numbers none by itself.
  return _TABLES[architecture]()


def clean(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
  """Return `layer/weight` and the array in our order of axes."""
  layer, _, weight = name.rpartition('.')
  if value.ndim == 4:
    value = value.transpose(2, 3, 1, 0)
  elif value.ndim == 2:
    value = value.T
  return f'{layer}/{weight}', value
