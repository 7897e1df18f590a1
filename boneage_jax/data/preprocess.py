"""One record of a film to one example of a batch, augmented or not."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

import cv2
import numpy as np

from boneage_jax.data import device_augment
from boneage_jax.imaging import annotations
from boneage_jax.imaging import borders
from boneage_jax.imaging import codec
from boneage_jax.imaging import corruptions
from boneage_jax.imaging import geometry
from boneage_jax.imaging import intensity
from boneage_jax.imaging import masks as masks_lib

SURE = 0.9  # less probable rotations are left alone: most films stand upright


def make_example(
  record: Mapping[str, Any],
  config: Any,
  rng: np.random.Generator | None = None,
  masks: Sequence[str] = (),
  view: np.ndarray | None = None,
) -> dict[str, Any]:
  """Decode a record and fit it to the net; augment when `rng` is given.

  Args:
    record: `image` or `regions` (bytes; squares, one below the other), id,
      sex and age; `label` and annotations (JSON) where there are any; `take`,
      positions of the regions to use; `holes`, (box, grey) to paint over.
    config: size, resize, percentiles, polarity, crop_margin, device_augment,
      rotate90 (by `label`, or drawn with `rng`) and the ranges rotate,
      zoom, shift, flip, cutout, brightness, contrast, gamma, spoil and
      sex_dropout.
    rng: the film's own generator; masks draw nothing from it.
    masks: kinds of masks.KINDS; the film's mask moves with the film.
    view: matrix over the net's input, instead of a drawn one.

  Returns:
    `image` uint8 [S, S, 1] or `regions` uint8 [R, S, S, 1]; sex, age, id,
    valid; `label` where the record has one; with `masks`, `region_mask` uint8
    [S, S], 1 inside, 0 outside, 255 where nobody said. With `rng` and
    config.device_augment, instead of the pixels what device_augment.finish
    takes.
  """
  name = 'regions' if 'regions' in record else 'image'
  pixels = decode(record, name)
  if config.polarity == 'invert':
    pixels = 255 - pixels
  elif config.polarity != 'keep':
    raise ValueError(
      f"expected polarity 'keep' or 'invert', got {config.polarity!r}"
    )
  if 'take' in record:
    side = pixels.shape[1]
    chosen = pixels.reshape(-1, side, side)[record['take']]
    pixels = chosen.reshape(-1, side)
  if (
    rng is not None
    and config.corruption_prob
    and rng.random() < config.corruption_prob
  ):
    if name == 'regions':  # each by itself: they only lie in one picture
      side = pixels.shape[1]
      crops = pixels.reshape(-1, side, side)
      pixels = corruptions.corrupt(crops, rng, moved=False).reshape(-1, side)
    else:  # masks and holes know only the place where the film was
      moved = not masks and 'holes' not in record
      pixels = corruptions.corrupt(pixels, rng, moved=moved)
  label = record.get('label')
  if config.rotate90:
    if rng is not None:
      label = rng.integers(4)
      if config.flip and rng.random() < 0.5:
        pixels = pixels[:, ::-1]  # before: it makes a quarter of three quarters
    pixels = np.ascontiguousarray(np.rot90(pixels, label))
  lut = intensity.tone_lut(
    pixels,
    rng,
    percentiles=config.percentiles,
    brightness=config.brightness,
    contrast=config.contrast,
    gamma=config.gamma,
  )
  for box, grey in record.get('holes', ()):  # the tone stays the whole film's
    pixels = intensity.erase(pixels, box, grey)
  mask = None
  if name == 'regions':
    seen = _fit_regions(pixels, config, rng, view)
  else:
    if masks:
      film = json.loads(record.get('annotations') or '{}')
      mask = masks_lib.draw(film, masks, pixels.shape)
    flip = config.flip and not config.rotate90
    seen, mask = _fit(pixels, config, rng, view, flip, mask=mask)
  if isinstance(seen, dict):
    seen['greys'] = lut
  else:
    rows = seen.reshape(-1, config.size)  # to OpenCV a third axis is colour
    seen = {name: cv2.LUT(rows, lut).reshape(*seen.shape, 1)}
  example = seen | {
    'sex': np.float32(record['sex']),
    'age': np.float32(record['age']),
    'id': np.int32(record['row']),
    'valid': np.float32(1),
  }
  # Drawn last: all other draws are the same with and without.
  if rng is not None and rng.random() < config.sex_dropout:
    example['sex'] = np.float32(0)
  if label is not None:
    example['label'] = np.int32(label)
  if masks:
    unknown = np.full((config.size,) * 2, masks_lib.UNKNOWN, np.uint8)
    example['region_mask'] = unknown if mask is None else mask
  return example


def without_border(record: Mapping[str, Any]) -> dict[str, Any]:
  """Return the record of a film without its border, decoded.

  If there is one, `film_box` says where the film lies within it, in fractions,
  and annotations are of the film alone.
  """
  film = decode(record)
  rows, columns = borders.inside(film)
  (height, width), inner = film.shape, film[rows, columns]
  made = {**record, 'image': codec.bitmap(inner)}
  if inner.shape == film.shape:
    return made
  box = (columns.start / width, rows.start / height)
  box += (columns.stop / width, rows.stop / height)
  found = json.loads(record.get('annotations') or '{}')
  text = json.dumps(annotations.within(found, box)) if found else ''
  return {**made, 'annotations': text, 'film_box': box}


def decode(record: Mapping[str, Any], name: str = 'image') -> np.ndarray:
  """Decode what a record has as `name`; an error names the film."""
  try:
    return codec.decode_stored(record[name])
  except ValueError as error:
    raise ValueError(f'Film {record["id"]}: {error}') from error


def quarter_turns(probability: np.ndarray) -> np.ndarray:
  """Return by how many quarters films are rotated, counter-clockwise, [N].

  Args:
    probability: [N, 4], that a film is rotated by 0 to 3 quarters.
  """
  return np.where(probability.max(-1) >= SURE, probability.argmax(-1), 0)


def rotate_back(record: Mapping[str, Any], quarters: int) -> dict[str, Any]:
  """Return the record of a film rotated counter-clockwise, turned upright.

  `rotation_deg` says by how much it was rotated. Annotations are of the film as
  it was: one that is turned back loses them.
  """
  if not quarters:
    return dict(record)
  image = codec.turn(record['image'], -quarters)
  changed = {
    'image': image,
    'annotations': '',
    'rotation_deg': 90 * int(quarters),
  }
  return {**record, **changed}


def _fit(
  image: np.ndarray,
  config: Any,
  rng: np.random.Generator | None,
  view: np.ndarray | None,
  flip: bool,
  box: Sequence[float] | None = None,
  mask: np.ndarray | None = None,
) -> tuple[Any, np.ndarray | None]:
  """Fit a film, and its mask (255 inside) with the very same warp.

  A film that the device will warp comes back as a dict, see device_augment.
  """
  size = (config.size, config.size)
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
  holes = cutouts(config.cutout, rng) if rng is not None else ()
  if mask is not None:
    inside = geometry.warp(mask, matrix, size) > 127
    mask = np.where(inside, masks_lib.INSIDE, masks_lib.OUTSIDE)
    mask = mask.astype(np.uint8)
    for hole in holes:  # what is hidden cannot be asked for
      mask = intensity.erase(mask, hole, masks_lib.UNKNOWN)
  if config.device_augment and rng is not None:
    visible = np.ones(size, np.uint8)
    for hole in holes:
      visible = intensity.erase(visible, hole)
    square, matrix = device_augment.pack(
      image, matrix, config.size, config.device_augment
    )
    return dict(squares=square, matrices=matrix, visible=visible), mask
  image = geometry.warp(image, matrix, size)
  for hole in holes:
    image = intensity.erase(image, hole)
  return image, mask


def cutouts(
  count: int, rng: np.random.Generator
) -> list[tuple[float, float, float, float]]:
  """Draw up to `count` boxes to black out, each half of the time.

  Sides are 12 to 30 %. A net that may lose any one region learns to read
  several, and its heat maps show them (Singh and Lee 2017, hide-and-seek;
  Chen's code has squares).
  """
  boxes = []
  for _ in range(count):
    if rng.random() < 0.5:
      continue
    width, height = rng.uniform(0.12, 0.30, 2)
    x, y = rng.random(2) * (1 - width, 1 - height)
    boxes.append((x, y, x + width, y + height))
  return boxes


def _fit_regions(
  stacked: np.ndarray,
  config: Any,
  rng: np.random.Generator | None,
  view: np.ndarray | None,
) -> Any:
  """Fit each square of a stack; they move apart but mirror together."""
  side = stacked.shape[1]
  margin = config.crop_margin / (1 + 2 * config.crop_margin)
  box = (margin, margin, 1 - margin, 1 - margin)
  regions = [
    _fit(region, config, rng, view, flip=False, box=box)[0]
    for region in stacked.reshape(-1, side, side)
  ]
  mirror = rng is not None and config.flip and rng.random() < 0.5
  if isinstance(regions[0], dict):
    packed = {name: np.stack([r[name] for r in regions]) for name in regions[0]}
    return device_augment.mirror(packed) if mirror else packed
  regions = np.stack(regions)
  return np.ascontiguousarray(regions[..., ::-1]) if mirror else regions
