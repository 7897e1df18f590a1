"""From deep pixels to the 8 bits of a film; docs/reference/reading.md.

A film of 64 megapixels takes half a gigabyte as floats. So greys are computed
for the values that a film holds, with how often it does, and looked up.
"""

import numpy as np

PERCENTILES = (0.5, 99.5)
BLOCK = 1 << 20  # pixels that are looked at a time


def distinct(
  picture: np.ndarray, inside: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Return the values of a picture in order, and how often it has each.

  Args:
    picture: unsigned integers [H, W].
    inside: bool [H, W], the pixels that count; None counts all.

  Returns:
    [N], of the picture's type, and int64 [N].
  """
  if picture.dtype.itemsize > 2:
    return np.unique(
      picture if inside is None else picture[inside], return_counts=True
    )
  counts = np.zeros(1 << 8 * picture.dtype.itemsize, np.int64)
  flat = picture.reshape(-1)
  counted = None if inside is None else inside.reshape(-1)
  for few in _blocks(flat.size):
    part = flat[few] if inside is None else flat[few][counted[few]]
    counts += np.bincount(part, minlength=len(counts))
  levels = np.flatnonzero(counts)
  return levels.astype(picture.dtype), counts[levels]


def look_up(
  picture: np.ndarray, levels: np.ndarray, table: np.ndarray
) -> np.ndarray:
  """Return `table[i]` where a picture has the value `levels[i]`.

  Args:
    picture: unsigned integers [H, W].
    levels: all of its values, in order; others become anything.
    table: uint8 [N].

  Returns:
    uint8 [H, W].
  """
  flat = picture.reshape(-1)
  image = np.empty(flat.size, np.uint8)
  deep = picture.dtype.itemsize > 2
  if not deep:
    whole = np.zeros(1 << 8 * picture.dtype.itemsize, np.uint8)
    whole[levels] = table
  for few in _blocks(flat.size):
    if deep:
      image[few] = table[np.searchsorted(levels, flat[few])]
    else:
      image[few] = whole[flat[few]]
  return image.reshape(picture.shape)


def percentiles(
  values: np.ndarray, counts: np.ndarray, wanted: tuple[float, ...]
) -> list[float]:
  """Return percentiles of values that stand for so many pixels each.

  As `numpy.percentile` of all pixels: between two of them on a line.
  """
  order = np.argsort(values, kind='stable')
  values, ends = values[order], np.cumsum(counts[order])
  found = []
  for percent in wanted:
    place = percent / 100 * (ends[-1] - 1)
    below = np.floor(place)
    low, high = (
      float(values[np.searchsorted(ends, min(i, ends[-1] - 1), 'right')])
      for i in (below, below + 1)
    )
    found.append(low + (high - low) * float(place - below))
  return found


def film_range(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
  """Return the values that become 0 and 255 where no window says so.

  They are percentiles 0.5 and 99.5, as a few pixels of any value must not
  decide. A film that has one value between them is taken from its least to its
  greatest.

  Args:
    values: [N], of the pixels that are of the film.
    counts: [N], how many pixels have each.

  Raises:
    ValueError: they are all the same, or there are none.
  """
  if not values.size or values.min() == values.max():
    raise ValueError('Blank image: every pixel has the same value.')
  low, high = percentiles(values, counts, PERCENTILES)
  if low == high:
    low, high = values.min(), values.max()
  return float(low), float(high)


def without_window(
  values: np.ndarray, counts: np.ndarray, bits: int, least: int = 0
) -> tuple[float, float]:
  """Return the values that become 0 and 255 of stored pixels without a window.

  They go from percentile to percentile, see `film_range`. But 8 bits, also
  those that were written as more, are left alone.

  Args:
    values: integers [N], in order, of the pixels that are of the film.
    counts: [N], how many pixels have each.
    bits: of a stored value.
    least: the least value that these bits can hold.

  Raises:
    ValueError: the film is of one value.
  """
  low, high = film_range(values, counts)
  if _made_of_8_bits(values.astype(np.int64) - least, bits):
    return least, least + 2**bits
  return low, high


def _made_of_8_bits(values: np.ndarray, bits: int) -> bool:
  """Whether 8 bits were moved up, or multiplied to fill the range."""
  if bits < 8 or len(values) > 256:
    return False
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


def _blocks(size: int) -> list[slice]:
  return [slice(i, i + BLOCK) for i in range(0, size, BLOCK)]
