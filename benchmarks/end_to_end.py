"""Films per second of real training stages, and how long they wait for films.

  python -m benchmarks.end_to_end [--config=configs/cascade.py] [--batch=8]

The command's own stages run on phantoms, data and all. A step waits from the
end of the one before until it is called: the device has nothing to do, be it
for want of films or for anything else. The compilation and the evaluation at
the end do not count. On a CPU, films and steps share the cores, so that films
cost time where no step waits: benchmarks.input_pipeline has the CPU time.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import importlib
import pathlib
import tempfile
import time
from typing import Any
from unittest import mock

import jax

from benchmarks import pairs
from boneage_jax.training import step as train_step
from boneage_jax.workflow import run as workflow_run


class Watch:
  """Notes when each step is called and when the device has done it."""

  def __init__(self):
    self.called: list[float] = []
    self._ends: list[futures.Future] = []
    self._pool = futures.ThreadPoolExecutor(1)
    self._make = train_step.make_train_step

  def make_train_step(self, *args: Any, **kwargs: Any) -> Callable:
    """Make the step that the loop asks for, watched."""
    update = self._make(*args, **kwargs)

    def step(state, batch):
      self.called.append(time.perf_counter())
      state, scalars = update(state, batch)
      self._ends.append(self._pool.submit(_when_done, scalars))
      return state, scalars

    return step

  def result(self, batch: int) -> tuple[float, float]:
    """Films per second from the end of the first step on; share waited."""
    ends = [end.result() for end in self._ends]
    waits = [c - e for c, e in zip(self.called[1:], ends[:-1], strict=True)]
    seconds = ends[-1] - ends[0]
    waited = sum(wait for wait in waits if wait > 0)
    return batch * len(waits) / seconds, waited / seconds


def _when_done(scalars: dict[str, jax.Array]) -> float:
  jax.block_until_ready(scalars)
  return time.perf_counter()


def configure(args: argparse.Namespace) -> Any:
  """Return the config with phantoms of a size, and short train stages."""
  path, _, variant = args.config.partition(':')
  name = path.removesuffix('.py').replace('/', '.')
  config = importlib.import_module(name).get_config(variant)
  config.phantom.update(films=args.films, long_side=args.long_side)
  config.data.update(validation_fraction=0.1, test_fraction=0.1)
  for stage in args.stages:
    config[stage].update(batch_size=args.batch, steps=args.steps)
    config[stage].update(eval_batch_size=args.batch, eval_steps=args.steps)
  return config


def speeds(
  config: Any, stages: Sequence[str], workdir: str
) -> Iterator[tuple[str, float, float]]:
  """Run a config up to the last of `stages`.

  Yields:
    Of each of them its name, films per second and the share that is waited.
  """
  last = max(map(config.stages.index, stages))
  for name in config.stages[: last + 1]:
    config.stages = (name,)
    watch = Watch()
    with mock.patch.object(
      train_step, 'make_train_step', watch.make_train_step
    ):
      workflow_run.run(config, workdir)
    if name in stages:
      yield name, *watch.result(config[name].batch_size)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--config', default='configs/cascade.py')
  parser.add_argument('--stages', nargs='+', default=('localizer', 'assessor'))
  parser.add_argument('--films', type=int, default=64, help='phantoms')
  parser.add_argument('--long_side', type=int, default=2000, help='of a film')
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--steps', type=int, default=24)
  args = parser.parse_args()
  print(pairs.machine())
  config = configure(args)
  with tempfile.TemporaryDirectory() as folder:
    workdir = str(pathlib.Path(folder, 'run'))
    rows = [
      [name, f'{speed:.2f}', f'{100 * waited:.1f} %']
      for name, speed, waited in speeds(config, args.stages, workdir)
    ]
  print(f'\n{args.config}, {args.films} phantoms of {args.long_side} px\n')
  print(pairs.header(['stage', 'films/s', 'waiting']))
  print('\n'.join(map(pairs.row, rows)))


if __name__ == '__main__':
  main()
