"""ImageNet weights from Keras' .h5 or PyTorch's .safetensors, merged by name.

Tables in `weights.keras` and `weights.torch` give the names of the files the
paths of our modules. A file that does not fit is refused with the
names that are missing, unexpected or of another shape.
"""

from collections.abc import Mapping
import re
from typing import Any
from typing import NamedTuple

from absl import logging
from flax import traverse_util
import jax.numpy as jnp
import numpy as np

from boneage_jax.models.weights import form
from boneage_jax.models.weights import keras as keras_names
from boneage_jax.models.weights import read as read_weights

Path = tuple[str, ...]

# What Keras and PyTorch call the moving variance of BatchNorm.
VARIANCES = ('/moving_variance', '/running_var')
# The argument of a backbone that names its size, and its default.
SIZES = {
  'convnext': ('variant', 'tiny'),
  'efficientnet': ('variant', 'b0'),
  'resnet': ('depth', 50),
}


class Report(NamedTuple):
  """What a load did; names are `layer/weight` of the file, or our paths.

  Attributes:
    loaded: names that were read into the net.
    missing: names the file lacks, allowed; the net keeps its fresh values.
    unexpected: names no architecture of this kind has, allowed.
    unused: names of layers that the net does not build (behind its endpoint).
    fresh: paths of the net that the published architecture does not have.
  """

  loaded: tuple[str, ...]
  missing: tuple[str, ...]
  unexpected: tuple[str, ...]
  unused: tuple[str, ...]
  fresh: tuple[str, ...]


def table_name(backbone: Mapping[str, Any]) -> str:
  """Return the weight table of a backbone's section, such as 'resnet_50'."""
  name = backbone['name']
  if name not in SIZES:
    return name
  argument, default = SIZES[name]
  return f'{name}_{backbone.get(argument, default)}'


def _some(names: list[str]) -> str:
  rest = f' and {len(names) - 8} more' if len(names) > 8 else ''
  return ', '.join(names[:8]) + rest


def _refused(names: list[str], allowed: str | None) -> list[str]:
  """Return the names whose layer the regular expression does not allow."""
  pattern = re.compile(allowed or r'(?!)')
  return [n for n in names if not pattern.fullmatch(n.split('/')[0])]


def _wanted(
  table: Mapping[str, Path | None], names: Any, trees: Mapping[str, Any]
) -> dict[str, tuple[str, Path]]:
  """Return name -> (tree, path) of every weight that the net has room for."""
  wanted = {}
  for layer, module in table.items():
    for weight, tree, leaf in names.weights(module) if module else ():
      if (*module, *leaf) in trees[tree]:
        wanted[f'{layer}/{weight}'] = (tree, (*module, *leaf))
  return wanted


class Plan(NamedTuple):
  """Which weights of a file go where in a net.

  Attributes:
    targets: name -> (tree, path) of what the net has room for and the file has.
    misfits: name -> (shape in the file, shape in the net), of targets.
    missing, unexpected, unused, fresh: as of a Report, allowed or not.
  """

  targets: dict[str, tuple[str, Path]]
  misfits: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
  missing: list[str]
  unexpected: list[str]
  unused: list[str]
  fresh: list[str]


def _match(
  weights: Mapping[str, np.ndarray],
  table: Mapping[str, Path | None],
  names: Any,
  trees: Mapping[str, Any],
) -> Plan:
  """Compare what a file has with what a net has room for."""
  wanted = _wanted(table, names, trees)
  built = {path[:i] for path in trees['params'] for i in range(len(path))}
  unused, unexpected = [], []
  for name in weights:
    layer = name.split('/')[0]
    if layer in table and table[layer] not in built:
      unused.append(name)
    elif name not in wanted:
      unexpected.append(name)
  targets = {name: where for name, where in wanted.items() if name in weights}
  shapes = {
    name: (weights[name].shape, tuple(trees[tree][leaf].shape))
    for name, (tree, leaf) in targets.items()
  }
  covered = set(wanted.values())
  return Plan(
    targets,
    misfits={name: pair for name, pair in shapes.items() if pair[0] != pair[1]},
    missing=[name for name in wanted if name not in weights],
    unexpected=unexpected,
    unused=unused,
    fresh=[
      '/'.join(map(str, leaf))
      for tree, leaves in trees.items()
      for leaf in leaves
      if (tree, leaf) not in covered
    ],
  )


def _problems(
  plan: Plan, allow_missing: str | None, allow_unexpected: str | None
) -> str:
  """Name what of a plan is not allowed; '' where all is."""
  problems = []
  if refused := _refused(plan.missing, allow_missing):
    problems.append(f'missing: {_some(refused)} (see allow_missing)')
  if refused := _refused(plan.unexpected, allow_unexpected):
    problems.append(f'unexpected: {_some(refused)} (see allow_unexpected)')
  if plan.misfits:
    shapes = [
      f'{name} {there} for {"/".join(plan.targets[name][1])} {here}'
      for name, (there, here) in plan.misfits.items()
    ]
    problems.append(
      f'shapes (file for net): {_some(shapes)} (weights fit width=1 and 3 '
      'input channels only)'
    )
  return '; '.join(problems)


def check_values(path: str, weights: Mapping[str, np.ndarray]) -> None:
  """Check that weights are numbers to compute with.

  Args:
    path: of their file, for the message.
    weights: `layer/weight` -> array.

  Raises:
    ValueError: integers, NaN or infinity, or a variance below zero; names the
      weights.
  """
  wrong = []
  for name, stored in weights.items():
    if not jnp.issubdtype(stored.dtype, jnp.floating):
      wrong.append(f'{name} ({stored.dtype}, no floating-point numbers)')
      continue
    values = np.asarray(stored, np.float32)
    if bad := int(np.sum(~np.isfinite(values))):
      wrong.append(f'{name} ({bad} of {values.size} are not finite)')
    elif name.endswith(VARIANCES) and np.min(values, initial=0) < 0:
      below = int(np.sum(values < 0))
      wrong.append(f'{name} ({below} of {values.size} variances are below 0)')
  if wrong:
    raise ValueError(
      f'Expected weights that a net can compute with in {path!r}, got '
      f'{len(wrong)} arrays that none can: {_some(wrong)}. The file is damaged '
      'or was saved by a training that diverged: fetch or train it again.'
    )


def _apply(
  plan: Plan, weights: Mapping[str, np.ndarray], trees: Mapping[str, Any]
) -> dict[str, dict]:
  """Return the trees, nested, with the weights of a plan in their places."""
  trees = {name: dict(leaves) for name, leaves in trees.items()}
  for name, (tree, leaf) in plan.targets.items():
    trees[tree][leaf] = jnp.asarray(weights[name], trees[tree][leaf].dtype)
  return {k: traverse_util.unflatten_dict(v) for k, v in trees.items()}


def load(
  path: str,
  params: dict,
  stats: dict,
  architecture: str,
  *,
  allow_missing: str | None = None,
  allow_unexpected: str | None = None,
) -> tuple[dict, dict, Report]:
  """Replace a backbone's fresh values by those of a released file.

  Args:
    path: a no-top .h5 of Keras, or a .safetensors of timm or torchvision;
      float16 is widened.
    params, stats: plain dicts of the backbone's nnx.Param and nnx.BatchStat.
    architecture: as `table_name` returns it.
    allow_missing: layers that the file may lack, a regular expression for the
      whole name of the layer in the file; they keep their fresh values.
    allow_unexpected: the same for layers of the file that are not known.

  Returns:
    New params and stats, and a Report.

  Raises:
    ValueError: no such file, or one that does not fit: names every kind of
      misfit at once.
  """
  names = read_weights.names_of(path)
  if architecture not in names.FILES:
    raise ValueError(
      f'There is no weight table for {architecture!r} in {names.SOURCE} '
      f'files, only for {", ".join(names.FILES)}.'
    )
  weights = read_weights.read(path, architecture)
  layers = {name.split('/')[0] for name in weights}
  if architecture.startswith('resnet'):
    form.check_resnet(path, layers)
  table = names.table(architecture, layers)
  trees = {
    'params': traverse_util.flatten_dict(params),
    'stats': traverse_util.flatten_dict(stats),
  }
  plan = _match(weights, table, names, trees)
  if problems := _problems(plan, allow_missing, allow_unexpected):
    raise ValueError(
      f'{path!r} does not fit {architecture}, as {names.FILES[architecture]} '
      f'does: {problems}.'
    )
  check_values(path, {name: weights[name] for name in plan.targets})
  trees = _apply(plan, weights, trees)
  report = Report(
    *map(
      tuple,
      (plan.targets, plan.missing, plan.unexpected, plan.unused, plan.fresh),
    )
  )
  return trees['params'], trees['stats'], report


def _check_form(section: str, backbone: Mapping[str, Any], path: str) -> None:
  """Refuse a file whose weights are those of another form of the net."""
  names, name = read_weights.names_of(path), backbone['name']
  if name == 'efficientnet' and path.endswith('.safetensors'):
    form.check_efficientnet(
      path, backbone.get('padding', keras_names.REQUIRES[name][1])
    )
  if name not in names.REQUIRES:
    return
  argument, value = names.REQUIRES[name]
  default = keras_names.REQUIRES.get(name, names.REQUIRES[name])[1]
  given = backbone.get(argument, default)
  if given != value:
    raise ValueError(
      f'{section}: {path!r} is {names.SOURCE}, whose {name} has '
      f'{argument}={value!r}, not {given!r}.'
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
    _check_form(section, net[section], options['path'])
    params[section], statistics, report = load(
      options['path'],
      params[section],
      stats.get(section, {}),  # ConvNeXt has none.
      table_name(net[section]),
      allow_missing=options.get('allow_missing'),
      allow_unexpected=options.get('allow_unexpected'),
    )
    if statistics:
      stats[section] = statistics
    logging.info(
      '%s: %d weights from %s; fresh: %s; not used: %d.',
      section,
      len(report.loaded),
      options['path'],
      _some([*report.missing, *report.fresh]) or 'none',
      len(report.unused),
    )
  return params, stats
