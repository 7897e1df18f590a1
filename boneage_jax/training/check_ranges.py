"""Numbers of a config that have to lie between others, and their check."""

from collections.abc import Mapping
import math
from typing import Any
from typing import NamedTuple


class Range(NamedTuple):
  """From the lowest value that may be to the highest, or to what is below it.

  Attributes:
    low, high: the ends; each of them may be, but
    below: says that `high` itself may not.
  """

  low: float = 0
  high: float = math.inf
  below: bool = False

  def holds(self, value: float) -> bool:
    """Whether a number lies in it; nan does not."""
    return self.low <= value <= self.high and not (
      self.below and value == self.high
    )

  def __str__(self) -> str:
    if self.high == math.inf:
      return f'of {self.low} or more'
    return f'from {self.low} to {"below " * self.below}{self.high}'


NOT_NEGATIVE, SHARE, DECAY = Range(), Range(0, 1), Range(0, 1, below=True)
COUNTED = Range(1)

STAGE = {'seed': NOT_NEGATIVE}
NET = STAGE | {
  'log_steps': COUNTED,
  'checkpoint_steps': COUNTED,
  'eval_steps': NOT_NEGATIVE,
  'ema': DECAY,
  'net.bn_momentum': DECAY,
  'net.dropout': DECAY,
  'guidance.weight': NOT_NEGATIVE,
  'optimizer.learning_rate': NOT_NEGATIVE,
  'optimizer.warmup': SHARE,
  'optimizer.lr_decay': NOT_NEGATIVE,
  'optimizer.boundaries': SHARE,
  'optimizer.lr_factors': NOT_NEGATIVE,
  'optimizer.b1': DECAY,
  'optimizer.eps': NOT_NEGATIVE,
  'optimizer.weight_decay': NOT_NEGATIVE,
  'optimizer.grad_clip_norm': NOT_NEGATIVE,
}
INPUT = {
  'threads': NOT_NEGATIVE,
  'crop_margin': NOT_NEGATIVE,
  'rotate': Range(0, 180),
  'zoom': DECAY,  # at 1, films would be shrunk to nothing
  'shift': SHARE,
  'cutout': NOT_NEGATIVE,
  'brightness': SHARE,
  'contrast': SHARE,
  'gamma': NOT_NEGATIVE,
  'corruption_prob': SHARE,
  'sex_dropout': SHARE,
  'drawn_share': Range(0, 0.9),
  'masks_count': NOT_NEGATIVE,
  'device_augment': NOT_NEGATIVE,
}
LOCATE = {
  'minimum_side': SHARE,
  'margin': NOT_NEGATIVE,
  'smooth': NOT_NEGATIVE,
  'crop_margin': NOT_NEGATIVE,
}


def check(section: Any, name: str, ranges: Mapping[str, Range]) -> None:
  """Check numbers of a section, as far as it has them.

  Args:
    section: of a config.
    name: what it is called there.
    ranges: by field, with a dot for one of a section inside; of a tuple each of
      its numbers counts.

  Raises:
    ValueError: a number out of its range; names both.
  """
  for field, wanted in ranges.items():
    value = section
    for key in field.split('.'):
      value = value.get(key, ())
    each = value if isinstance(value, (tuple, list)) else (value,)
    for number in each:
      if not wanted.holds(number):
        raise ValueError(
          f'Expected {name}.{field} {wanted}, got {number}: change '
          f'--config.{name}.{field}.'
        )
