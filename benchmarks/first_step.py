"""Time from the command to the end of the first training step.

  python -m benchmarks.first_step [--config=configs/cascade.py:phantom]

Data are prepared beforehand. Then the command runs with an empty compilation
cache, and again with the one it left, in folders of their own, and is stopped
as soon as it has written the loss of its first step. CPU is the time of all
its threads, as Linux counts it.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from benchmarks import pairs

TICKS = os.sysconf('SC_CLK_TCK')
ROOT = pathlib.Path(__file__).parent.parent


def command(config: str, workdir: pathlib.Path, *more: str) -> list[str]:
  """Return the command of a run."""
  module = [sys.executable, '-m', 'boneage_jax.main']
  return [*module, f'--config={config}', f'--workdir={workdir}', *more]


def first_step(
  arguments: list[str], stage_folder: pathlib.Path, cache: pathlib.Path
) -> pairs.Time:
  """Run until the first row of metrics is there.

  Raises:
    RuntimeError: the command ended without.
  """
  environment = os.environ | {'JAX_COMPILATION_CACHE_DIR': str(cache)}
  began = time.perf_counter()
  process = subprocess.Popen(
    arguments,
    cwd=ROOT,
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  metrics = stage_folder / 'metrics.jsonl'
  try:
    while not (metrics.exists() and metrics.stat().st_size):
      if process.poll() is not None:
        raise RuntimeError(f'{" ".join(arguments)} ended before its first step')
      time.sleep(0.02)
    stat = pathlib.Path(f'/proc/{process.pid}/stat').read_text()
    ticks = stat.rpartition(')')[2].split()[11:13]
    wall = time.perf_counter() - began
  finally:
    process.kill()
    process.wait()
  return pairs.Time(wall, sum(map(int, ticks)) / TICKS)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--config', default='configs/cascade.py:phantom')
  parser.add_argument('--stage', default='localizer', help='reads whole films')
  parser.add_argument('--films', type=int, default=160, help='phantoms')
  parser.add_argument('--turns', type=int, default=3)
  args = parser.parse_args()
  print(pairs.machine(), '\n')
  films = f'--config.phantom.films={args.films}'
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    prepared = root / 'prepared'
    only = '--config.stages=("prepare",)'
    subprocess.run(command(args.config, prepared, films, only), check=True)
    times = {'cold': [], 'warm': []}
    for turn in range(args.turns):
      cache = root / f'cache{turn}'
      for kind, taken in times.items():
        workdir = root / f'{kind}{turn}'
        shutil.copytree(prepared / 'prepare', workdir / 'prepare')
        arguments = command(
          args.config,
          workdir,
          films,
          f'--config.stages=("prepare","{args.stage}")',
          f'--config.{args.stage}.log_steps=1',
        )
        taken.append(first_step(arguments, workdir / args.stage, cache))
  print(
    pairs.header(['compilation cache', 'seconds', 'CPU seconds', 'fastest'])
  )
  for kind, taken in times.items():
    wall, cpu = pairs.median(taken)
    least = min(taken).wall
    cells = [kind, f'{wall:.1f}', f'{cpu:.1f}', f'{least:.1f}']
    print(pairs.row(cells))


if __name__ == '__main__':
  main()
