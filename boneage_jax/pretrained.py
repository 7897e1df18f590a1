"""ImageNet weights in Keras' HDF5 layout, merged into a net by layer name.

A table per architecture gives Keras' layer names the paths of our modules.
Layers that Keras numbers by itself (`conv2d_17`) stand in the table by their
order of creation (`conv2d#16`); a file may start counting at any number.
"""

from collections.abc import Mapping
import os
import re
from typing import Any
from typing import NamedTuple

from absl import logging
from flax import traverse_util
import jax.numpy as jnp
import numpy as np

from boneage_jax.models import inception_v3
from boneage_jax.models import resnet

Path = tuple[str, ...]

# The released files, for messages.
FILES = {
  'inception_v3': 'inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5',
  'resnet': 'resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5',
  'xception': 'xception_weights_tf_dim_ordering_tf_kernels_notop.h5',
}
# Keras' weight: our tree, the path below the module.
CONV = {
  'kernel': ('params', ('kernel',)),
  'bias': ('params', ('bias',)),
  'depthwise_kernel': ('params', ('depthwise',)),
  'pointwise_kernel': ('params', ('pointwise', 'kernel')),
}
NORM = {
  'gamma': ('params', ('scale',)),
  'beta': ('params', ('bias',)),
  'moving_mean': ('stats', ('mean',)),
  'moving_variance': ('stats', ('var',)),
}


class Report(NamedTuple):
  """What a load did; names are `layer/weight` of the file, or our paths.

  Attributes:
    loaded: names that were read into the net.
    missing: names the file lacks, allowed; the net keeps its fresh values.
    unexpected: names no architecture of this kind has, allowed.
    unused: names of layers that the net does not build (behind its tap).
    fresh: paths of the net that the published architecture does not have.
  """

  loaded: tuple[str, ...]
  missing: tuple[str, ...]
  unexpected: tuple[str, ...]
  unused: tuple[str, ...]
  fresh: tuple[str, ...]


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


def _resnet50() -> dict[str, Path]:
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


TABLES = {
  'inception_v3': _inception_v3,
  'resnet': _resnet50,
  'xception': _xception,
}


def read(path: str, architecture: str) -> dict[str, np.ndarray]:
  """Return every weight of a Keras .h5 file as `layer/weight` -> array."""
  import h5py

  hint = f"it must be Keras' no-top file of {architecture}, such as "
  hint += FILES[architecture]
  if not os.path.isfile(path):
    raise ValueError(f'There is no weight file {path!r}; {hint}.')
  if not h5py.is_hdf5(path):
    raise ValueError(f'{path!r} is not an HDF5 file; {hint}.')
  weights = {}

  def visit(name, item):
    if isinstance(item, h5py.Dataset):
      parts = name.split('/')
      weights[f'{parts[0]}/{parts[-1].removesuffix(":0")}'] = item[()]

  with h5py.File(path, 'r') as file:
    # A whole model saved as .h5 keeps its weights one level down.
    file.get('model_weights', file).visititems(visit)
  if not weights or any(name.startswith('layers/') for name in weights):
    raise ValueError(
      f'{path!r} holds no weights by layer name (a .weights.h5 of Keras 3 does '
      f"not; save the model as '.h5'); {hint}."
    )
  return weights


def _number_layers(
  table: Mapping[str, Path], weights: Mapping[str, Any]
) -> dict[str, Path]:
  """Replace 'conv2d#16' by the name the file has for it, such as conv2d_17."""
  layers = {name.split('/')[0] for name in weights}
  names = {}
  for prefix in ('conv2d', 'batch_normalization'):
    matches = (re.fullmatch(rf'{prefix}(?:_(\d+))?', name) for name in layers)
    numbers = [int(m[1] or 0) for m in matches if m] or [1]
    ours = [name for name in table if name.startswith(f'{prefix}#')]
    # Where counting can have begun, given that layers may be missing.
    starts = range(max(numbers) - len(ours) + 1, min(numbers) + 1)
    first = next((n for n in (1, 0) if n in starts), min(numbers))
    for i in range(len(ours)):
      n = first + i
      names[f'{prefix}#{i}'] = f'{prefix}_{n}' if n else prefix
  return {names.get(name, name): path for name, path in table.items()}


def _some(names: list[str]) -> str:
  rest = f' and {len(names) - 8} more' if len(names) > 8 else ''
  return ', '.join(names[:8]) + rest


def _refused(names: list[str], allowed: str | None) -> list[str]:
  """Return the names whose layer the regular expression does not allow."""
  pattern = re.compile(allowed or r'(?!)')
  return [n for n in names if not pattern.fullmatch(n.split('/')[0])]


def load(
  path: str,
  params: dict,
  stats: dict,
  architecture: str,
  *,
  allow_missing: str | None = None,
  allow_unexpected: str | None = None,
) -> tuple[dict, dict, Report]:
  """Replace a backbone's fresh values by those of a Keras no-top .h5 file.

  Args:
    path: the file; float16 is widened.
    params, stats: plain dicts of the backbone's nnx.Param and nnx.BatchStat.
    architecture: 'inception_v3', 'xception' or 'resnet' (depth 50, Keras form).
    allow_missing: layers that the file may lack, a regular expression for the
      whole name of the layer in the file; they keep their fresh values.
    allow_unexpected: the same for layers of the file that are not known.

  Returns:
    New params and stats, and a Report.

  Raises:
    ValueError: no such file, or one that does not fit: names every kind of
      misfit at once.
  """
  if architecture not in TABLES:
    raise ValueError(
      f'There is no weight table for {architecture!r}, only for '
      f'{", ".join(TABLES)}.'
    )
  weights = read(path, architecture)
  table = _number_layers(TABLES[architecture](), weights)
  trees = {
    'params': traverse_util.flatten_dict(params),
    'stats': traverse_util.flatten_dict(stats),
  }
  wanted = {}
  for layer, module in table.items():
    kinds = NORM if module[-1] == 'bn' else CONV
    for weight, (tree, leaf) in kinds.items():
      if (*module, *leaf) in trees[tree]:
        wanted[f'{layer}/{weight}'] = (tree, (*module, *leaf))

  built = {path[:i] for path in trees['params'] for i in range(len(path))}
  missing = [name for name in wanted if name not in weights]
  unused, unexpected = [], []
  for name in weights:
    module = table.get(name.split('/')[0])
    if module is not None and module not in built:
      unused.append(name)
    elif name not in wanted:
      unexpected.append(name)

  problems = []
  if refused := _refused(missing, allow_missing):
    problems.append(f'missing: {_some(refused)} (see allow_missing)')
  if refused := _refused(unexpected, allow_unexpected):
    problems.append(f'unexpected: {_some(refused)} (see allow_unexpected)')
  shapes = []
  loaded = [name for name in wanted if name in weights]
  for name in loaded:
    tree, leaf = wanted[name]
    value = weights[name]
    if name.endswith('/depthwise_kernel') and value.ndim == 4:
      value = value.swapaxes(2, 3)  # Keras [3, 3, C, 1], ours [3, 3, 1, C].
    here = trees[tree][leaf]
    if value.shape != here.shape:
      shapes.append(
        f'{name} {value.shape} for {"/".join(leaf)} {tuple(here.shape)}'
      )
      continue
    trees[tree][leaf] = jnp.asarray(value, here.dtype)
  if shapes:
    problems.append(
      f'shapes (file for net): {_some(shapes)} (weights fit width=1 and 3 '
      'input channels only)'
    )
  if problems:
    raise ValueError(
      f'{path!r} does not fit {architecture}; Keras calls the right file '
      f'{FILES[architecture]}. ' + '; '.join(problems) + '.'
    )

  covered = set(wanted.values())
  fresh = [
    '/'.join(map(str, leaf))
    for tree, leaves in trees.items()
    for leaf in leaves
    if (tree, leaf) not in covered
  ]
  report = Report(*map(tuple, (loaded, missing, unexpected, unused, fresh)))
  return (
    traverse_util.unflatten_dict(trees['params']),
    traverse_util.unflatten_dict(trees['stats']),
    report,
  )


def load_into_net(
  weights: Mapping[str, Any], net: Mapping[str, Any], params: dict, stats: dict
) -> tuple[dict, dict]:
  """Load the backbones of a net.

  Args:
    weights: a backbone's section of the net -> `path` and, as in `load`,
      `allow_missing` and `allow_unexpected`.
    net: the net's config; `net[section]` has `name` and arguments.
    params, stats: plain dicts of the whole net.

  Returns:
    New params and stats.

  Raises:
    ValueError: as in `load`, or a section that the net does not have.
  """
  params, stats = dict(params), dict(stats)
  for section, options in weights.items():
    if section not in params or section not in net:
      raise ValueError(
        f'pretrained.{section} names no backbone of the net; it has '
        f'{", ".join(sorted(set(params) & set(net)))}.'
      )
    backbone = net[section]
    if backbone.get('stride_in', '1x1') != '1x1':
      raise ValueError(
        f"{section}: Keras' ResNet50 strides in the 1x1 convolution; set "
        f"stride_in='1x1', not {backbone['stride_in']!r}."
      )
    params[section], stats[section], report = load(
      options['path'],
      params[section],
      stats[section],
      backbone['name'],
      allow_missing=options.get('allow_missing'),
      allow_unexpected=options.get('allow_unexpected'),
    )
    logging.info(
      '%s: %d weights from %s; fresh: %s; not used: %d.',
      section,
      len(report.loaded),
      options['path'],
      _some([*report.missing, *report.fresh]) or 'none',
      len(report.unused),
    )
  return params, stats
