"""From a film's file to its age, as a user meets it, by step and by film size.

  python -m benchmarks.file_to_answer --run=runs/cascade_phantom

Three tables. The whole command on one film: what Python's imports, loading the
nets and the first answer take, with an empty and with a filled cache of
compiled programs. Then films of four sizes, one after the other on a warm
process, by step; and through `predict --out` in batches. Then `prepare` and
`locate` on films of original size, with the hours that the archive of the RSNA
challenge (12,611 films) would take.
"""

import argparse
from collections.abc import Callable
import itertools
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import cv2

from benchmarks import model_file
from benchmarks import pairs
from benchmarks import predict_films
from boneage_jax.core import startup
from boneage_jax.imaging import codec
from boneage_jax.inference import loading
from boneage_jax.inference import one_film
from boneage_jax.workflow import run as workflow_run
from configs import cascade

SIDES = (512, 1000, 2000, 3000)  # pixels of height
ARCHIVE = 12611  # films
IMPORTS = 'import boneage_jax.predict, boneage_jax.inference.loading'
LOADS = 'from boneage_jax.core import startup; startup.set_up(); '
LOADS += 'from boneage_jax.inference import loading; loading.load({!r})'


def cold(run: str, film: pathlib.Path) -> None:
  """Print the seconds of the whole command on one film."""
  command = ('-m', 'boneage_jax.predict', f'--workdir={run}', str(film))
  command += ('--sex=M',)
  print(pairs.header(['from the command on', 'empty cache, s', 'filled cache']))
  with tempfile.TemporaryDirectory() as cache:
    answer = lambda: model_file.first_answer(
      *command, film=str(film), cache=cache
    )
    empty = answer()
    rows = {
      'imports': lambda: _seconds('-c', IMPORTS, cache=cache),
      'nets loaded': lambda: _seconds('-c', LOADS.format(run), cache=cache),
      'first answer': answer,
    }
    for name, call in rows.items():
      filled = statistics.median(call() for _ in range(3))
      first = f'{empty:.1f}' if call is answer else ''
      print(pairs.row([name, first, f'{filled:.1f}']), flush=True)


def _seconds(*command: str, cache: str) -> float:
  began = time.perf_counter()
  model_file.run(*command, cache=cache)
  return time.perf_counter() - began


def steps(run: str, folder: pathlib.Path, repeats: int) -> None:
  """Print what each step of a warm film takes, by the size of the film."""
  cv2.setNumThreads(1)
  startup.set_up()
  nets = loading.load(run)
  columns = ['film', 'decode ms', 'shrink', 'find regions', 'age', 'in all']
  print('\n' + pairs.header([*columns, 'films/s']))
  for side in SIDES:
    paths = predict_films.write(folder / str(side), repeats + 1, side)
    times = [_film(nets, path, k) for k, path in enumerate(paths)][1:]
    middle = [
      1e3 * statistics.median(step) for step in zip(*times, strict=True)
    ]
    cells = [*(f'{ms:.1f}' for ms in middle), f'{sum(middle):.1f}']
    size = f'{3 * side // 4} x {side}'
    print(pairs.row([size, *cells, f'{1e3 / sum(middle):.1f}']), flush=True)


def _film(nets: Any, path: pathlib.Path, row: int) -> list[float]:
  """Return the seconds of each step of a film."""
  clock = [time.perf_counter()]

  def step(work: Callable[[], Any]) -> Any:
    found = work()
    clock.append(time.perf_counter())
    return found

  image = step(lambda: codec.read(path.read_bytes()).image)
  made = step(lambda: one_film.record(nets, image, 'M')['record'])
  record = {**made, 'sex': 1.0, 'id': str(row), 'row': row}
  _, read = step(lambda: nets.look([record], {}))
  step(lambda: nets.net(read))
  return [b - a for a, b in itertools.pairwise(clock)]


def batches(run: str, folder: pathlib.Path, films: int) -> None:
  """Print films per second of `predict --out`, by the size of the film."""
  for side in SIDES:
    place = folder / f'many_{side}'
    predict_films.write(place, films, side)
    print(f'\n{films} films of {3 * side // 4} x {side}:', end=' ', flush=True)
    predict_films.whole(run, place, folder / f'out_{side}', films)


def archive(films: int, side: int) -> None:
  """Print what `prepare` and `locate` take on films of original size.

  The net is that of configs/cascade.py, of random weights.
  """
  print('\n' + pairs.header(['stage', 'films/s', 'hours of the archive']))
  times: dict[str, list[float]] = {}
  for count in (films, 3 * films):  # the difference has no compilation
    config = cascade.get_config()
    config.phantom.update(films=count, long_side=side)
    config.data.update(validation_fraction=0.1, test_fraction=0.1)
    config.localizer.update(steps=1, eval_steps=1, batch_size=8)
    with tempfile.TemporaryDirectory() as workdir:
      draw = [sys.executable, '-m', 'boneage_jax.phantom', f'--films={count}']
      draw += [f'--out={workdir}/phantoms', f'--long_side={side}']
      subprocess.run(draw, check=True, stdout=subprocess.DEVNULL)
      for stage in ('prepare', 'localizer', 'regions'):
        config.stages = (stage,)
        began = time.perf_counter()
        workflow_run.run(config, workdir)
        times.setdefault(stage, []).append(time.perf_counter() - began)
  for stage in ('prepare', 'regions'):
    few, many = times[stage]
    speed = 2 * films / (many - few)
    hours = ARCHIVE / speed / 3600
    print(pairs.row([stage, f'{speed:.2f}', f'{hours:.2f}']), flush=True)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--run', required=True, help='folder of a cascade')
  parser.add_argument('--repeats', type=int, default=9, help='films by step')
  parser.add_argument('--films', type=int, default=128, help='in batches')
  parser.add_argument('--archive', type=int, default=64, help='films prepared')
  args = parser.parse_args()
  print(f'{pairs.machine()}, {os.cpu_count()} threads of decoding\n')
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    cold(args.run, predict_films.write(folder / 'one', 1)[0])
    steps(args.run, folder, args.repeats)
    batches(args.run, folder, args.films)
  archive(args.archive, predict_films.SIDE)


if __name__ == '__main__':
  main()
