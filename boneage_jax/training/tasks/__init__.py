"""Tasks: what a net is trained for and judged by, chosen by `section.task`."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import Protocol

import jax
import numpy as np

from boneage_jax.core import extend
from boneage_jax.training.tasks import age
from boneage_jax.training.tasks import classification
from boneage_jax.training.tasks import keypoints
from boneage_jax.training.tasks import orientation
from boneage_jax.training.tasks import segmentation

Rows = dict[str, np.ndarray]


class Task(Protocol):
  """What the loop asks of a task; the modules here are such."""

  metric_name: str  # of `error`; the log has it as validation_<metric_name>

  def format_metric(self, value: float) -> str:
    """Write an error with its name and unit."""

  def check(self, config: Any, stage: str) -> None:
    """Refuse, by ValueError, settings that the task cannot train with."""

  def reduce(
    self, outputs: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]
  ) -> dict[str, jax.Array]:
    """Return what is kept of each film, [B, ...]; within the jitted step."""

  def error(self, rows: Rows, films: Rows) -> float:
    """Judge what `reduce` kept of the films of a split; less is better."""

  def write_predictions(
    self,
    config: Any,
    stage: str,
    workdir: str,
    films: Rows,
    predict: Callable,
    variables: dict[str, Any],
  ) -> None:
    """Predict the films that are held out and write the stage's files."""


TASKS: dict[str, Task] = {
  'age': age,
  'classification': classification,
  'keypoints': keypoints,
  'orientation': orientation,
  'segmentation': segmentation,
}
# add(name, task): one of your own, a `Task`.
add = extend.table('task', TASKS)


def create(section: Any) -> Task:
  """Return the task of a stage.

  Raises:
    ValueError: there is no such task.
  """
  if section.task not in TASKS:
    raise ValueError(
      f'Expected a task among {", ".join(TASKS)}, got {section.task!r}.'
    )
  return TASKS[section.task]
