"""What a training says while it runs: a bar, lines, metrics.jsonl, speed."""

import collections
from collections.abc import Iterator
from concurrent import futures
import math
import time
from typing import Any
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from boneage_jax.core import distributed
from boneage_jax.runs import metric_writer


class DispatchClock:
  """Measures how long the device waits for data, and keeps it close.

  The loop runs ahead of the device by two steps at most, or SIGTERM would have
  to wait for many.
  """

  def __init__(self):
    """Start with an idle device."""
    self.waited = 0.0
    self._watch = futures.ThreadPoolExecutor(1)
    self._ends = collections.deque(
      [self._watch.submit(time.monotonic)] * 2, maxlen=2
    )

  def next(self, batches: Iterator[Any]) -> Any:
    """Take the next batch, and wait for the step before the last."""
    before = time.monotonic()
    batch = next(batches)
    if self._ends[-1].done():  # else the device, behind the loop, is at work
      self.waited += time.monotonic() - max(before, self._ends[-1].result())
    self._ends[0].result()
    return batch

  def dispatched(self, outputs: Any) -> None:
    """Note the outputs of the step that the device was given."""
    self._ends.append(self._watch.submit(_when_ready, outputs))

  def close(self) -> None:
    """End the watching thread."""
    self._watch.shutdown()


def _when_ready(outputs: Any) -> float:
  jax.block_until_ready(outputs)
  return time.monotonic()


class Validation(NamedTuple):
  """One look at the validation films.

  Attributes:
    name: of the task's metric.
    error: its value.
    text: the value, and what of the run is kept, in words.
    seconds: that it took.
  """

  name: str
  error: float
  text: str
  seconds: float


class Progress:
  """The log of one training, from the step at which it starts; a context.

  Attributes:
    clock: see `DispatchClock`.
    last_good: step of the newest checkpoint, None without one.
  """

  def __init__(self, run: Any):
    """Open the bar and, in process 0, metrics.jsonl and speed.jsonl.

    Args:
      run: a `setup.Setup`: its stage, section, films, folder and steps.
    """
    self.clock = DispatchClock()
    self.last_good = run.start or None
    self._stage, self._batch_size = run.stage, run.section.batch_size
    self._log_steps = run.section.log_steps
    self._total_steps, self._epoch_steps = run.total_steps, run.epoch_steps
    positions = run.films['position'].tolist()
    names = run.films['id'].tolist()
    self._names = dict(zip(positions, names, strict=True))
    self._recent: list[tuple[int, dict, np.ndarray]] = []
    self._began = time.monotonic()
    main = distributed.is_main_process()
    self._writer = (
      metric_writer.MetricWriter(run.folder, run.start) if main else None
    )
    self._bar = tqdm.tqdm(
      total=self._total_steps * self._batch_size,
      initial=run.start * self._batch_size,
      desc=run.stage,
      unit='film',
      disable=not main or None,
      smoothing=0.05,
    )

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *error: object) -> None:
    self._bar.close()
    self.clock.close()
    if self._writer:
      self._writer.close()

  def add(self, step: int, scalars: dict, rows: np.ndarray) -> None:
    """Take a step's scalars, ready or not, and its films' rows."""
    self.clock.dispatched(scalars)
    self._recent.append((step, scalars, rows))
    self._bar.update(self._batch_size)

  def due(self, step: int) -> bool:
    """Whether a row is written after this step, validated or not."""
    return step % self._log_steps == 0

  def check_finite(self) -> None:
    """Raise, naming step and films, at the first step that spoils the net."""
    for step, scalars, local_rows in self._recent:
      for name in ('loss', 'gradient_norm'):
        value = float(scalars[name])
        if math.isfinite(value):
          continue
        rows = distributed.all_gather_objects(local_rows.tolist())
        last = (
          'none yet' if self.last_good is None else f'step {self.last_good}'
        )
        raise ValueError(
          f'{self._stage}: the {name} is {value} at step {step}, on films '
          f'{", ".join(self._names[row] for row in rows)}. Last good '
          f'checkpoint: {last}. Lower '
          f'--config.{self._stage}.optimizer.learning_rate, set '
          f'--config.{self._stage}.optimizer.grad_clip_norm=1.0, or look at '
          'these films.'
        )

  def write(
    self, step: int, rate: float, validation: Validation | None
  ) -> None:
    """Write the means of the steps since the last time, and start anew."""
    mean = lambda name: float(
      np.mean([float(scalars[name]) for _, scalars, _ in self._recent])
    )
    row = {'epoch': round(step / self._epoch_steps, 4), 'learning_rate': rate}
    row |= {f'train_{name}': mean(name) for name in self._recent[-1][1]}
    films = len(self._recent) * self._batch_size
    validating = validation.seconds if validation else 0.0
    seconds = time.monotonic() - self._began - validating
    if validation:
      row[f'validation_{validation.name}'] = validation.error
      if self._writer:
        self._bar.write(
          f'{self._stage} step {step}/{self._total_steps}: loss '
          f'{row["train_loss"]:.3f}, validation {validation.text}, '
          f'{films / seconds:.1f} films/s, '
          f'{self.clock.waited / seconds:.0%} of it waiting for data'
        )
    self._bar.set_postfix_str(f'loss {row["train_loss"]:.3f}')
    if self._writer:
      self._writer.write(step, **row)
      self._writer.write_speed(
        step, films=films, seconds=seconds, validation_seconds=validating
      )
    self._recent.clear()
    self._began, self.clock.waited = time.monotonic(), 0.0

  def publish(self) -> None:
    """Bring the rows to where a run that goes on finds them."""
    if self._writer:
      self._writer.publish()
