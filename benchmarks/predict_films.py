"""Films per second of `predict --out`, its memory, and what kills leave.

  python -m benchmarks.predict_films --run=runs/cascade_phantom --films=1000

Phantoms of 1500 x 2000 pixels go through the command, beside what decoding and
the nets take alone, in the same run and on all cores: its share of that is 1
where nothing else takes time. Another command is killed at a third and at two
thirds of the rows, and started again: its table must be the same bytes.
"""

import argparse
from collections.abc import Sequence
from concurrent import futures
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

from boneage_jax import predict
from boneage_jax.core import startup
from boneage_jax.data import groups
from boneage_jax.imaging import codec
from boneage_jax.imaging import png
from boneage_jax.inference import loading
from boneage_jax.inference import one_film
from boneage_jax.phantom import render

SIDE = 2000  # pixels of a film's height; three quarters are its width
TABLE = 'predictions.csv'


def write(
  folder: pathlib.Path, count: int, side: int = SIDE
) -> list[pathlib.Path]:
  """Write phantoms, each another hand, with the noise of a detector."""
  folder.mkdir(parents=True, exist_ok=True)
  size = (side, 3 * side // 4)

  def one(number):
    path = folder / f'{number:05d}.png'
    if path.exists():
      return path
    small = render.make_film(number, 0, {'long_side': 512})['image']
    image = cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(number).normal(0, 3, size)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    path.write_bytes(png.encode(image))
    return path

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    return list(pool.map(one, range(count)))


def alone(run: str, paths: Sequence[pathlib.Path]) -> tuple[float, float]:
  """Return seconds a film of decoding alone and of the nets alone."""
  cv2.setNumThreads(1)
  startup.set_up()
  read = lambda path: codec.read(path.read_bytes()).image
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    before = time.perf_counter()
    images = list(pool.map(read, paths))
    decoding = time.perf_counter() - before
  nets = loading.load(run, batch_size=predict.BATCH)
  made = [one_film.record(nets, image, 'M')['record'] for image in images]
  records = [
    {**one, 'sex': groups.SEX['M'], 'id': str(k), 'row': k}
    for k, one in enumerate(made)
  ]
  batches = [
    records[k : k + predict.BATCH]
    for k in range(0, len(records), predict.BATCH)
  ]
  nets.outputs(batches[0])  # compiles
  with futures.ThreadPoolExecutor(2) as pool:
    before = time.perf_counter()
    list(pool.map(nets.outputs, batches))
    taken = time.perf_counter() - before
  return decoding / len(paths), taken / len(paths)


class Command:
  """`predict --out` as a process, watched by its rows."""

  def __init__(self, run: str, films: pathlib.Path, out: pathlib.Path):
    self._table = out / TABLE
    self.started = time.perf_counter()
    self._process = subprocess.Popen(
      [
        *(sys.executable, '-m', 'boneage_jax.predict', f'--workdir={run}'),
        *(str(films), '--sex=M', f'--out={out}', '--format=jsonl'),
      ],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )

  def rows(self) -> int:
    """Count the rows that there are."""
    if not self._table.exists():
      return 0
    return self._table.read_bytes().count(b'\n') - 1

  def megabytes(self) -> float:
    """Return what the process has in memory."""
    try:
      text = pathlib.Path(f'/proc/{self._process.pid}/status').read_text()
    except OSError:
      return 0.0
    lines = [line for line in text.splitlines() if line.startswith('VmRSS')]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0

  def is_at_work(self) -> bool:
    """Whether it goes on; waits a little."""
    time.sleep(0.05)
    return self._process.poll() is None

  def kill(self) -> None:
    """End it as a full machine would."""
    self._process.kill()
    self._process.wait()


def whole(run: str, films: pathlib.Path, out: pathlib.Path, count: int) -> None:
  """Run the command once; print its speed and memory."""
  command = Command(run, films, out)
  first, memory = None, []
  while command.is_at_work():
    rows, now = command.rows(), time.perf_counter()
    if rows and first is None:
      first = rows, now
    if rows and (memory_at := command.megabytes()):
      memory.append((rows, memory_at, now))
  rows = command.rows()
  assert rows == count, f'{rows} rows of {count} films'
  seconds = memory[-1][2] - first[1]
  early = max(m for rows, m, _ in memory if rows <= count // 4 + first[0])
  print(
    f'predict --out: {(count - first[0]) / max(seconds, 1e-9):.2f} films/s '
    f'after the first rows, which came after '
    f'{first[1] - command.started:.1f} s; '
    f'memory {early:.0f} MB in the first quarter, '
    f'{max(m for _, m, _ in memory):.0f} MB at most'
  )


def killed(
  run: str, films: pathlib.Path, out: pathlib.Path, count: int
) -> None:
  """Kill the command at a third and two thirds of its rows; let it finish."""
  for part in (1 / 3, 2 / 3, 1):
    command = Command(run, films, out)
    while command.is_at_work():
      if part < 1 and command.rows() >= part * count:
        command.kill()
    print(f'rows after {part:.0%}: {command.rows()}', flush=True)


def main() -> None:
  """Print the figures."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--run', required=True, help='folder of a run')
  parser.add_argument('--films', type=int, default=1000)
  parser.add_argument('--sample', type=int, default=64, help='of parts alone')
  parser.add_argument('--folder', help='keeps films for another time')
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    films = pathlib.Path(args.folder) if args.folder else work / 'films'
    paths = write(films, args.films)
    decoding, nets = alone(args.run, paths[: args.sample])
    print(
      f'alone: decoding {1e3 * decoding:.0f} ms and nets {1e3 * nets:.0f} ms a '
      f'film, {1 / (decoding + nets):.2f} films/s',
      flush=True,
    )
    whole(args.run, films, work / 'whole', args.films)
    killed(args.run, films, work / 'killed', args.films)
    tables = [
      (work / name / TABLE).read_bytes() for name in ('whole', 'killed')
    ]
    print('same bytes' if tables[0] == tables[1] else 'OTHER BYTES')


if __name__ == '__main__':
  main()
