"""The `features` job: what a frozen net sees in films, written once.

The net is that of the stages that read the features: its backbone, and the mean
over windows as large as the map of a training crop. So each position is what
the net would see of a crop.
"""

from collections.abc import Iterable
import hashlib
import itertools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax import models
from boneage_jax.core import distributed
from boneage_jax.core import sizes
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_features
from boneage_jax.data import selection
from boneage_jax.models import layers
from boneage_jax.models.weights import load as load_weights
from boneage_jax.runs import checkpoints
from boneage_jax.training import forward
from boneage_jax.training import prediction
from boneage_jax.training import restore
from boneage_jax.training import step as train_step
from boneage_jax.training import validate

# What a stage that reads features must say as the one that wrote them.
SAME = ('builder_config', 'size', 'crop', 'resize', 'polarity', 'percentiles')
SAME += ('erase_from', 'orientation_from', 'crops_from', 'regions')
BATCHES = 8  # of training films, whose statistics random nets have


def write_features(config: Any, stage: str, workdir: str) -> None:
  """Compute the features of all films; write the stage's folder.

  Writes features.npz (id [N], features [N, h, w, C] float16, net,
  weights_hash), the backbone as a checkpoint, with which new films are read,
  and done.json (films, shape, weights: 'imagenet' or 'random', weights_hash).

  A net of random weights gets statistics of the first training films: without
  them what it sees grows from layer to layer.

  Raises:
    ValueError: features that are not finite in float16.
  """
  section, mesh = config[stage], distributed.make_mesh()
  films = selection.stage_films(config, stage, workdir)
  split_of = lambda some: prediction.Split(config, stage, workdir, some, mesh)
  graph, variables = _frozen_net(config, stage)
  variables = jax.device_put(variables, distributed.replicated(mesh))
  if not weight_files(section):
    split = split_of(selection.select_split(films, 'train'))
    variables['batch_stats'] = statistics(graph, variables, split.batches())
  split = split_of(films)
  rows = split.predict(forward.make_features(graph), variables)['features']
  if not np.isfinite(rows).all():
    bad = films['id'][~np.isfinite(rows).all((1, 2, 3))]
    raise ValueError(
      f'{stage}: expected features that float16 can hold, got others of '
      f'{len(bad)} films, such as {bad[0]}: take weights that were trained, or '
      f'another --config.{stage}.net.backbone.endpoint.'
    )
  backbone = {name: _backbone(tree) for name, tree in variables.items()}
  store = checkpoints.Checkpoints(
    stages.path(workdir, stage, stages.CHECKPOINTS)
  )
  if store.best_step() is None:  # a killed run may have saved it
    store.save_best(0, backbone, 0.0)
  store.close()
  digest = weights_hash(backbone)
  done = {
    'films': len(rows),
    'shape': rows.shape[1:],
    'weights': 'imagenet' if weight_files(section) else 'random',
    'weights_hash': digest,
  }

  def write() -> None:
    path = stages.path(workdir, stage, stages.FEATURES)
    net = section.net.to_dict()
    film_features.write(path, films['id'], rows, net, digest)
    storage.write_json(stages.path(workdir, stage, stages.DONE), done)
    shape = ' x '.join(map(str, rows.shape[1:]))
    print(
      f'{stage}: {shape} features of {len(rows)} films, {done["weights"]} '
      'weights.',
      flush=True,
    )

  distributed.on_main_process(write)


def statistics(
  graph: Any, variables: dict, batches: Iterable[dict[str, jax.Array]]
) -> dict:
  """Return the statistics that BatchNorm finds in the first BATCHES.

  Means over whole batches; one that was filled up counts where it is alone.
  """

  @jax.jit
  def look(variables, batch):
    net = restore.merge(graph, variables)
    layers.set_batch_norms(net, use_running_average=False, momentum=0.0)
    net.features(batch)
    return nnx.to_pure_dict(nnx.state(net, nnx.BatchStat))

  found = []
  for batch in itertools.islice(batches, BATCHES):
    if batch['valid'].all() or not found:
      found.append(look(variables, batch))
  return jax.tree.map(lambda *each: sum(each) / len(each), *found)


def weight_files(section: Any) -> dict[str, Any]:
  """Return the weight files that a stage names, by backbone."""
  return {k: v for k, v in section.pretrained.items() if v.path}


def shape(section: Any) -> tuple[int, int, int]:
  """Return height, width and channels of the features that a stage reads."""
  size = train_step.net_of(section)[1]
  graph, params, stats = train_step.abstract_net(section.net, size)
  variables = {'params': params, 'batch_stats': stats}
  film = (1, *sizes.size_hw(section.input.size), 1)
  batch = {'image': jax.ShapeDtypeStruct(film, jnp.uint8)}
  found = jax.eval_shape(forward.make_features(graph), variables, batch)
  return found['features'].shape[1:]


def weights_hash(variables: dict) -> str:
  """Return the SHA-256 of arrays and their names."""
  found = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    found.update(jax.tree_util.keystr(path).encode())
    found.update(np.ascontiguousarray(leaf).tobytes())
  return found.hexdigest()


def check(stage: stages.Stage) -> None:
  """Check a stage of this job.

  Raises:
    ValueError: settings that cannot be, a file that does not fit its net, or
      none though nobody asked for random features.
  """
  section, name = stage.section, stage.name
  validate.check_input(section.input, f'{name}.input')
  devices = jax.device_count()
  if section.eval_batch_size < 1 or section.eval_batch_size % devices:
    raise ValueError(
      f'Expected {name}.eval_batch_size to be divisible by {devices} devices, '
      f'got {section.eval_batch_size} films.'
    )
  wanted = 'region_channels' if section.input.crops_from else 'age_net'
  if section.net.name != wanted or section.net.pool != 'gap_map':
    raise ValueError(
      f"Expected {name}.net to be an {wanted} with the pool 'gap_map', got "
      f'{section.net.name} with {section.net.get("pool")!r}: change '
      f'--config.{name}.net.'
    )
  if section.net.attention != 'none':
    raise ValueError(
      f"Expected {name}.net.attention='none', as no file has weights of it, "
      f'got {section.net.attention!r}.'
    )
  with validate.about(name):
    params, stats = validate.abstract_net(section)
    files = weight_files(section)
    load_weights.load_into_net(files, section.net, params, stats)
  if files or stage.config.get('allow_random_features'):
    return
  raise ValueError(
    f'Expected a file of ImageNet weights for {name}, whose net is not '
    'trained, got none: give one with '
    f'--config.{name}.pretrained.backbone.path=FILE, or take random features '
    'with --config.allow_random_features=True.'
  )


def check_reader(stage: stages.Stage) -> None:
  """Check a stage that reads the features of another.

  Raises:
    ValueError: that one's are of another net or of films seen otherwise.
  """
  for name in stage.named('input.features_from'):
    writer = stage.config[name]
    for field in SAME:
      ours, theirs = (s.input[field] for s in (stage.section, writer))
      if ours != theirs:
        raise ValueError(
          f'Expected {stage.name}.input.{field}={theirs!r}, as {name} reads '
          f'films, got {ours!r}: set both alike.'
        )
    for field in ('name', 'backbone', 'pool', 'attention'):
      ours, theirs = (s.net.get(field) for s in (stage.section, writer))
      if ours != theirs:
        raise ValueError(
          f'Expected {stage.name}.net.{field} to be that of {name}, '
          f'{theirs}, got {ours}: set both alike.'
        )
    tta = stage.section.tta
    if tta.flip or tuple(tta.rotate) != (0.0,):
      raise ValueError(
        f'Expected no views in {stage.name}.tta, as {name} computes features '
        f'of films as they are, got rotate={tuple(tta.rotate)} and flip='
        f'{tta.flip}: set --config.{stage.name}.tta.rotate="(0.0,)" and '
        f'--config.{stage.name}.tta.flip=False.'
      )


def _frozen_net(config: Any, stage: str) -> tuple[Any, dict]:
  """Build the net of a stage with the weights of its files."""
  section = config[stage]
  net, size = train_step.net_of(section)
  seed = config.seed + section.seed
  graph, params, stats = train_step.split(
    models.create(net, size=size, seed=seed)
  )
  params, stats = load_weights.load_into_net(
    weight_files(section), net, params, stats
  )
  return graph, {'params': params, 'batch_stats': stats}


def _backbone(tree: dict) -> dict:
  return {name: one for name, one in tree.items() if name == 'backbone'}
