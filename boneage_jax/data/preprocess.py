"""One record of a film to one example of a batch, augmented or not."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

import cv2
import numpy as np

from boneage_jax.core import scalars
from boneage_jax.data import augmentations
from boneage_jax.data import fitting
from boneage_jax.data import marks as marks_lib
from boneage_jax.imaging import annotations
from boneage_jax.imaging import borders
from boneage_jax.imaging import codec
from boneage_jax.imaging import corruptions
from boneage_jax.imaging import intensity

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
    record: `image` (bytes), `regions` (a list of them, one for each crop) or
      `features` [h, w, C]; id, sex and age; numbers of `scalars.SCALARS`,
      `label` and annotations (JSON) where there are any; `holes`, (box, grey)
      to paint over in a film; `film_in_crops`, where the film lies in each
      crop, in fractions, all of it without; `black_outside`, that what is 0 in
      a crop is not of the film.
    config: size, crop, resize, percentiles, polarity, crop_margin,
      device_augment, rotate90 (by `label`, or drawn with `rng`) and the ranges
      rotate, zoom, shift, flip, cutout, brightness, contrast, gamma,
      corruption_prob and sex_dropout; `augment`, see augmentations.py; `masks`
      and `points`, which a net learns to find.
    rng: the film's own generator; masks and points draw nothing from it.
    masks: kinds of masks.KINDS, by default config.masks; the film's mask moves
      with the film.
    view: matrix over the net's input, instead of a drawn one.

  Returns:
    `image` uint8 [H, W, 1] or `regions` uint8 [R, H, W, 1], of config.size or,
    with `rng` and config.crop, a crop of it, see sizes.training_hw; or
    `features` [h, w, C], with `rng` those of one position, [1, 1, C];
    sex, age, id, valid; numbers and `label` where the record has them; with
    `masks`,
    `region_mask` uint8 [H, W], 1 inside, 0 outside, 255 where nobody said; with
    config.points, `points` float32 [K, 2], x and y from -1 at the left and
    upper edge of the input to 1 at the other, NaN where nobody said, with
    `to_film`, `film_hw` and `hand_length`, see marks.fit. With `rng` and
    config.device_augment, instead of the pixels what device_augment.finish
    takes.
  """
  # The order of these steps is the order of their draws from `rng`.
  if 'features' in record:
    seen = {'features': _position(record['features'], rng)}
    label = record.get('label')
  else:
    seen, label = _see(record, config, rng, masks, view)
  example = seen | {
    'sex': np.float32(record['sex']),
    'age': np.float32(record['age']),
    'id': np.int32(record['row']),
    'valid': np.float32(1),
    **{name: np.float32(x) for name, x in scalars.of(record).items()},
  }
  # Drawn last: all other draws are the same with and without.
  if rng is not None and rng.random() < config.sex_dropout:
    example['sex'] = np.float32(0)
  if rng is not None and config.augment['name']:
    example |= augmentations.augment(example, config.augment, rng)
  if label is not None:
    example['label'] = np.int32(label)
  return example


def _position(
  features: np.ndarray, rng: np.random.Generator | None
) -> np.ndarray:
  """Draw one position of a map, as a crop of the film would be; else all."""
  if rng is None:
    return features
  row, column = (rng.integers(n) for n in features.shape[:2])
  return features[row : row + 1, column : column + 1]


def _see(
  record: Mapping[str, Any],
  config: Any,
  rng: np.random.Generator | None,
  masks: Sequence[str],
  view: np.ndarray | None,
) -> tuple[dict[str, Any], int | None]:
  """Return what the net sees of a film or its crops, and the label."""
  name = 'regions' if 'regions' in record else 'image'
  masks = masks or tuple(config.masks)
  pictures = _pictures(record, name, config.polarity)
  marked = bool(masks or config.points)
  pictures = _corrupt(pictures, record, config, rng, marked)
  pictures, label = _rotate(pictures, record.get('label'), config, rng)
  return _tone_and_fit(pictures, record, config, rng, masks, view), label


def _corrupt(
  pictures: list[np.ndarray],
  record: Mapping[str, Any],
  config: Any,
  rng: np.random.Generator | None,
  marked: bool,
) -> list[np.ndarray]:
  """Corrupt a film, or its crops, in a share of the samples."""
  share = config.corruption_prob
  if rng is None or not share or rng.random() >= share:
    return pictures
  # Marks and holes know only the place where the film was.
  moved = 'regions' not in record and not marked and 'holes' not in record
  return corruptions.corrupt(pictures, rng, moved=moved)


def _rotate(
  pictures: list[np.ndarray],
  label: int | None,
  config: Any,
  rng: np.random.Generator | None,
) -> tuple[list[np.ndarray], int | None]:
  """Rotate by quarters with `config.rotate90`; the label says by how many."""
  if not config.rotate90:
    return pictures, label
  if rng is not None:
    label = rng.integers(4)
    if config.flip and rng.random() < 0.5:
      # Before: it makes a quarter of three quarters.
      pictures = [picture[:, ::-1] for picture in pictures]
  return [np.ascontiguousarray(np.rot90(p, label)) for p in pictures], label


def _tone_and_fit(
  pictures: list[np.ndarray],
  record: Mapping[str, Any],
  config: Any,
  rng: np.random.Generator | None,
  masks: Sequence[str],
  view: np.ndarray | None,
) -> dict[str, Any]:
  """Set the tone and bring pictures, and marks, to the net's size."""
  lut = intensity.tone_lut(
    _film_pixels(pictures, record),
    rng,
    percentiles=config.percentiles,
    brightness=config.brightness,
    contrast=config.contrast,
    gamma=config.gamma,
  )
  for box, grey in record.get('holes', ()):  # the tone stays the whole film's
    pictures = [intensity.erase(picture, box, grey) for picture in pictures]
  name, marks = 'regions' if 'regions' in record else 'image', {}
  if name == 'regions':
    seen = fitting.fit_regions(pictures, config, rng, view)
  else:
    (film,) = pictures
    marks = marks_lib.of_film(record, masks, config.points, film.shape)
    flip = config.flip and not config.rotate90
    seen, marks = fitting.fit(film, config, rng, view, flip, marks=marks)
  if isinstance(seen, dict):  # the device does the rest
    return seen | {'greys': lut} | marks
  rows = seen.reshape(-1, seen.shape[-1])  # to OpenCV a third axis is colour
  return {name: cv2.LUT(rows, lut).reshape(*seen.shape, 1)} | marks


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


def decode(record: Mapping[str, Any], polarity: str = 'keep') -> np.ndarray:
  """Decode the image of a record; an error names the film.

  Args:
    record: of a whole film.
    polarity: 'invert' where the archive has dark bones, which are then bright.
  """
  return bright(_decode(record['image'], record), polarity)


def bright(image: np.ndarray, polarity: str) -> np.ndarray:
  """Return a film with bright bones; undo it by the same.

  Raises:
    ValueError: another polarity than 'keep' or 'invert'.
  """
  if polarity not in ('keep', 'invert'):
    raise ValueError(f"Expected polarity 'keep' or 'invert', got {polarity!r}")
  return 255 - image if polarity == 'invert' else image


def _decode(data: bytes, record: Mapping[str, Any]) -> np.ndarray:
  try:
    return codec.decode_stored(data)
  except ValueError as error:
    raise ValueError(f'Film {record["id"]}: {error}') from error


def _pictures(
  record: Mapping[str, Any], name: str, polarity: str
) -> list[np.ndarray]:
  """Return a record's film, or its crops, bones bright."""
  files = record[name] if name == 'regions' else [record[name]]
  return [bright(_decode(data, record), polarity) for data in files]


def _film_pixels(
  pictures: Sequence[np.ndarray], record: Mapping[str, Any]
) -> np.ndarray:
  """Return the one picture, or the film's pixels in the crops, uint8 [N].

  Crops may reach over the film's edge, and what lies beyond is not of it.
  """
  if 'film_in_crops' in record:
    pictures = [
      picture[
        _centres(y0, y1, len(picture)), _centres(x0, x1, picture.shape[1])
      ]
      for picture, (x0, y0, x1, y1) in zip(
        pictures, record['film_in_crops'], strict=True
      )
    ]
  elif 'black_outside' in record:
    inside = [picture[picture > 0] for picture in pictures]
    pictures = inside if any(map(len, inside)) else pictures
  if len(pictures) == 1:
    return np.ascontiguousarray(pictures[0])
  return np.concatenate([picture.ravel() for picture in pictures])


def _centres(low: float, high: float, count: int) -> slice:
  """Return the pixels whose centres lie between two fractions of a side."""
  return slice(round(low * count), max(round(high * count), 1))


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
