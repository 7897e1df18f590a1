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


def without_window(
  values: np.ndarray, film: np.ndarray, bits: int, least: int = 0
) -> np.ndarray:
  """Turn stored pixels into 8 bits where no window says how.

  They go from percentile to percentile, see `film_range`. But 8 bits, also
  those that were written as more, are left alone.

  Args:
    values: integers [H, W].
    film: [N], those of the film.
    bits: of a stored value.
    least: the least value that these bits can hold.

  Returns:
    uint8 [H, W].

  Raises:
    ValueError: the film is of one value.
  """
  low, high = film_range(film)
  if _made_of_8_bits(film, bits, least):
    low, high = least, least + 2**bits
  return to_8_bit(values, low, high)


def _made_of_8_bits(film: np.ndarray, bits: int, least: int) -> bool:
  """Whether 8 bits were moved up, or multiplied to fill the range."""
  values = np.unique(film[:: max(len(film) // 10_000, 1)])
  if bits < 8 or len(values) > 256:
    return False
  values = np.unique(film) - least
  high = to_8_bit(values, 0, 2**bits).astype(np.int64)
  moved = np.ptp(values - (high << (bits - 8))) == 0
  filled = np.abs(values - high * ((2**bits - 1) / 255)) < 1
  return bool(moved or filled.all())


def to_8_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
  """Cut [low, high] into 256 equal parts; what lies beyond goes to its ends.

  So 12 or 16 bits that were made of 8, by multiplying or by moving bits, become
  those 8 again.
  """
  parts = (values.astype(np.float64) - low) * (256 / (high - low))
  return np.clip(parts, 0, 255).astype(np.uint8)
