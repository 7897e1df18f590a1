"""Compile a config's stages for a TPU that is not there; say what they cost.

  python -m boneage_jax.train_compile.__main__ --config=FILE --topology=v5e:2x4

Needs `pip install -e '.[tpu]'` for libtpu, whose compiler runs on any machine.
The programs are those of training: the same functions make them, from shapes
alone. Every stage is compiled in a process of its own, as many at once as there
are cores. `--topology=local` takes the devices at hand, one after the other.
"""

from concurrent import futures
from concurrent.futures import process
import importlib
import importlib.util
import itertools
import multiprocessing
import os
from typing import Any

from absl import app
from absl import flags
import jax
from jax.experimental import topologies

from boneage_jax.core import config as config_lib
from boneage_jax.core import door
from boneage_jax.core import startup
from boneage_jax.train_compile import cost as cost_lib
from boneage_jax.train_compile import programs

FLAGS = flags.FLAGS
EXAMPLES = 'v5e:2x4, v5p:2x2x1 or v6e:2x4'
# Nothing runs on a TPU: libtpu need not ask what host it is on, nor lock it.
ALONE = {
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'TPU_SKIP_MDS_QUERY': '1',
  **startup.LIBTPU_ALONE,
}


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


def cost_of(
  config: Any, topology: str, stage: str, films: int, search: bool, quick: bool
) -> list[cost_lib.Cost]:
  """Compile one stage of `config`, or several times to `search`; see `run`."""
  devices = find_devices(topology)
  costs = []

  def compile_with(films):
    cost = programs.compile_stage(config, stage, devices, films, quick)
    print(f'{stage}: {cost}', flush=True)
    costs.append(cost)
    return cost

  if search:
    hbm = cost_lib.CHIPS[devices[0].device_kind].hbm
    most, why = cost_lib.fit(compile_with, films, hbm)
    print(f'{stage}: {most} films to a device fit, no more. {why}', flush=True)
  else:
    compile_with(films)
  return costs


def cost_apart(
  config: Any, topology: str, stage: str, films: int, search: bool, quick: bool
) -> list[cost_lib.Cost]:
  """As `cost_of`, in a process of its own; no costs where the compiler dies.

  libtpu of 2026 crashes on some programs for v6e, on others with its least
  effort than with its full one: the second try is with the other.
  """
  for effort in (quick, not quick):
    spawn = multiprocessing.get_context('spawn')
    with futures.ProcessPoolExecutor(1, spawn, set_up) as pool:
      try:
        work = (config, topology, stage, films, search, effort)
        return pool.submit(cost_of, *work).result()
      except process.BrokenProcessPool:
        kind = 'least' if effort else 'full'
        print(
          f'{stage}: the compiler died with {films} films to a device and '
          f'its {kind} effort.',
          flush=True,
        )
  return []


def set_up() -> None:
  """Set JAX up for a TPU that is not there."""
  jax.config.update('jax_enable_compilation_cache', False)  # times are compared
  jax.config.update('jax_platforms', 'cpu')  # else a TPU would be looked for


def run(
  config: Any,
  topology: str,
  films: int = 0,
  *,
  search: bool = False,
  quick: bool = False,
) -> list[cost_lib.Cost]:
  """Compile the stages of `config`; print what they cost.

  Args:
    topology: see `find_devices`.
    films: per device; 0 shares out the batch of the config.
    search: for the largest batch, too.
    quick: see `programs.compile_stage`.

  Raises:
    ValueError: settings that cannot be compiled.
  """
  if films < 0:
    raise ValueError(
      'Expected --batch_per_device of 1 film or more, or 0 for those of the '
      f'config, got {films}.'
    )
  devices = find_devices(topology)
  kind = devices[0].device_kind
  chip = cost_lib.CHIPS.get(kind)
  if search and chip is None:
    raise ValueError(
      f'--fit needs the memory of a chip, and that of {kind} is not known; '
      f'give --topology={EXAMPLES}.'
    )
  names = [name for name in config.stages if config[name].job in programs.JOBS]
  if not names:
    raise ValueError(
      f'Of the stages {", ".join(config.stages)} none has a program to '
      f'compile; choose some whose job is {" or ".join(programs.JOBS)}.'
    )
  print(f'{config.name} on {topology}, {len(devices)} x {kind}', flush=True)
  # All at once: to find the last at fault after an hour would be late.
  starts = {
    name: films or programs.share(config, name, devices) for name in names
  }
  arguments = [(config, topology, k, starts[k], search, quick) for k in names]
  if topology == 'local':
    found = list(itertools.starmap(cost_of, arguments))
  else:
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      found = list(pool.map(lambda work: cost_apart(*work), arguments))
  costs = list(itertools.chain(*found))
  if costs:
    print(cost_lib.cost_table(costs, chip))
  if dead := [k for k, cost in zip(names, found, strict=True) if not cost]:
    raise ValueError(
      f'The compiler died on {", ".join(dead)}, with its least effort and with '
      'its full one: that is a fault of libtpu, or memory ran out. Try another '
      '--batch_per_device.'
    )
  return costs


def main(argv: list[str]) -> None:
  """Run the command."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  if FLAGS.topology == 'local':
    jax.config.update('jax_enable_compilation_cache', False)
  else:
    set_up()
  with door.one_line_errors():
    run(
      FLAGS.config,
      FLAGS.topology,
      FLAGS.batch_per_device,
      search=FLAGS.fit,
      quick=FLAGS.quick,
    )


def parse_flags(argv: list[str]) -> list[str]:
  """Define the flags of this command and parse them."""
  config_lib.define()
  flags.DEFINE_string('topology', 'local', f'{EXAMPLES}, or local.')
  flags.DEFINE_integer(
    'batch_per_device', 0, 'Films per device (default: from the config).'
  )
  flags.DEFINE_bool('fit', False, 'Search the largest batch per device, too.')
  flags.DEFINE_bool('quick', False, 'Optimize less, in a quarter of the time.')
  return config_lib.parse(argv)


if __name__ == '__main__':
  # By name: other processes do not find what stands in a package's __main__.
  command = importlib.import_module('boneage_jax.train_compile.__main__')
  app.run(command.main, flags_parser=command.parse_flags)
