"""What Keras' weight files call the modules of our backbones.

These are files without the top, but of VGG-16, whose deep layers are there.

Layers that Keras numbers by itself (`conv2d_17`) stand in the tables by their
order of creation (`conv2d#16`); a file may start counting at any number.
"""

from collections.abc import Callable
from collections.abc import Iterable
import functools
import re

import numpy as np

from boneage_jax.models.backbones import convnext
from boneage_jax.models.backbones import efficientnet
from boneage_jax.models.backbones import inception_v3
from boneage_jax.models.backbones import mobilenet_v3
from boneage_jax.models.backbones import resnet
from boneage_jax.models.backbones import vgg16

Path = tuple[str, ...]

SOURCE = "Keras' no-top"  # whose files, in messages
# What the files fit; also the nets' defaults.
REQUIRES = {'efficientnet': ('padding', 'tf'), 'resnet': ('variant', 'v1')}
# Fully connected layers that are convolutions here, and their windows.
FULL = {
  'fc1': (vgg16.WINDOW, vgg16.WINDOW),
  'fc2': (1, 1),
  'predictions': (1, 1),
}
NORM = (
  ('gamma', 'params', ('scale',)),
  ('beta', 'params', ('bias',)),
  ('moving_mean', 'stats', ('mean',)),
  ('moving_variance', 'stats', ('var',)),
)
OTHER = (
  ('kernel', 'params', ('kernel',)),
  ('bias', 'params', ('bias',)),
  ('depthwise_kernel', 'params', ('depthwise',)),
  ('pointwise_kernel', 'params', ('pointwise', 'kernel')),
  ('layer_scale', 'params', ('layer_scale',)),
)


def _inception_v3() -> dict[str, Path]:
  convs = [('stem', f'conv{i}') for i in range(len(inception_v3.STEM))]
  for block, branches in inception_v3.MIXED.items():
    for name, branch in branches.items():
      for conv, _ in inception_v3.flatten(branch):
        convs.append((block, name, f'conv{conv}'))
  table = {}
  for i, path in enumerate(convs):
    table[f'conv2d#{i}'] = (*path, 'conv')
    table[f'batch_normalization#{i}'] = (*path, 'bn')
  return table


def _xception() -> dict[str, Path]:
  table = {}
  for i in (1, 2):
    table[f'block1_conv{i}'] = ('block1', f'conv{i}', 'conv')
    table[f'block1_conv{i}_bn'] = ('block1', f'conv{i}', 'bn')
  for block in range(2, 15):
    for i in range(1, 4 if 5 <= block <= 12 else 3):
      path = (f'block{block}', f'sepconv{i}')
      table[f'block{block}_sepconv{i}'] = (*path, 'conv')
      table[f'block{block}_sepconv{i}_bn'] = (*path, 'bn')
  for i, block in enumerate((2, 3, 4, 13)):
    table[f'conv2d#{i}'] = (f'block{block}', 'shortcut', 'conv')
    table[f'batch_normalization#{i}'] = (f'block{block}', 'shortcut', 'bn')
  return table


def _resnet_50() -> dict[str, Path]:
  table = {
    'conv1_conv': ('stem', 'conv', 'conv'),
    'conv1_bn': ('stem', 'conv', 'bn'),
  }
  for stage, count in enumerate(resnet.BLOCKS[50], 1):
    for block in range(1, count + 1):
      for i in range(0 if block == 1 else 1, 4):
        name = f'conv{stage + 1}_block{block}_{i}'
        conv = f'conv{i}' if i else 'shortcut'
        path = (f'stage{stage}', f'block{block}', conv)
        table[f'{name}_conv'] = (*path, 'conv')
        table[f'{name}_bn'] = (*path, 'bn')
  return table


def _convnext(variant: str) -> dict[str, Path]:
  net = f'convnext_{variant}'
  table = {
    f'{net}_stem_conv': ('stem', 'conv'),
    f'{net}_stem_layernorm': ('stem', 'norm'),
    'layer_normalization#0': ('norm',),
  }
  for stage, count in enumerate(convnext.VARIANTS[variant][0]):
    here = f'stage{stage + 1}'
    if stage:
      down = f'{net}_downsampling'
      table[f'{down}_layernorm_{stage - 1}'] = (here, 'norm')
      table[f'{down}_conv_{stage - 1}'] = (here, 'conv')
    for block in range(count):
      name = f'{net}_stage_{stage}_block_{block}'
      path = (here, f'block{block + 1}')
      table[f'{name}_depthwise_conv'] = (*path, 'depthwise')
      table[f'{name}_layernorm'] = (*path, 'norm')
      table[f'{name}_pointwise_conv_1'] = (*path, 'expand')
      table[f'{name}_pointwise_conv_2'] = (*path, 'contract')
      table[f'{name}_layer_scale'] = path
  return table


def _efficientnet(variant: str) -> dict[str, Path | None]:
  table = {
    'normalization#0': None,  # The input's; `layers.preprocess` does it.
    'stem_conv': ('stem', 'conv'),
    'stem_bn': ('stem', 'bn'),
    'top_conv': ('top', 'conv'),
    'top_bn': ('top', 'bn'),
  }
  for stage, count in efficientnet.counts(variant).items():
    for block in efficientnet.BLOCKS[:count]:
      name, path = f'{stage}{block}', (stage, block)
      if efficientnet.STAGES[stage].expand > 1:
        table[f'{name}_expand_conv'] = (*path, 'expand', 'conv')
        table[f'{name}_expand_bn'] = (*path, 'expand', 'bn')
      table[f'{name}_dwconv'] = (*path, 'depthwise')
      table[f'{name}_bn'] = (*path, 'depthwise', 'bn')
      table[f'{name}_se_reduce'] = (*path, 'gate', 'reduce')
      table[f'{name}_se_expand'] = (*path, 'gate', 'expand')
      table[f'{name}_project_conv'] = (*path, 'project', 'conv')
      table[f'{name}_project_bn'] = (*path, 'project', 'bn')
  return table


def _mobilenet_v3() -> dict[str, Path | None]:
  table = {}
  for name, stage in (('conv', 'stem'), ('conv_1', 'top')):
    table[name] = (stage, 'conv')
    table[f'{name}_bn'] = (stage, 'bn')
  for i, (block, spec) in enumerate(mobilenet_v3.BLOCKS.items()):
    name = f'expanded_conv_{i}' if i else 'expanded_conv'
    for part in ('expand', 'project') if i else ('project',):
      table[f'{name}_{part}'] = (block, part, 'conv')
      table[f'{name}_{part}_bn'] = (block, part, 'bn')
    table[f'{name}_depthwise'] = (block, 'depthwise')
    table[f'{name}_depthwise_bn'] = (block, 'depthwise', 'bn')
    if spec.gated:
      gate = f'{name}_squeeze_excite_conv'
      table[gate] = (block, 'gate', 'reduce')
      table[f'{gate}_1'] = (block, 'gate', 'expand')
  return table


def _vgg16() -> dict[str, Path | None]:
  table = {
    f'{block}_conv{i + 1}': (block, f'conv{i + 1}', 'conv')
    for block, filters in vgg16.BLOCKS.items()
    for i in range(len(filters))
  }
  stages = {'fc1': 'fc6', 'fc2': 'fc7', 'predictions': 'fc8'}
  return table | {name: (stage, 'conv') for name, stage in stages.items()}


_TABLES: dict[str, Callable[[], dict[str, Path | None]]] = {
  'inception_v3': _inception_v3,
  'mobilenet_v3': _mobilenet_v3,
  'resnet_50': _resnet_50,
  'vgg16': _vgg16,
  'xception': _xception,
  **{
    f'convnext_{v}': functools.partial(_convnext, v) for v in convnext.VARIANTS
  },
  **{
    f'efficientnet_{v}': functools.partial(_efficientnet, v)
    for v in efficientnet.VARIANTS
  },
}
# The released files, for messages.
_FILE = '{}_weights_tf_dim_ordering_tf_kernels_notop.h5'
FILES = {
  'inception_v3': _FILE.format('inception_v3'),
  'mobilenet_v3': 'weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5',
  'resnet_50': _FILE.format('resnet50'),
  'vgg16': 'vgg16_weights_tf_dim_ordering_tf_kernels.h5',  # with the top
  'xception': _FILE.format('xception'),
  **{f'convnext_{v}': f'convnext_{v}_notop.h5' for v in convnext.VARIANTS},
  **{
    f'efficientnet_{v}': f'efficientnet{v}_notop.h5'
    for v in efficientnet.VARIANTS
  },
}


def weights(module: Path) -> tuple[tuple[str, str, Path], ...]:
  """Return what a layer may hold: name, our tree, path below the module."""
  return NORM if module[-1] in ('bn', 'norm') else OTHER


def clean(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
  """Return `layer/weight` and the array in our order of axes.

  Args:
    name: of a data set in the file, such as `conv2d_1/conv2d_1/kernel:0`.
    value: what it holds.
  """
  *layers, weight = name.removesuffix(':0').split('/')
  layer = layers[0]
  if re.search(r'_stem$|_downsampling_block_\d$', layer):
    layer = layers[-1]  # ConvNeXt nests two layers in one.
  half = len(layers) // 2
  mobilenet = layer.startswith(('Conv', 'expanded_conv'))
  if mobilenet and layers[:half] == layers[half:]:
    # Older versions write expanded_conv/depthwise/BatchNorm, and that twice.
    layer = '_'.join(layers[:half]).replace('BatchNorm', 'bn').lower()
  if layer.endswith('_layer_scale'):
    weight = 'layer_scale'  # The layer leaves its weight unnamed.
  depthwise = layer.endswith(('dwconv', '_depthwise'))
  if weight == 'depthwise_kernel' or depthwise:
    value = value.swapaxes(2, 3)  # Keras [k, k, C, 1], ours [k, k, 1, C].
  if depthwise:
    weight = 'kernel'  # Of Keras 3, too.
  if layer in FULL and value.ndim == 2:
    # Flattened by rows, columns and channels; the window is square.
    value = value.reshape(*FULL[layer], -1, value.shape[-1])
  return f'{layer}/{weight}', value


def table(architecture: str, layers: Iterable[str]) -> dict[str, Path | None]:
  """Return layer -> module, None where we have none.

  Args:
    architecture: a key of FILES.
    layers: of the file: 'conv2d#16' becomes what it calls it, say conv2d_17.
  """
  names, modules, layers = {}, _TABLES[architecture](), set(layers)
  for prefix in {name.split('#')[0] for name in modules if '#' in name}:
    matches = (re.fullmatch(rf'{prefix}(?:_(\d+))?', name) for name in layers)
    numbers = [int(m[1] or 0) for m in matches if m] or [1]
    ours = [name for name in modules if name.startswith(f'{prefix}#')]
    # Where counting can have begun, given that layers may be missing.
    starts = range(max(numbers) - len(ours) + 1, min(numbers) + 1)
    first = next((n for n in (1, 0) if n in starts), min(numbers))
    for i in range(len(ours)):
      n = first + i
      names[f'{prefix}#{i}'] = f'{prefix}_{n}' if n else prefix
  return {names.get(name, name): path for name, path in modules.items()}
