"""How long a run will take: `main --dry_run_steps=5`.

A few films are prepared in a folder that is removed again, and every stage runs
on them. A net takes a few steps after those that compile; what is done film by
film is timed with few and with more films, as what is done once would count
for each film otherwise.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from typing import Any

import jax
import numpy as np

from boneage_jax.core import stages
from boneage_jax.data import film_table
from boneage_jax.data import prepare
from boneage_jax.data import selection
from boneage_jax.evaluation import text_table
from boneage_jax.training import forward
from boneage_jax.training import setup
from boneage_jax.workflow import few_films
from boneage_jax.workflow import folds
from boneage_jax.workflow import jobs
from boneage_jax.workflow import plan

FEW, MORE = 16, 64  # films
WARM = 3  # steps before those that are timed: the first compiles, and batches
# that were read while it did are used up
BY_FILM = ('locate', 'features')  # jobs that do the same with each film
HEAD = ('stage', 'minutes', 'once, s', 'ms a step', 'films/s')


@dataclasses.dataclass(frozen=True)
class Times:
  """What a stage takes, seconds.

  Attributes:
    once: whatever the number of films and steps is: starting and compiling.
    step: of one update; 0 without any.
    film: of a film that is predicted, located or prepared.
    batch: films of an update.
  """

  once: float
  step: float
  film: float
  batch: int = 0


def show(config: Any, workdir: str, steps: int) -> None:
  """Time a few steps of every stage; print what the whole run will take.

  Args:
    config: of the run, checked.
    workdir: of the run; nothing is written there.
    steps: of each net that are timed.

  Raises:
    ValueError: there are no films, or fewer than one step.
  """
  if steps < 1:
    raise ValueError(f'Expected --dry_run_steps of 1 or more, got {steps}.')
  prepare.check_source(config)
  films, _ = plan.known_films(config, workdir)
  one = folds.fold_configs(config)[0]
  films['split'], _ = selection.assign(one, films)
  rows, total = [], 0.0
  for name, times in measure(config, steps).items():
    stage = stages.Stage(config, name, workdir)
    if stage.done:
      continue
    seconds = whole(stage, films, times)
    if stage.section.job != 'prepare':
      seconds *= len(folds.fold_configs(config))
    total += seconds
    rows.append(cells(name, seconds, times))
  print(text_table.layout(HEAD, [*rows, ['in all', f'{total / 60:.1f}']]))
  left = [n for n in config.stages if n not in {row[0] for row in rows}]
  if left:
    print(f'Not timed: {", ".join(left)}.')


def cells(name: str, seconds: float, times: Times) -> list[str]:
  """Lay out a stage's row."""
  rate = times.batch / times.step if times.step else 0.0
  if not rate and times.film:
    rate = 1 / times.film
  return [
    *(name, f'{seconds / 60:.1f}', f'{times.once:.0f}'),
    f'{1000 * times.step:.0f}' if times.step else '',
    f'{rate:.1f}' if rate else '',
  ]


def whole(stage: stages.Stage, films: film_table.Films, times: Times) -> float:
  """Return the seconds that a stage takes with all films and steps."""
  count = lambda *names: int(np.sum(np.isin(films['split'], names)))
  if stage.section.job != 'train':
    return times.once + times.film * len(films['id'])
  section = stage.section
  trained = plan.training_count(stage, films)
  steps = plan.training_steps(section, trained)
  every = section.eval_steps or max(trained // section.batch_size, 1)
  looks = -(-steps // every) if steps else 1
  predicted = count('validation', 'test') * len(forward.views(section))
  return (
    times.once
    + times.step * steps
    + times.film * (looks * count('validation') + predicted)
  )


def measure(config: Any, steps: int) -> dict[str, Times]:
  """Run the stages of a config on a few films; return what each takes."""
  batches = [config[n].get('batch_size', 0) for n in config.stages]
  more = max(MORE, 2 * max(batches))
  found: dict[str, Times] = {}
  with tempfile.TemporaryDirectory() as folder:
    folders = [os.path.join(folder, name) for name in ('few', 'more')]
    seconds, configs = [], []
    for count, place in zip((FEW, more), folders, strict=True):
      os.makedirs(place)
      make = lambda place=place, count=count: few_films.prepare(
        config, place, count
      )
      with quiet():
        took, made = timed(make)
      seconds.append(took)
      configs.append(made)
    if stages.PREPARE in config.stages:
      found[stages.PREPARE] = line((FEW, more), seconds)
    for name in config.stages:
      job = config[name].job
      if job == 'train':
        found[name] = train(configs[1], name, folders[1], steps)
      elif job in BY_FILM:
        found[name] = by_film(configs, name, folders, (FEW, more))
      elif job not in ('prepare', *jobs.REDONE):
        break  # stages behind it may read what it writes
  return found


def train(config: Any, stage: str, workdir: str, steps: int) -> Times:
  """Time a few steps of a stage and the prediction of its films."""
  began = time.monotonic()
  with quiet():
    run = setup.create(config, stage, workdir)
    made = time.monotonic() - began
    step = 0.0
    first = run.validate(run.total_steps).seconds
    if run.total_steps:
      with contextlib.closing(run.batches()) as batches:
        go = lambda count: _update(run, batches, count)
        compiled, _ = timed(lambda: go(WARM))
        took, _ = timed(lambda: go(steps))
        step = took / steps
        made += max(compiled - WARM * step, 0)
    again = run.validate(run.total_steps).seconds
    run.finish(run.total_steps)
  count = len(run.validation.films['id'])
  size = run.section.eval_batch_size
  film = again / (-(-count // size) * size)
  once = made + max(first - again, 0)
  return Times(once, step, film, run.section.batch_size)


def _update(run: setup.Setup, batches: Any, count: int) -> None:
  """Do some updates as the loop does, and wait for the last."""
  scalars = None
  for _ in range(count):
    run.state, scalars = run.update(run.state, run.place(next(batches)))
  jax.block_until_ready(scalars)


def by_film(
  configs: list[Any], stage: str, folders: list[str], counts: tuple[int, int]
) -> Times:
  """Time a job with few films and with more; the first time compiles."""
  job = jobs.JOBS[configs[0][stage].job]
  few, more = folders
  for read in stages.Stage(configs[0], stage, few).all_inputs():
    there = stages.path(more, read.name)
    if not os.path.exists(stages.path(few, read.name)):
      shutil.copytree(there, stages.path(few, read.name))
  seconds = []
  with quiet():
    for config, place in zip(
      [configs[0], *configs], [few, *folders], strict=True
    ):
      os.makedirs(stages.path(place, stage), exist_ok=True)
      done = stages.path(place, stage, stages.DONE)
      if os.path.exists(done):
        os.remove(done)
      run = lambda config=config, place=place: job(config, stage, place)
      seconds.append(timed(run)[0])
  compiling, *again = seconds
  fit = line(counts, again)
  return dataclasses.replace(fit, once=fit.once + max(compiling - again[0], 0))


def line(counts: tuple[int, int], seconds: list[float]) -> Times:
  """Return what is done once and for each film, of two numbers of films."""
  film = max((seconds[1] - seconds[0]) / (counts[1] - counts[0]), 0)
  return Times(max(seconds[0] - counts[0] * film, 0), 0.0, film)


def timed(job: Callable[[], Any]) -> tuple[float, Any]:
  """Return the seconds that a job takes, and what it returns."""
  began = time.monotonic()
  result = job()
  return time.monotonic() - began, result


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Keep what stages print of a few films from the terminal."""
  with (
    open(os.devnull, 'w', encoding='utf-8') as nowhere,
    contextlib.redirect_stdout(nowhere),
    contextlib.redirect_stderr(nowhere),
  ):
    yield
