"""From deep pixels to the 8 bits of a film; docs/reference/reading.md."""

import numpy as np

PERCENTILES = (0.5, 99.5)


def film_range(values: np.ndarray) -> tuple[float, float]:
  """Return the values that become 0 and 255 where no window says so.

  They are percentiles 0.5 and 99.5, as a few pixels of any value must not
  decide. A film that has one value between them is taken from its least to its
  greatest.

  Args:
    values: [N], of the pixels that are of the film.

  Raises:
    ValueError: they are all the same, or there are none.
  """
  if not values.size or values.min() == values.max():
    raise ValueError('Blank image: every pixel has the same value.')
  low, high = np.percentile(values, PERCENTILES)
  if low == high:
    low, high = values.min(), values.max()
  return float(low), float(high)


def to_8_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
  """Cut [low, high] into 256 equal parts; what lies beyond goes to its ends.

  So 12 or 16 bits that were made of 8, by multiplying or by moving bits, become
  those 8 again.
  """
  parts = (values.astype(np.float64) - low) * (256 / (high - low))
  return np.clip(parts, 0, 255).astype(np.uint8)
