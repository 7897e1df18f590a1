"""Compile a config's stages for a TPU that is not there; say what they cost.

  python -m boneage_jax.train_compile --config=FILE --topology=v5e:2x4

Needs `pip install -e '.[tpu]'` for libtpu, whose compiler runs on any machine.
The programs are those of training: the same functions make them, from shapes
alone. `--topology=local` takes the devices at hand.
"""

from collections.abc import Sequence
import importlib.util
import inspect
import os
import sys
import time
from typing import Any

from absl import app
from absl import flags
import cv2
from flax import nnx
import jax
from jax.experimental import topologies
import numpy as np

from boneage_jax import config_flag
from boneage_jax import examples
from boneage_jax import losses
from boneage_jax import models
from boneage_jax import optimizers
from boneage_jax import program_cost
from boneage_jax import stages
from boneage_jax import train_step
from boneage_jax.models import ops

FLAGS = flags.FLAGS
EXAMPLES = 'v5e:2x4, v5p:2x2x1 or v6e:2x4'
# Nothing runs on a TPU: libtpu need not ask what host it is on, nor lock it.
ALONE = {
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-8',
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_WORKER_HOSTNAMES': 'localhost',
}
STEPS = 1000  # of the schedule: they change its constants, not the program


def find_devices(topology: str) -> list[Any]:
  """Devices of 'local', or of a TPU slice such as 'v5e:2x4', without it.

  Raises:
    ValueError: libtpu is missing, or does not know the topology.
  """
  if topology == 'local':
    return jax.devices()
  if importlib.util.find_spec('libtpu') is None:
    raise ValueError(
      f'--topology={topology} needs the TPU compiler, and libtpu is not '
      "installed: pip install -e '.[tpu]', or take --topology=local."
    )
  for name, value in ALONE.items():
    os.environ.setdefault(name, value)
  try:
    described = topologies.get_topology_desc(
      platform='tpu', topology_name=topology
    )
  except RuntimeError as error:
    raise ValueError(
      f'--topology={topology} is not one: {error}. Give a chip and the shape '
      f'of the slice, such as {EXAMPLES}, or local.'
    ) from error
  return list(described.devices)


# Programs, from shapes alone.


def _like(tree: Any, sharding: jax.sharding.Sharding, rows: int = 0) -> Any:
  """Shapes of a tree's arrays, of `rows` examples each unless 0."""
  lead = (rows,) if rows else ()
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      lead + np.shape(x), x.dtype, sharding=sharding
    ),
    tree,
  )


def _batch(
  config: Any, stage: str, rows: int, mesh: Any, rng: Any = None
) -> dict[str, Any]:
  """Shapes of a batch, those that a film of noise takes; `rng` augments it."""
  section = config[stage].input
  name, count = 'image', 1
  if section.crops:
    chosen = section.regions or config[section.crops].regions
    name, count = 'regions', len(chosen)
  noise = np.random.default_rng(0).integers(256, size=(8 * count, 8))
  record = {
    name: cv2.imencode('.png', noise.astype(np.uint8))[1].tobytes(),
    **dict.fromkeys(('id', 'male', 'age'), 0),
  }
  sharding = jax.sharding.NamedSharding(
    mesh, jax.sharding.PartitionSpec('data')
  )
  return _like(examples.make_example(record, section, rng), sharding, rows)


def lower_train(config: Any, stage: str, films: int, devices: Any) -> Any:
  """Lower one update of a stage that trains, `films` to each device."""
  section = config[stage]
  mesh = train_step.make_mesh(devices)
  parts = {}

  def create():
    parts['graph'], state, parts['rule'] = train_step.create_state(
      section.net,
      section.input.size,
      config.seed,
      lambda params: optimizers.create(section.optimizer, params, STEPS)[0],
      section.ema,
      mesh,
    )
    return state

  state = jax.eval_shape(create)
  arguments = section.loss.to_dict()
  loss = losses.LOSSES[arguments.pop('name')]
  accepted = inspect.signature(loss).parameters
  arguments = {k: v for k, v in arguments.items() if k in accepted}
  update = train_step.make_train_step(
    parts['graph'],
    lambda outputs, batch: loss(outputs, batch, **arguments),
    parts['rule'],
    ema=section.ema,
    seed=config.seed,
    freeze_statistics=section.freeze_statistics,
    mesh=mesh,
  )
  return update.lower(
    _like(state, train_step.replicated(mesh)),
    _batch(config, stage, films * len(devices), mesh, np.random.default_rng(0)),
  )


def lower_locate(config: Any, stage: str, films: int, devices: Any) -> Any:
  """Lower the heat maps of a stage that locates, `films` to each device."""
  section = config[stage]
  localizer = config[section.localizer]
  mesh = train_step.make_mesh(devices)
  make = lambda: models.create(localizer.net, size=localizer.input.size)
  graph, params, stats = train_step.split(nnx.eval_shape(make))
  variables = {'params': params, 'batch_stats': stats}
  batch = _batch(config, section.localizer, films * len(devices), mesh)

  @jax.jit
  def maps(variables, image, male):
    return stages.make_maps(graph, variables, section)(image, male)

  return maps.lower(
    _like(variables, train_step.replicated(mesh)), batch['image'], batch['male']
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
) -> program_cost.Cost:
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
    raise program_cost.NoRoom(
      f'{stage}: no room for {films} films to a device. {why}'
    ) from error
  seconds = tuple((clocks() - began).tolist())
  net = config[section.localizer if section.job == 'locate' else stage].net
  return program_cost.read(
    compiled, stage=stage, dtype=net.dtype, films=films, seconds=seconds
  )


def run(
  config: Any,
  topology: str,
  films: int = 0,
  *,
  search: bool = False,
  quick: bool = False,
) -> list[program_cost.Cost]:
  """Compile the stages of `config`; print what they cost.

  Args:
    topology: see `find_devices`.
    films: per device; 0 shares out the batch of the config.
    search: for the largest batch, too.
    quick: see `compile_stage`.

  Raises:
    ValueError: settings that cannot be compiled.
  """
  devices = find_devices(topology)
  kind = devices[0].device_kind
  chip = program_cost.CHIPS.get(kind)
  if search and chip is None:
    raise ValueError(
      f'--fit needs the memory of a chip, and that of {kind} is not known; '
      f'give --topology={EXAMPLES}.'
    )
  names = [name for name in config.stages if config[name].job in JOBS]
  if not names:
    raise ValueError(
      f'Of the stages {", ".join(config.stages)} none has a program to '
      f'compile; choose some whose job is {" or ".join(JOBS)}.'
    )
  print(f'{config.name} on {topology}, {len(devices)} x {kind}', flush=True)
  # All at once: to find the last at fault after an hour would be late.
  starts = {name: films or share(config, name, devices) for name in names}
  costs = []
  for name, start in starts.items():

    def compile_with(films, name=name):
      cost = compile_stage(config, name, devices, films, quick)
      print(f'{name}: {cost}', flush=True)
      costs.append(cost)
      return cost

    if not search:
      compile_with(start)
      continue
    most, why = program_cost.fit(compile_with, start, chip.hbm)
    print(f'{name}: {most} films to a device fit, no more. {why}', flush=True)
  print(program_cost.table(costs, chip))
  return costs


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  jax.config.update('jax_enable_compilation_cache', False)  # times are compared
  if FLAGS.topology != 'local':
    jax.config.update('jax_platforms', 'cpu')  # else a TPU would be looked for
  try:
    run(
      FLAGS.config,
      FLAGS.topology,
      FLAGS.batch_per_device,
      search=FLAGS.fit,
      quick=FLAGS.quick,
    )
  except ValueError as error:
    sys.exit(f'Error: {error}')


def parse_flags(argv: list[str]) -> list[str]:
  """Define the flags of this command and parse them."""
  config_flag.define()
  flags.DEFINE_string('topology', 'local', f'{EXAMPLES}, or local.')
  flags.DEFINE_integer(
    'batch_per_device', 0, 'Films per device (default: from the config).'
  )
  flags.DEFINE_bool('fit', False, 'Search the largest batch per device, too.')
  flags.DEFINE_bool('quick', False, 'Optimize less, in a quarter of the time.')
  return config_flag.parse(argv)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
