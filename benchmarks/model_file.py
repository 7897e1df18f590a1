"""A run, its model file and its StableHLO: ages, sizes, and the first answer.

  python -m benchmarks.model_file --workdir=RUN [--films=100]

Phantoms are read by `predict` from the run and from the model file, and by
example.py from what nets read. Ages must be equal, bit for bit. The time to the
first answer is that of a new process, with an empty and with a filled cache of
compiled programs; example.py starts from prepared inputs.
"""

import argparse
import csv
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from boneage_jax.imaging import png
from boneage_jax.phantom import render

SEXES = ('F', 'M')  # half of the films each
CACHE = 'JAX_COMPILATION_CACHE_DIR'


def run(*command: str, cache: str) -> list[str]:
  """Run a command of this Python; return its lines."""
  done = subprocess.run(
    [sys.executable, *command],
    check=True,
    env={**os.environ, CACHE: cache},
    stdout=subprocess.PIPE,
    text=True,
  )
  return done.stdout.splitlines()


def first_answer(*command: str, film: str, cache: str) -> float:
  """Return the seconds from the start of a command to its answer on a film."""
  start = time.monotonic()
  with subprocess.Popen(
    [sys.executable, *command],
    env={**os.environ, CACHE: cache, 'PYTHONUNBUFFERED': '1'},
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  ) as process:
    for line in process.stdout:
      if line.startswith(film):
        seconds = time.monotonic() - start
        process.communicate()
        return seconds
  raise ValueError(f'Expected an answer on {film} of {" ".join(command)}.')


def draw(folder: pathlib.Path, films: int) -> dict[str, list[str]]:
  """Write phantoms as files; return their paths by sex."""
  folder.mkdir()
  paths = {sex: [] for sex in SEXES}
  for k in range(films):
    sex = SEXES[k % 2]
    options = {'long_side': 512, 'male': sex == 'M'}
    path = folder / f'{k}.png'
    path.write_bytes(png.encode(render.make_film(k, 1, options)['image']))
    paths[sex].append(str(path))
  return paths


def predict(source: str, paths: dict, out: pathlib.Path, cache: str) -> list:
  """Read films by sex, with what nets read of them; return ages as written."""
  ages = []
  for sex in [sex for sex in SEXES if paths[sex]]:
    folder = out / sex
    flags = (
      f'--sex={sex}',
      f'--out={folder}',
      f'--dump_inputs={folder}/inputs',
    )
    command = ('-m', 'boneage_jax.predict', source, *flags)
    run(*command, *paths[sex], cache=cache)
    with open(folder / 'predictions.csv', newline='') as file:
      ages += [row['age_predicted'] for row in csv.DictReader(file)]
  return ages


def inputs(out: pathlib.Path) -> list[str]:
  """Return what nets read of all films."""
  return sorted(str(path) for path in out.glob('*/inputs/*.npz'))


def exact(out: pathlib.Path) -> list[float]:
  """Return ages in full precision."""
  return [float(np.load(path)['age']) for path in inputs(out)]


def megabytes(*places: pathlib.Path) -> str:
  """Return the size of all files below some places."""
  files = [p for place in places for p in (place, *place.rglob('*'))]
  size = sum(path.stat().st_size for path in files if path.is_file())
  return f'{size / 1e6:.2f}'


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--films', type=int, default=100)
  parser.add_argument('--repeats', type=int, default=3)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    here = pathlib.Path(name)
    cache, model, programs = (str(here / n) for n in ('cache', 'm', 'hlo'))
    source = f'--workdir={args.workdir}'
    flags = (f'--out={model}', f'--stablehlo={programs}')
    print(
      *run('-m', 'boneage_jax.export', source, *flags, cache=cache), sep='\n'
    )
    films = draw(here / 'films', args.films)
    sources = {'run': source, 'model': f'--model={model}'}
    for kind, flag in sources.items():
      predict(flag, films, here / kind, cache)
    example = (f'{programs}/example.py', model)
    said = run(*example, *inputs(here / 'model'), cache=cache)
    ages = [exact(here / kind) for kind in sources]
    ages.append([float(line.split()[1]) for line in said])
    equal = sum(len(set(each)) == 1 for each in zip(*ages, strict=True))
    print(f'films with equal ages, bit for bit: {equal} of {len(ages[0])}\n')

    run_folder = pathlib.Path(args.workdir)
    checkpoints = list(run_folder.rglob('checkpoints'))
    sizes = {
      'run': megabytes(*checkpoints, run_folder / 'config.json'),
      'model': megabytes(pathlib.Path(model)),
      'StableHLO': megabytes(pathlib.Path(programs)),
    }
    film = next(path for paths in films.values() for path in paths)
    sex = '--sex=F'
    one = inputs(here / 'model')[0]
    commands = {
      'run': ('-m', 'boneage_jax.predict', source, film, sex),
      'model': ('-m', 'boneage_jax.predict', sources['model'], film, sex),
      'StableHLO': (*example, one),
    }
    print('| from | MB | first answer, s, no cache | with a cache |')
    print('|---|---|---|---|')
    for kind, command in commands.items():
      times, begins = [], one if kind == 'StableHLO' else film
      empty = str(here / f'empty_{kind}')
      for _ in range(1 + args.repeats):
        times.append(first_answer(*command, film=begins, cache=empty))
      warm = np.median(times[1:])
      print(f'| {kind} | {sizes[kind]} | {times[0]:.1f} | {warm:.1f} |')


if __name__ == '__main__':
  main()
