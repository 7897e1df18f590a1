"""One record of a film to one example of a batch, augmented or not."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from boneage_jax import transforms


def make_example(
  record: Mapping[str, Any],
  config: Any,
  rng: np.random.Generator | None = None,
) -> dict[str, Any]:
  """Decode a record and fit it to the net; augment when `rng` is given.

  Args:
    record: `image` or `regions` (bytes; squares, one below the other), id,
      male and age.
    config: size, resize, percentiles, polarity, crop_margin and the ranges
      rotate, zoom, shift, flip, cutout, brightness, contrast, gamma.
    rng: the film's own generator.

  Returns:
    `image` uint8 [S, S, 1] or `regions` uint8 [R, S, S, 1]; male, age, id,
    valid.
  """
  name = 'regions' if 'regions' in record else 'image'
  try:
    pixels = transforms.decode(record[name])
  except ValueError as error:
    raise ValueError(f'film {record["id"]}: {error}') from error
  if config.polarity == 'invert':
    pixels = 255 - pixels
  elif config.polarity != 'keep':
    raise ValueError(
      f"expected polarity 'keep' or 'invert', got {config.polarity!r}"
    )
  lut = transforms.tone_lut(
    pixels,
    rng,
    percentiles=config.percentiles,
    brightness=config.brightness,
    contrast=config.contrast,
    gamma=config.gamma,
  )
  if name == 'regions':
    pixels = _fit_regions(pixels, config, rng)
  else:
    pixels = _fit(pixels, config, rng, flip=config.flip)
  rows = pixels.reshape(-1, config.size)  # OpenCV takes a third axis for colour
  return {
    name: cv2.LUT(rows, lut).reshape(*pixels.shape, 1),
    'male': np.float32(record['male']),
    'age': np.float32(record['age']),
    'id': np.int32(record['id']),
    'valid': np.float32(1),
  }


def _fit(
  image: np.ndarray,
  config: Any,
  rng: np.random.Generator | None,
  flip: bool,
  box: Sequence[float] | None = None,
) -> np.ndarray:
  size = (config.size, config.size)
  matrix = transforms.fit_matrix(image.shape, size, config.resize, box)
  if rng is not None:
    moved = transforms.augment_matrix(
      size,
      rng,
      rotate=config.rotate,
      zoom=config.zoom,
      shift=config.shift,
      flip=flip,
    )
    matrix = transforms.compose(matrix, moved)
  image = transforms.warp(image, matrix, size)
  for _ in range(config.cutout if rng is not None else 0):
    image = cutout(image, rng)
  return image


def cutout(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Black out one rectangle, half of the time; sides 12 to 30 %.

  A net that may lose any one region learns to read several, and its heat maps
  show them (Singh and Lee 2017, hide-and-seek; Chen's code has squares).
  """
  if rng.random() < 0.5:
    return image
  width, height = rng.uniform(0.12, 0.30, 2)
  x, y = rng.random(2) * (1 - width, 1 - height)
  return transforms.erase(image, (x, y, x + width, y + height))


def _fit_regions(
  stacked: np.ndarray, config: Any, rng: np.random.Generator | None
) -> np.ndarray:
  """Fit each square of a stack; they move apart but mirror together."""
  side = stacked.shape[1]
  margin = config.crop_margin / (1 + 2 * config.crop_margin)
  box = (margin, margin, 1 - margin, 1 - margin)
  regions = np.stack(
    [
      _fit(region, config, rng, flip=False, box=box)
      for region in stacked.reshape(-1, side, side)
    ]
  )
  if rng is not None and config.flip and rng.random() < 0.5:
    regions = np.ascontiguousarray(regions[..., ::-1])
  return regions
