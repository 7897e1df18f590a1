"""A film, or its crops, brought to the size of a net's input."""

from collections.abc import Mapping
from collections.abc import Sequence
import types
from typing import Any

import numpy as np

from boneage_jax.core import sizes
from boneage_jax.data import device_augment
from boneage_jax.data import marks as marks_lib
from boneage_jax.imaging import boxes
from boneage_jax.imaging import geometry
from boneage_jax.imaging import intensity


def fit(
  image: np.ndarray,
  config: Any,
  rng: np.random.Generator | None,
  view: np.ndarray | None,
  flip: bool,
  box: Sequence[float] | None = None,
  marks: Mapping[str, np.ndarray | None] = types.MappingProxyType({}),
) -> tuple[Any, dict[str, np.ndarray]]:
  """Fit a film, and its marks with the very same warp.

  A film that the device will warp comes back as a dict, see device_augment.
  """
  size = sizes.size_hw(config.size)
  matrix = geometry.fit_matrix(image.shape, size, config.resize, box)
  if rng is not None:
    view = geometry.augment_matrix(
      size,
      rng,
      rotate=config.rotate,
      zoom=config.zoom,
      shift=config.shift,
      flip=flip,
    )
  if view is not None:
    matrix = geometry.compose(matrix, view)
  if rng is not None and config.crop:
    matrix, size = _crop(matrix, size, sizes.training_hw(config), rng)
  holes = cutouts(config.cutout, rng) if rng is not None else ()
  fitted = marks_lib.fit(marks, matrix, size, holes)
  if config.device_augment and rng is not None:
    packed = device_augment.pack(image, matrix, size, config.device_augment)
    for hole in holes:
      packed['visible'] = intensity.erase(packed['visible'], hole)
    return packed, fitted
  image = geometry.warp(image, matrix, size)
  for hole in holes:
    image = intensity.erase(image, hole)
  return image, fitted


def _crop(
  matrix: np.ndarray,
  size_hw: tuple[int, int],
  crop_hw: tuple[int, int],
  rng: np.random.Generator,
) -> tuple[np.ndarray, tuple[int, int]]:
  """Draw where a crop lies in a net's input, in whole pixels.

  Returns:
    The matrix from the film to the crop, and the crop's height and width.
  """
  top, left = (
    rng.integers(n - crop + 1) for n, crop in zip(size_hw, crop_hw, strict=True)
  )
  move = np.array([[1, 0, -left], [0, 1, -top]], np.float64)
  return geometry.compose(matrix, move), crop_hw


def cutouts(
  count: int, rng: np.random.Generator
) -> list[tuple[float, float, float, float]]:
  """Draw up to `count` boxes to black out, each half of the time.

  Sides are 12 to 30 %. A net that may lose any one region learns to read
  several, and its heat maps show them (Singh and Lee 2017, hide-and-seek;
  Chen's code has squares).
  """
  holes = []
  for _ in range(count):
    if rng.random() < 0.5:
      continue
    width, height = rng.uniform(0.12, 0.30, 2)
    x, y = rng.random(2) * (1 - width, 1 - height)
    holes.append((x, y, x + width, y + height))
  return holes


def fit_regions(
  crops: Sequence[np.ndarray],
  config: Any,
  rng: np.random.Generator | None,
  view: np.ndarray | None,
) -> Any:
  """Fit each crop; they move apart but mirror together."""
  size, margin = sizes.size_hw(config.size), config.crop_margin
  box_of = lambda crop: boxes.within_margin(crop.shape, size, margin)
  regions = [
    fit(crop, config, rng, view, flip=False, box=box_of(crop))[0]
    for crop in crops
  ]
  mirror = rng is not None and config.flip and rng.random() < 0.5
  if isinstance(regions[0], dict):
    packed = {name: np.stack([r[name] for r in regions]) for name in regions[0]}
    return device_augment.mirror(packed) if mirror else packed
  regions = np.stack(regions)
  return np.ascontiguousarray(regions[..., ::-1]) if mirror else regions
