"""Cores that keep a host's accelerators in films: CPU time of each form.

  python -m benchmarks.feeding [--rate v5e_localizer=13980 ...]

Films of training go through the input pipeline as `input_pipeline` measures it:
films of px768 and px512 and crops, stored as PNG (as `prepare` stores them) or
as JPEG of quality 95 (as an archive of JPEGs that need not shrink keeps them),
augmented on the host or, films alone, on the device. The table has the CPU time
of a film, films/s of one core, and for every --rate NAME=FILMS/S the cores that
feed it. CPU time hardly depends on other work on the machine.

Reading is left out: the records are in memory. A run whose data are in a bucket
copies them once to each host's disk and reads them there.
"""

import argparse
import copy
from typing import Any

import cv2

from benchmarks import input_pipeline
from benchmarks import pairs
from boneage_jax.imaging import codec
from configs import cascade

QUALITY = 95  # of JPEG


def records(kind: str, stored: str, data: list[bytes]) -> list:
  """Return films as the pipeline finds them."""
  found = [input_pipeline.record(kind, film) for film in data]
  if stored == 'PNG':
    return found
  for one in found:
    if kind == 'crops':
      one['regions'] = [_jpeg(region) for region in one['regions']]
    else:
      one['image'] = _jpeg(one['image'])
  return found


def _jpeg(film: bytes) -> bytes:
  options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
  return cv2.imencode('.jpg', codec.decode_stored(film), options)[1].tobytes()


def milliseconds(films: list, settings: Any, args: argparse.Namespace) -> float:
  """CPU time of a film, the median over the turns."""
  read = input_pipeline.ours(films, settings, args)
  read()  # threads start
  turns = [input_pipeline.turn(read) for _ in range(args.turns)]
  return 1000 * pairs.median(turns).cpu / (args.batch * args.steps)


def rate(text: str) -> tuple[str, float]:
  """Read NAME=FILMS/S."""
  name, _, value = text.partition('=')
  return name, float(value)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--rate', type=rate, nargs='*', default=())
  parser.add_argument('--films', type=int, default=16, help='different ones')
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--steps', type=int, default=4, help='batches in a turn')
  parser.add_argument('--turns', type=int, default=5)
  parser.add_argument('--threads', type=int, default=2)
  args = parser.parse_args()
  print(f'{pairs.machine()}; batch {args.batch}, {args.threads} threads\n')
  cores = [
    f'cores for {name}, {value:.0f} films/s' for name, value in args.rate
  ]
  columns = ['films', 'stored as', 'augmented on', 'KB', 'CPU ms/film']
  print(pairs.header([*columns, 'films/s a core', *cores]))
  config = cascade.get_config()
  data = input_pipeline.films('', args.films)
  for kind in input_pipeline.KINDS[1:]:
    stage = config.assessor if kind == 'crops' else config.localizer
    for stored in ('PNG', 'JPEG'):
      films = records(kind, stored, data)
      size = sum(sum(map(len, f.get('regions') or [f['image']])) for f in films)
      for place in ('host',) if kind == 'crops' else ('host', 'device'):
        settings = copy.deepcopy(stage.input)
        if place == 'device':
          settings.device_augment = int(kind.removeprefix('px'))
        spent = milliseconds(films, settings, args)
        cells = [kind, stored, place, f'{size / len(films) / 1000:.0f}']
        cells += [f'{spent:.2f}', f'{1000 / spent:.0f}']
        cells += [f'{value * spent / 1000:.1f}' for _, value in args.rate]
        print(pairs.row(cells), flush=True)


if __name__ == '__main__':
  main()
