"""A trace of some steps of a training: what host and devices did, and when."""

from collections.abc import Iterator
import contextlib
import os
from typing import Any

import jax

from boneage_jax.core import distributed
from boneage_jax.core import storage

FOLDER = 'profile'  # of the stage


def check(section: Any, stage: str) -> None:
  """Check the field `profile_steps` of a stage.

  Raises:
    ValueError: no steps that can be traced; names the field.
  """
  steps = tuple(section.profile_steps)
  whole = all(isinstance(step, int) for step in steps)
  if steps and not (len(steps) == 2 and whole and 1 <= steps[0] <= steps[1]):
    raise ValueError(
      f'Expected {stage}.profile_steps of () or the first and the last step to '
      f'trace, such as (10, 15), got {steps}: change '
      f'--config.{stage}.profile_steps.'
    )


class Profile:
  """Traces the steps of `profile_steps`, on process 0; a context.

  A training that goes on behind the first of them traces nothing.
  """

  def __init__(self, run: Any):
    """Trace nothing yet.

    Args:
      run: a `setup.Setup`.
    """
    steps = run.section.profile_steps if distributed.is_main_process() else ()
    self._first, self._last = steps or (0, 0)
    self._run, self._tracing = run, False
    self._here = os.path.join(storage.here(run.folder), FOLDER)

  def __enter__(self) -> 'Profile':
    return self

  def __exit__(self, *error: object) -> None:
    self._end()

  @contextlib.contextmanager
  def step(self, step: int) -> Iterator[None]:
    """Do a step; begin before it or end after it, where it is due."""
    if step == self._first:
      jax.block_until_ready(self._run.state)
      options = jax.profiler.ProfileOptions()
      options.python_tracer_level = 0  # thousands of calls hide the rest
      jax.profiler.start_trace(
        self._here, create_perfetto_trace=True, profiler_options=options
      )
      self._tracing = True
    if not self._tracing:
      yield
      return
    with jax.profiler.StepTraceAnnotation('train', step_num=step):
      yield
    if step == self._last:
      self._end()

  def _end(self) -> None:
    if not self._tracing:
      return
    self._tracing = False
    jax.block_until_ready(self._run.state)
    folder = os.path.join(self._run.folder, FOLDER)
    with storage.writing(folder):
      jax.profiler.stop_trace()
    if self._here != folder:
      for path in storage.glob(self._here, '**'):
        if os.path.isfile(path):
          storage.put(path, path.replace(self._here, folder))
    print(f'{self._run.stage}: a trace of its steps is in {folder}.')
