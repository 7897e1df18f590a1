"""Programs of a config's stages, lowered and compiled from shapes alone."""

from collections.abc import Sequence
import time
from typing import Any

from flax import nnx
import jax
import numpy as np

from boneage_jax import models
from boneage_jax.core import distributed
from boneage_jax.core import scalars
from boneage_jax.models import ops
from boneage_jax.regions import gradcam
from boneage_jax.train_compile import cost
from boneage_jax.training import setup
from boneage_jax.training import shapes
from boneage_jax.training import step as train_step

STEPS = 1000  # of the schedule: they change its constants, not the program


def _split(mesh: Any) -> jax.sharding.Sharding:
  """Return how a batch lies on the devices of a mesh."""
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))


def lower_train(config: Any, stage: str, films: int, devices: Any) -> Any:
  """Lower one update of a stage that trains, `films` to each device."""
  section = config[stage]
  mesh = distributed.make_mesh(devices)
  seed = config.seed + section.seed
  _, rule, update, _ = setup.make_update(
    section, seed, section.steps or STEPS, mesh, bool(shapes.masks(section))
  )
  create = lambda: train_step.create_state(
    *train_step.net_of(section), seed, rule, section.ema, mesh
  )
  state = jax.eval_shape(create)
  return update.lower(
    shapes.like(state, distributed.replicated(mesh)),
    shapes.batch(
      *(config, stage, films * len(devices)),
      *(np.random.default_rng(0), _split(mesh)),
    ),
  )


def lower_locate(config: Any, stage: str, films: int, devices: Any) -> Any:
  """Lower the heat maps of a stage that locates, `films` to each device."""
  section = config[stage]
  localizer = config[section.localizer]
  mesh = distributed.make_mesh(devices)
  net, size = train_step.net_of(localizer)
  make = lambda: models.create(net, size=size)
  graph, params, stats = train_step.split(nnx.eval_shape(make))
  variables = {'params': params, 'batch_stats': stats}
  rows = films * len(devices)
  batch = shapes.batch(
    *(config, section.localizer, rows), sharding=_split(mesh)
  )

  @jax.jit
  def maps(variables, image, inputs):
    return gradcam.make_maps(graph, variables, section)(image, inputs)

  return maps.lower(
    shapes.like(variables, distributed.replicated(mesh)),
    batch['image'],
    {name: batch[name] for name in ('sex', *scalars.of(batch))},
  )


JOBS = {'train': lower_train, 'locate': lower_locate}


def users(config: Any, stage: str, devices: Sequence[Any]) -> list[Any]:
  """Devices that work together on a batch: to locate, those of one process."""
  alone = config[stage].job == 'locate'
  return [d for d in devices if not (alone and d.process_index)]


def share(config: Any, stage: str, devices: Sequence[Any]) -> int:
  """Films of the config's batch that each device takes.

  Raises:
    ValueError: the batch cannot be shared out evenly.
  """
  size, count = config[stage].batch_size, len(users(config, stage, devices))
  if size % count:
    raise ValueError(
      f'{stage}.batch_size={size} does not divide by the {count} devices it is '
      f'for; set --config.{stage}.batch_size to a multiple of {count}, or '
      '--batch_per_device.'
    )
  return size // count


def compile_stage(
  config: Any,
  stage: str,
  devices: Sequence[Any],
  films: int,
  quick: bool = False,
) -> cost.Cost:
  """Compile a stage's program with a batch of `films` to each device.

  Args:
    quick: with the least effort, which leaves more in memory.

  Raises:
    NoRoom: the compiler finds no memory for them.
  """
  section = config[stage]
  devices = users(config, stage, devices)
  form = ops.FORM
  try:
    if devices[0].platform == 'tpu':
      ops.FORM = 'native'  # not what suits the machine at hand
    lowered = JOBS[section.job](config, stage, films, devices)
  finally:
    ops.FORM = form
  options = {'exec_time_optimization_effort': -1.0} if quick else None
  clocks = lambda: np.array([time.monotonic(), time.process_time()])
  began = clocks()
  try:
    compiled = lowered.compile(options)
  except RuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    why = ' '.join(str(error).split('\n\n', maxsplit=1)[0].split())
    raise cost.NoRoom(
      f'{stage}: no room for {films} films to a device. {why}'
    ) from error
  seconds = tuple((clocks() - began).tolist())
  net = config[section.localizer if section.job == 'locate' else stage].net
  return cost.measure(
    compiled, stage=stage, dtype=net.dtype, films=films, seconds=seconds
  )
