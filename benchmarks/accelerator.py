"""What an accelerator makes of training and prediction, in one short command.

  python -m benchmarks.accelerator --out=accelerator.csv

Each net is trained once at the size of its config, in bfloat16, 64 films to a
step; four of them beside PyTorch (torch.compile, channels last, autocast to
bfloat16), in turn, on the same shapes. Then a stage is trained on films that
are read, as main does, to see how long steps wait for them, and its net reads
films as predict does. Rows come in the order of their worth, and each is
written as it ends. The command ends itself after --minutes; what was not
reached is named.

MFU counts the products of the unrewritten net, two operations each, three times
the forward pass, against the peak of dense bfloat16 of the data sheet.

--preset=phantom takes nets of a few layers: a rehearsal, for a CPU.
"""

import argparse
from collections.abc import Callable
import csv
import importlib
import os
import pathlib
import statistics
import tempfile
import threading
import time
from typing import Any

os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # for PyTorch

import jax
import numpy as np

from benchmarks import end_to_end
from benchmarks import nets
from benchmarks import pairs
from benchmarks import train_step as train_benchmark
from boneage_jax.core import distributed
from boneage_jax.core import startup
from boneage_jax.inference import loading
from boneage_jax.inference import one_film
from boneage_jax.phantom import render
from boneage_jax.train_compile import cost
from boneage_jax.training import footprint
from boneage_jax.training import setup
from boneage_jax.training import shapes
from boneage_jax.training import step as train_step

DTYPE = 'bfloat16'
# Config and stage of every different net: Inception-V3 with CBAM, two streams,
# Inception-V3 and ConvNeXt-T at 512 pixels, m46, and the U-Net.
STAGES = (
  ('cascade', 'localizer'),
  ('cascade', 'assessor'),
  ('best', 'inception'),
  ('best', 'convnext'),
  ('registration', 'hand_both_regression'),
  ('hand_geometry', 'segmenter'),
)
READS = ('whole_image', 'whole_image')  # films of px768
COLUMNS = (
  *('what', 'net', 'input', 'films', 'films_per_s', 'mfu_percent'),
  *('memory_gib', 'first_step_s', 'peer_films_per_s', 'peer_mfu_percent'),
  *('peer_first_step_s', 'ratio', 'waiting_percent', 'note'),
)
Row = dict[str, Any]


def trained(name: str, stage: str, args: argparse.Namespace) -> Row:
  """Train the net of a stage on noise."""
  config = _config(name, args.preset)
  if stage not in config:  # phantoms have another net there
    return {'what': 'training', 'net': f'{name} {stage}', 'note': 'no such net'}
  section = config[stage]
  section.net.dtype = DTYPE
  mesh = distributed.make_mesh(jax.devices()[:1])
  rng = np.random.default_rng(0)
  guided = bool(shapes.masks(section))
  _, rule, update, _ = setup.make_update(section, 0, 1000, mesh, guided)
  state = train_step.create_state(
    *train_step.net_of(section), 0, rule, section.ema, mesh
  )
  batch = jax.device_put(_noise(shapes.batch(config, stage, args.films, rng)))
  began = time.perf_counter()
  compiled = update.lower(state, batch).compile()
  state, _ = jax.block_until_ready(compiled(state, batch))
  first = time.perf_counter() - began
  turns = []
  for _ in range(args.turns):
    began = time.perf_counter()
    for _ in range(args.steps):
      state, scalars = compiled(state, batch)
    jax.block_until_ready((state, scalars))
    turns.append((time.perf_counter() - began) / args.steps)
  seconds = statistics.median(turns)
  memory = cost.measure(
    compiled, stage=stage, dtype=DTYPE, films=args.films, seconds=(0.0, 0.0)
  ).total
  flops = 3 * args.films * footprint.measure(config, stage).flops
  return {
    'what': 'training',
    'net': f'{name} {stage}',
    'input': str(section.input.size),
    'films': args.films,
    'films_per_s': args.films / seconds,
    'mfu_percent': _mfu(flops / seconds),
    'memory_gib': memory / cost.GIB,
    'first_step_s': first,
  }


def beside_torch(name: str, args: argparse.Namespace) -> Row:
  """Train a net of ours and PyTorch's in turn."""
  batch = nets.examples(name, args.size, args.films)
  net = nets.config(name, DTYPE, 'v1.5')
  ours = nets.trainer(net, batch)
  first, flops = pairs.once(ours).wall, 3 * nets.flops(net, batch)
  row = {'what': 'training beside PyTorch', 'net': name, 'input': args.size}
  row |= {'films': args.films, 'first_step_s': first}
  peer = nets.peer('torch', name, batch, DTYPE)
  if isinstance(peer, str):
    times = [pairs.once(ours, args.steps).wall for _ in range(args.turns)]
    row['note'] = f'PyTorch is {peer}'
  else:
    row['peer_first_step_s'] = pairs.once(peer.train).wall
    turns = [
      (
        pairs.once(ours, args.steps).wall,
        pairs.once(peer.train, args.steps).wall,
      )
      for _ in range(args.turns)
    ]
    times, others = zip(*turns, strict=True)
    other = statistics.median(others)
    row['peer_films_per_s'] = args.films / other
    row['peer_mfu_percent'] = _mfu(flops / other)
    row['ratio'] = statistics.median(b / a for a, b in turns)
  seconds = statistics.median(times)
  row['films_per_s'] = args.films / seconds
  row['mfu_percent'] = _mfu(flops / seconds)
  return row


def reading(args: argparse.Namespace, workdir: str) -> Row:
  """Train a stage on films that are read, and see how long steps wait."""
  config, (name, stage) = _config(READS[0], args.preset), READS
  config.phantom.update(films=2 * args.films, long_side=args.long_side)
  config.data.update(validation_fraction=0.1, test_fraction=0.1)
  config[stage].net.dtype = DTYPE
  config[stage].update(batch_size=args.films, steps=4 * args.steps)
  config[stage].update(eval_steps=4 * args.steps)
  ((_, speed, waited),) = end_to_end.speeds(config, [stage], workdir)
  return {
    'what': 'training on films that are read',
    'net': f'{name} {stage}',
    'input': str(config[stage].input.size),
    'films': args.films,
    'films_per_s': speed,
    'waiting_percent': 100 * waited,
  }


def predicting(args: argparse.Namespace, workdir: str) -> Row:
  """Read films with the net of `reading`, in batches, as predict does."""
  model = loading.load(workdir, READS[1], batch_size=args.films)
  record = lambda k: {
    **one_film.record(
      model, render.make_film(k, 0, {'long_side': 512})['image'], 'M'
    )['record'],
    **{'sex': 1.0, 'id': str(k), 'row': k},
  }
  records = [record(k) for k in range(args.films)]
  read = lambda: model.outputs(records)
  first = pairs.once(read).wall
  seconds = statistics.median(pairs.once(read).wall for _ in range(args.turns))
  return {
    'what': 'prediction, films decoded before',
    'net': ' '.join(READS),
    'films': args.films,
    'films_per_s': args.films / seconds,
    'first_step_s': first,
  }


def _config(name: str, preset: str) -> Any:
  return importlib.import_module(f'configs.{name}').get_config(preset)


def _noise(batch: dict[str, Any]) -> dict[str, np.ndarray]:
  """Fill the shapes of a batch; ages in months."""
  rng = np.random.default_rng(0)

  def fill(path, leaf):
    if leaf.dtype == np.uint8:
      return rng.integers(0, 256, leaf.shape, np.uint8)
    top = 228 if 'age' in jax.tree_util.keystr(path) else 1
    return rng.uniform(0, top, leaf.shape).astype(leaf.dtype)

  filled = jax.tree_util.tree_map_with_path(fill, batch)
  return filled | {'valid': np.ones_like(filled['valid'])}


def _mfu(flops_per_s: float) -> float | str:
  kind = jax.devices()[0].device_kind
  peaks = (p[DTYPE] for k, p in train_benchmark.PEAK.items() if k in kind)
  peak = next(peaks, 0)
  return 100 * flops_per_s / (peak * 1e12) if peak else ''


def work(
  args: argparse.Namespace, workdir: str
) -> dict[str, Callable[[], Row]]:
  """Return what each row needs, in the order of its worth."""
  stage = lambda name, stage: lambda: trained(name, stage, args)
  peer = lambda name: lambda: beside_torch(name, args)
  stages = {f'{n} {s}': stage(n, s) for n, s in STAGES}
  peers = {f'{n} beside PyTorch': peer(n) for n in tuple(nets.NETS[:4])}
  first = {k: peers.pop(k) for k in tuple(peers)[:1]}
  last = {k: stages.pop(k) for k in tuple(stages)[2:]}
  return {
    **first,
    **stages,
    'films that are read': lambda: reading(args, workdir),
    'prediction': lambda: predicting(args, workdir),
    **peers,
    **last,
  }


def _row(name: str, call: Callable[[], Row]) -> Row:
  """Return a row; one that cannot be had says why."""
  try:
    return call()
  except Exception as error:  # the rows behind it count
    first = (str(error).splitlines() or [''])[0]
    return {'what': name, 'note': f'{type(error).__name__}: {first[:120]}'}
  finally:
    jax.clear_caches()


def _cells(row: Row) -> list[str]:
  show = lambda x: f'{x:.4g}' if isinstance(x, float) else str(x)
  return [show(row.get(name, '')) for name in COLUMNS]


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--out', default='', help='CSV that gets the rows')
  parser.add_argument('--minutes', type=float, default=7)
  parser.add_argument('--films', type=int, default=64, help='to a step')
  parser.add_argument('--size', type=int, default=300, help='beside PyTorch')
  parser.add_argument('--steps', type=int, default=10, help='of a turn')
  parser.add_argument('--turns', type=int, default=3)
  parser.add_argument('--long_side', type=int, default=2000, help='of films')
  parser.add_argument('--rows', nargs='+', help='those whose names hold a word')
  parser.add_argument('--preset', default='', help='of the configs: phantom')
  args = parser.parse_args()
  startup.keep_freed_memory()
  startup.trace_quickly()
  print(f'{pairs.machine()}; jax {jax.__version__}, {DTYPE}\n')
  print(pairs.header(list(COLUMNS)), flush=True)
  file = open(args.out, 'w', newline='') if args.out else None  # noqa: SIM115
  table = csv.writer(file) if file else None
  if table:
    table.writerow(COLUMNS)
  with tempfile.TemporaryDirectory() as folder:
    todo = work(args, str(pathlib.Path(folder, 'run')))
    if args.rows:
      kept = [n for n in todo if any(word in n for word in args.rows)]
      todo = {name: todo[name] for name in kept}

    def stop():
      print(f'\nTime is over. Not reached: {", ".join(todo)}.', flush=True)
      os._exit(0)  # compilers do not listen

    clock = threading.Timer(60 * args.minutes, stop)
    clock.daemon = True
    clock.start()
    while todo:
      name = next(iter(todo))
      cells = _cells(_row(name, todo[name]))
      print(pairs.row(cells), flush=True)
      if table:
        table.writerow(cells)
        file.flush()
      del todo[name]
    clock.cancel()


if __name__ == '__main__':
  main()
