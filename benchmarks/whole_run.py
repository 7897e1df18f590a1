"""Seconds of a whole run by its steps, and what it compiles.

  python -m benchmarks.whole_run [--config=configs/cascade.py:phantom]

The stages run one after the other, as the command of the README runs them, with
an empty cache of compiled programs. Compiling is that of XLA, without tracing;
it is part of the seconds. A program that is compiled again for the same shapes
is named. At the end one film is predicted, and another of the same size.
"""

import argparse
import importlib
import os
import pathlib
import tempfile
import time
from unittest import mock

import jax

from benchmarks import compilations
from benchmarks import pairs
from boneage_jax import phantom
from boneage_jax.core import startup
from boneage_jax.inference import loading
from boneage_jax.phantom import render
from boneage_jax.workflow import run as workflow_run

COLUMNS = ('step', 'seconds', 'compiling', 'programs', 'compiled again')


class Steps:
  """Prints a row for each step, and the sum."""

  def __init__(self):
    self._rows: list[tuple[float, float, int]] = []
    self._drawn = 0.0
    self._draw = phantom.write_archive

  def draw(self, *args, **kwargs) -> None:
    """Draw phantoms, as a step of its own."""
    began = time.perf_counter()
    self._draw(*args, **kwargs)
    self._drawn = time.perf_counter() - began
    self._print('draw phantoms', self._drawn, 0.0, 0, [])

  def take(self, name: str, work) -> None:
    """Time a step."""
    self._drawn, began = 0.0, time.perf_counter()
    with compilations.counted() as found:
      work()
    seconds = time.perf_counter() - began - self._drawn
    count = found.programs.total()
    self._print(name, seconds, found.seconds, count, found.twice())

  def total(self) -> None:
    """Print the sum of all rows."""
    seconds, compiling, programs = map(sum, zip(*self._rows, strict=True))
    self._print('in all', seconds, compiling, programs, [])

  def _print(self, name, seconds, compiling, programs, twice) -> None:
    self._rows.append((seconds, compiling, programs))
    again = ', '.join(sorted(set(twice)))
    cells = [name, f'{seconds:.1f}', f'{compiling:.1f}', str(programs), again]
    print(pairs.row(cells), flush=True)


def predict(workdir: str, films: int) -> None:
  """Predict phantoms, one after the other."""
  model = loading.load(workdir)
  for index in range(films):
    image = render.make_film(index, 0, {'long_side': 512})['image']
    model.predict(image, 'M')


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--config', default='configs/cascade.py:phantom')
  parser.add_argument('--films', type=int, default=0, help='0: as the config')
  parser.add_argument('--steps', type=int, default=0, help='0: as the config')
  args = parser.parse_args()
  path, _, variant = args.config.partition(':')
  name = path.removesuffix('.py').replace('/', '.')
  config = importlib.import_module(name).get_config(variant)
  config.phantom.films = args.films or config.phantom.films
  chosen = config.stages
  for stage in chosen if args.steps else ():
    if config[stage].job == 'train':
      config[stage].update(steps=args.steps, eval_steps=args.steps)
  print(pairs.machine(), '\n')
  steps = Steps()
  with tempfile.TemporaryDirectory() as folder:
    os.environ['JAX_COMPILATION_CACHE_DIR'] = str(pathlib.Path(folder, 'cache'))
    startup.set_up()
    workdir = str(pathlib.Path(folder, 'run'))
    print(pairs.header(list(COLUMNS)), flush=True)
    with mock.patch.object(phantom, 'write_archive', steps.draw):
      for stage in chosen:
        config.stages = (stage,)
        steps.take(stage, lambda: workflow_run.run(config, workdir))
    steps.total()
    jax.clear_caches()
    steps.take('predict a film', lambda: predict(workdir, 1))
    steps.take('load again, predict two', lambda: predict(workdir, 2))


if __name__ == '__main__':
  main()
