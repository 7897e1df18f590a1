"""Options of a training, each checked where it is made."""

from typing import Any

from boneage_jax.data import augmentations
from boneage_jax.training import accumulation
from boneage_jax.training import check_ranges
from boneage_jax.training import early_stopping
from boneage_jax.training import profiling


def check(section: Any, stage: str) -> None:
  """Check the options of a stage that trains.

  Raises:
    ValueError: a value that cannot be; names the field.
  """
  check_ranges.check(section, stage, check_ranges.NET)
  augmentations.check(section.input, f'{stage}.input')
  accumulation.check(section, stage)
  early_stopping.check(section, stage)
  profiling.check(section, stage)
