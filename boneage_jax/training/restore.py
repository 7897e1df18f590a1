"""Nets that a stage has trained: to use them, or to start another from one."""

from collections.abc import Mapping
import json
import re
from typing import Any

from flax import nnx
from flax import traverse_util
import jax
from jax import numpy as jnp

from boneage_jax.core import distributed
from boneage_jax.core import extend
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.runs import checkpoints
from boneage_jax.runs import lineage
from boneage_jax.runs import parameters
from boneage_jax.training import optimizers
from boneage_jax.training import step as train_step

# How a net sees films, and fields of a net that only training reads, or that
# say how to compute, not what.
SEEN = ('size', 'crop', 'resize', 'percentiles', 'polarity')
OF_TRAINING = ('dropout', 'bn_momentum', 'dtype', 'remat')


def load_net(config: Any, stage: str, workdir: str) -> tuple[Any, dict]:
  """Graph and best variables of a trained stage, on all devices.

  They are those of its checkpoint; of a model file, of its safetensors.

  The net reads films: of a stage that was trained on the features of another,
  it has that one's backbone. Of a stage that writes features, the backbone
  alone is of use, and all else is zero.

  Raises:
    ValueError: the stage has no checkpoint, or the run needs modules of a user
      that were not imported.
  """
  extend.check(config, workdir)
  section = config[stage]
  path = stages.path(workdir, stage, parameters.FILE)
  if storage.exists(path):  # of a model file: the whole net
    _, size = train_step.net_of(section)
    graph, params, stats = train_step.abstract_net(section.net, size)
    whole = parameters.read(path, {'params': params, 'batch_stats': stats})
    mesh = distributed.make_mesh()
    return graph, jax.device_put(whole, distributed.replicated(mesh))
  graph, *shapes = train_step.abstract_net(*train_step.net_of(section))
  if section.job == 'features':
    found = _best(stage, workdir, *map(_backbone, shapes))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    rest = dict(zip(('params', 'batch_stats'), zeros, strict=True))
    return graph, {name: rest[name] | found[name] for name in found}
  variables = _best(stage, workdir, *shapes)
  source = section.input.get('features_from')
  if not source:
    return graph, variables
  _, size = train_step.net_of(section)
  graph, *shapes = train_step.abstract_net(section.net, size)
  frozen = _best(source, workdir, *map(_backbone, shapes))
  return graph, {name: frozen[name] | variables[name] for name in frozen}


def _backbone(tree: dict) -> dict:
  return {name: one for name, one in tree.items() if name == 'backbone'}


def _best(stage: str, workdir: str, params: dict, stats: dict) -> dict:
  """Best variables of a stage, shaped like these, on all devices."""
  folder = stages.path(workdir, stage, stages.CHECKPOINTS)
  if not storage.exists(folder):
    raise ValueError(
      f'No checkpoint in {folder}; run the stage {stage!r} that trains it '
      'first.'
    )
  mesh = distributed.make_mesh()
  variables = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=distributed.replicated(mesh)
    ),
    {'params': params, 'batch_stats': stats},
  )
  store = checkpoints.Checkpoints(folder, read_only=True)
  variables = store.restore_best(variables)
  store.close()
  return variables


def merge(graph: Any, variables: Mapping[str, Any]) -> Any:
  """Return the net of a graph and `variables`, in eval mode.

  Args:
    graph, variables: as of `load_net`: params and batch_stats, which the net
      has copies of.
  """
  net = nnx.merge(
    graph, variables['params'], variables['batch_stats'], copy=True
  )
  net.eval()
  return net


def initial_weights(config: Any, stage: str, workdir: str) -> tuple[dict, dict]:
  """Best parameters and statistics of the net that `stage` starts from.

  `init_from` of the stage names a run and its stage.

  Raises:
    ValueError: no such run, it has no such net, or one that has diverged.
  """
  before = lineage.parent_run(config, stage, workdir)
  _, variables = load_net(*before)
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    if not jnp.isfinite(leaf).all():
      name = jax.tree_util.keystr(path, simple=True, separator='/')
      raise ValueError(
        f'{stage}: the net of init_from.run={config[stage].init_from.run!r} '
        f'has numbers that are not finite in {name}: its training diverged. '
        'Train it again with a lower learning_rate.'
      )
  return variables['params'], variables['batch_stats']


def take(
  fresh: tuple[dict, dict], other: tuple[dict, dict], options: Any
) -> tuple[dict, dict]:
  """Return the arrays of another net, or some of them beside fresh ones.

  Args:
    fresh, other: parameters and statistics of this net and of the other.
    options: `init_from` of the stage: `run`, and `only`, a regex on the paths
      of the arrays of this net that come from the other; '' takes all.

  Raises:
    ValueError: the nets differ in what is taken, or `only` names nothing.
  """
  if not options.only:
    return check_same_structure(fresh, other, options.run)
  try:
    chosen = re.compile(options.only).search
  except re.error as error:
    raise ValueError(
      f'init_from.only={options.only!r} is no regular expression: {error}.'
    ) from error
  names = tuple(map(optimizers.paths, fresh))
  by_name = lambda names, arrays: dict(
    zip(*map(jax.tree.leaves, (names, arrays)), strict=True)
  )
  ours = by_name(names, fresh)
  theirs = by_name(tuple(map(optimizers.paths, other)), other)
  wanted = {name: x for name, x in ours.items() if chosen(name)}
  if not wanted:
    raise ValueError(
      f'init_from.only={options.only!r} matches no parameter; paths look like '
      f'{next(iter(ours))!r}.'
    )
  there = {name: theirs[name] for name in wanted if name in theirs}
  check_same_structure(wanted, there, options.run)
  return jax.tree.map(there.get, names, fresh)


def check_same_structure(fresh: Any, other: Any, name: str) -> Any:
  """Return the arrays `other`, which must have the shapes of `fresh`."""
  shapes = lambda tree: {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  ours, theirs = shapes(fresh), shapes(other)
  differ = [
    f'{leaf} {theirs.get(leaf, "missing")} for {ours.get(leaf, "nothing")}'
    for leaf in sorted(ours.keys() | theirs.keys())
    if ours.get(leaf) != theirs.get(leaf)
  ]
  if differ:
    raise ValueError(
      f'{name} is another net: {len(differ)} arrays differ (there for here), '
      f'such as {"; ".join(differ[:4])}. Take the `net` section of that run.'
    )
  return other


def check_same_net(
  config: Any, stage: str, before_config: Any, before: str
) -> None:
  """Check that a net that is taken as it is sees and tells what it learned.

  Args:
    config, stage: of the stage that takes it, from `init_from.run`.
    before_config, before: of the stage that trained it.

  Raises:
    ValueError: it would see films otherwise, its outputs would stand for
      something else, or only part of it is taken; names the field.
  """
  run, only = config[stage].init_from.run, config[stage].init_from.only
  if only:
    raise ValueError(
      "Expected init_from.only='' for a net that is taken as it is, without "
      f'training, got {only!r}: set epochs.'
    )
  ours, theirs = _learned(config, stage), _learned(before_config, before)
  for field, value in theirs.items():
    if ours.get(field, value) != value:
      raise ValueError(
        f'Expected {field}={value!r}, with which {run} was trained, as it is '
        f'taken without training, got {ours[field]!r}.'
      )


def _learned(config: Any, stage: str) -> dict[str, Any]:
  """Return the fields without which a net's parameters mean nothing."""
  section = config[stage]
  options = section.input
  found = {f'input.{name}': options.get(name, 0.0) for name in SEEN}
  found['input.points'] = options.get('points', ())
  found['input.masks'] = sorted(options.get('masks', ()))
  names = options.get('regions', ())
  if source := options.get('crops_from'):
    names = names or config[source].get('crops', config[source].regions)
    found['input.crop_margin'] = options.get('crop_margin', 0.0)
  found['input.regions'] = names
  if section.get('task') == 'classification':
    found['data.classes'] = config.data.get('classes', ())
  for path, value in traverse_util.flatten_dict(section.net.to_dict()).items():
    if path[-1] not in OF_TRAINING:
      found[f'net.{".".join(path)}'] = value
  # Of the config of a finished run, where a tuple is a list.
  return {name: json.loads(json.dumps(value)) for name, value in found.items()}
