"""Two programs timed in turn, so that a busy machine slows both alike."""

import argparse
from collections.abc import Callable
import os
import statistics
import time
from typing import NamedTuple

import jax

from boneage_jax.core import startup

Work = Callable[[], None]


class Time(NamedTuple):
  """Seconds of one call: on the clock, and of all cores together."""

  wall: float
  cpu: float


def once(work: Work, calls: int = 1) -> Time:
  """Time one call, as the mean of `calls` in a row."""
  wall, cpu = time.perf_counter(), time.process_time()
  for _ in range(calls):
    work()
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  return Time(wall / calls, cpu / calls)


def median(times: list[Time]) -> Time:
  """Medians of both columns, each by itself."""
  return Time(*map(statistics.median, zip(*times, strict=True)))


COLUMNS = (
  'peer',
  'ours ms',
  'peer ms',
  'ratio',
  'ours CPU ms',
  'peer CPU ms',
  'CPU ratio',
  'first call s: ours',
  'peer',
)


def compare(
  ours: Work, peer: Work | str, name: str, repeats: int, calls: int
) -> tuple[Time, list[str]]:
  """Time ours, peer, ours, peer ...; return our time and cells of COLUMNS.

  Ratios are ours / peer, the median over the turns. `peer` is a string where
  there is none: then ours is timed alone and the cells say why.
  """
  first = f'{once(ours).wall:.1f}'
  if isinstance(peer, str):
    mine = median([once(ours, calls) for _ in range(repeats)])
    cells = [_ms(mine.wall), '', '', _ms(mine.cpu), '', '', first, '']
    return mine, [f'{name}: {peer}', *cells]
  first_peer = f'{once(peer).wall:.1f}'
  turns = [(once(ours, calls), once(peer, calls)) for _ in range(repeats)]
  ratio = median([Time(a.wall / b.wall, a.cpu / b.cpu) for a, b in turns])
  mine, other = (median(list(times)) for times in zip(*turns, strict=True))
  return mine, [
    name,
    _ms(mine.wall),
    _ms(other.wall),
    f'{ratio.wall:.2f}',
    _ms(mine.cpu),
    _ms(other.cpu),
    f'{ratio.cpu:.2f}',
    first,
    first_peer,
  ]


def row(cells: list[str]) -> str:
  """Return one line of a Markdown table."""
  return f'| {" | ".join(cells)} |'


def header(cells: list[str]) -> str:
  """Return the first two lines of a Markdown table."""
  return f'{row(cells)}\n{row(["---"] * len(cells))}'


def machine() -> str:
  """Return what the figures depend on: devices, cores, load."""
  device = jax.devices()[0].device_kind
  cores = len(os.sched_getaffinity(0))
  load = os.getloadavg()[0]
  return f'{device}, {cores} cores, load {load:.1f} at the start'


def parser(doc: str, nets: tuple[str, ...]) -> argparse.ArgumentParser:
  """Return the arguments that the benchmarks of nets share."""
  startup.keep_freed_memory()  # as the commands do; peers gain by it as well
  result = argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  result.add_argument('--nets', nargs='+', choices=nets, default=nets[:4])
  result.add_argument('--size', type=int, default=300, help='pixels')
  result.add_argument('--repeats', type=int, default=5, help='turns')
  result.add_argument('--calls', type=int, default=1, help='calls in a turn')
  result.add_argument(
    '--dtype',
    nargs='+',
    choices=('float32', 'bfloat16'),
    default=('float32',),
  )
  result.add_argument(
    '--peers',
    nargs='+',
    choices=('torch', 'keras', 'none'),
    default=('torch', 'keras'),
  )
  return result


def _ms(seconds: float) -> str:
  return f'{1000 * seconds:.0f}' if seconds > 0.1 else f'{1000 * seconds:.1f}'
