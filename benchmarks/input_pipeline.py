"""Films per second of the input pipeline, ours beside PyTorch's loader.

  python -m benchmarks.input_pipeline [--archive=DIR] [--kinds original px768]

The same records, in memory, go in turn through ours and a peer: decode, warp,
tone, batch, by the settings of configs/cascade.py. The peers are PyTorch's
DataLoader on the same OpenCV calls, and on Pillow with torchvision's
transforms, with each number of workers; the best of them is compared. Ours runs
a second time with the warp left to the device (input.device_augment). Ratios
are ours / it, the median over the turns, above 1 where ours is faster. CPU is
the time of all threads and workers together, as Linux counts it.

Films are phantoms of 2000 px, or those of an archive folder.
"""

import argparse
from collections.abc import Callable
import copy
import importlib
import multiprocessing
import os
import statistics
import time
from typing import Any
import zipfile

import cv2

from benchmarks import pairs
from boneage_jax.data import input_pipeline
from boneage_jax.imaging import codec
from boneage_jax.imaging import geometry
from boneage_jax.imaging import png
from boneage_jax.phantom import render
from boneage_jax.regions import localize
from configs import cascade
from tfds_rsna import films as films_lib

KINDS = ('original', 'px768', 'px512', 'crops')
PEERS = ('OpenCV', 'PIL, torchvision')
DATA_SET = 12611  # films of the challenge
CORNERS = ((0.25, 0.55, 0.75, 0.95), (0.15, 0.1, 0.85, 0.6))  # of some crops


def films(archive: str, count: int) -> list[bytes]:
  """Read the first films of an archive, or make phantoms."""
  if archive:
    names = [n for n in os.listdir(archive) if n.endswith('.zip')]
    with zipfile.ZipFile(os.path.join(archive, sorted(names)[0])) as file:
      inside = [n for n in file.namelist() if n.endswith(('.png', '.jpg'))]
      return [file.read(name) for name in inside[:count]]
  made = (render.make_film(index, 0)['image'] for index in range(count))
  return [cv2.imencode('.png', image)[1].tobytes() for image in made]


def record(kind: str, film: bytes) -> dict[str, Any]:
  """Store a film as the builder, or the `regions` stage, would."""
  name, data = 'image', film
  if kind == 'crops':
    name = 'regions'
    image = codec.decode_stored(film)
    crop_hw = localize.crop_hw(cascade.get_config().regions)
    data = []
    for box in CORNERS:
      matrix = geometry.fit_matrix(image.shape, crop_hw, box=box)
      data.append(png.encode(geometry.warp(image, matrix, crop_hw)))
  elif kind != 'original':
    data = films_lib.encode(film, int(kind.removeprefix('px')))[0]
  return {name: data, 'id': '1', 'row': 1, 'sex': 1.0, 'age': 100.0}


def ours(
  records: list[dict[str, Any]], settings: Any, args: argparse.Namespace
) -> Callable[[], None]:
  """Return what reads as many batches as a turn has."""
  many = records * (DATA_SET // len(records))  # a few would shuffle slowly
  dataset = input_pipeline.train_dataset(many, settings, args.batch, seed=0)
  dataset = dataset[: args.steps]

  def read() -> None:
    for _ in input_pipeline.iterate(dataset, threads=args.threads):
      pass

  return read


def peers(
  records: list[dict[str, Any]], settings: Any, args: argparse.Namespace
) -> dict[str, Callable[[], None]]:
  """Return the same of each peer and number of workers; {} where missing."""
  try:
    module = importlib.import_module('benchmarks.loaders_torch')
  except (ImportError, OSError, RuntimeError) as error:
    print(f'PyTorch is missing: {str(error).splitlines()[0]}\n')
    return {}
  return {
    f'{kind}, {workers} workers': module.loader(
      kind, records, settings.to_dict(), args.batch, args.steps, workers
    )
    for kind in PEERS
    for workers in args.workers
  }


def turn(work: Callable[[], None]) -> pairs.Time:
  """Time one turn, worker processes included."""
  wall, cpu = time.perf_counter(), _cpu()
  work()
  return pairs.Time(time.perf_counter() - wall, _cpu() - cpu)


def _cpu() -> float:
  """Seconds of this process and its children that live."""
  total = time.process_time()
  for child in multiprocessing.active_children():
    with open(f'/proc/{child.pid}/stat') as file:
      ticks = file.read().rpartition(')')[2].split()[11:13]
    total += sum(map(int, ticks)) / os.sysconf('SC_CLK_TCK')
  return total


def compare(kind: str, data: list[bytes], args: argparse.Namespace) -> None:
  """Print the rows of one kind of stored film."""
  config = cascade.get_config()
  stage = config.assessor if kind == 'crops' else config.localizer
  records = [record(kind, film) for film in data]
  works = {'ours': ours(records, stage.input, args)}
  if kind.startswith('px'):
    left = copy.deepcopy(stage.input)
    left.device_augment = int(kind.removeprefix('px'))
    works['ours, warp left to the device'] = ours(records, left, args)
  works |= peers(records, stage.input, args)
  for work in works.values():
    work()  # workers start
  turns = [{k: turn(w) for k, w in works.items()} for _ in range(args.turns)]
  count = args.batch * args.steps
  size = statistics.median(
    sum(map(len, r.get('regions') or [r['image']])) / 1000 for r in records
  )
  for name in works:
    middle = pairs.median([times[name] for times in turns])
    ratios = [
      pairs.Time(t[name].wall / t['ours'].wall, t[name].cpu / t['ours'].cpu)
      for t in turns
    ]
    ratio = pairs.median(ratios)
    cells = [
      f'{kind}, {size:.0f} KB',
      name,
      f'{count / middle.wall:.1f}',
      f'{1000 * middle.cpu / count:.2f}',
      f'{ratio.wall:.2f}',
      f'{ratio.cpu:.2f}',
    ]
    print(pairs.row(cells), flush=True)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--archive', default='', help='folder of a real archive')
  parser.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS)
  parser.add_argument('--films', type=int, default=16, help='different ones')
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--steps', type=int, default=4, help='batches in a turn')
  parser.add_argument('--turns', type=int, default=5)
  parser.add_argument('--threads', type=int, default=2, help='of ours')
  parser.add_argument('--workers', type=int, nargs='*', default=(0, 1, 2))
  args = parser.parse_args()
  print(f'{pairs.machine()}; batch {args.batch}, {args.threads} threads\n')
  columns = ['films', 'loader', 'films/s', 'CPU ms/film']
  columns += ['ours / it, films/s', 'its CPU / ours']
  print(pairs.header(columns))
  data = films(args.archive, args.films)
  for kind in args.kinds:
    compare(kind, data, args)


if __name__ == '__main__':
  main()
