"""The `locate` job: an age net's heat maps -> boxes and crops of every film.

The net looks at the whole film; its hottest component is the first region. That
rectangle is painted over in the original film and the same net looks again: the
hottest component is now the second region (Li 2023). Or every region has a
stage and a net of its own (Chen 2020). Crops are cut from the original film, at
its full resolution.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

import cv2
import numpy as np

from boneage_jax.core import scalars
from boneage_jax.core import sizes
from boneage_jax.data import preprocess
from boneage_jax.imaging import boxes
from boneage_jax.imaging import geometry
from boneage_jax.imaging import intensity
from boneage_jax.regions import placement

# Pixels of a stored crop to one of the net's along each side. A crop is sampled
# twice: at 2 the second triangle is exact, and both are together as one that is
# an eighth wider than it alone.
FINER = 2

PredictMaps = Callable[[np.ndarray, dict[str, np.ndarray]], Any]


@dataclasses.dataclass
class Film:
  """One film on its way through the job.

  Attributes:
    id: of the film.
    sex: +1 male, -1 female, 0 unknown.
    image: uint8 [H, W], bones bright.
    annotations: dict of annotations.load, {} without any.
    regions: what was found so far.
    maps: one [h, w] float32 per region, maximum 1, in net-input geometry.
    rotation_deg: by how much it was rotated, counter-clockwise, before it was
      turned back.
    film_box: where it lay within its border, before that; see `boxes`.
    quality_flags: why not to trust its age; see `inference.quality`.
    resize: how the film became the input of the net behind `maps`.
    hand: how the film was registered; None where it was not.
    scalars: numbers of `scalars.SCALARS` that are known of it.
  """

  id: str
  sex: float
  image: np.ndarray
  annotations: dict[str, Any]
  regions: dict[str, boxes.Region] = dataclasses.field(default_factory=dict)
  maps: list[np.ndarray] = dataclasses.field(default_factory=list)
  rotation_deg: int = 0
  film_box: tuple[float, float, float, float] = boxes.WHOLE_FILM
  quality_flags: tuple[str, ...] = ()
  resize: str = 'squash'
  hand: placement.Hand | None = None
  scalars: dict[str, float] = dataclasses.field(default_factory=dict)


def load_film(record: Mapping[str, Any], input_config: Any) -> Film:
  """Decode a record of `sources.film_source`."""
  image = preprocess.decode(record, input_config.polarity)
  text = record.get('annotations') or '{}'
  text = text.decode() if isinstance(text, bytes) else str(text)
  return Film(
    id=str(record['id']),
    sex=float(record['sex']),
    image=image,
    annotations=json.loads(text),
    rotation_deg=record.get('rotation_deg', 0),
    film_box=record.get('film_box', boxes.WHOLE_FILM),
    scalars=scalars.of(record),
  )


def find_regions(
  predict_maps: PredictMaps,
  films: Sequence[Film],
  input_config: Any,
  options: Any,
  apply: Callable[..., Any] = map,
) -> None:
  """Fill `regions` and `maps` of at most `options.batch_size` films.

  Args:
    predict_maps: images uint8 [B, H, W, 1] and the films' inputs, each float32
      [B], by name -> heat maps [B, h, w]; always called with B =
      options.batch_size, padded.
    films: fresh from `load_film`.
    input_config: of the net's training: size, resize, percentiles.
    options: of the job; see `locate`. Regions that films have stay theirs.
    apply: `map`, or that of a thread pool.
  """
  for field in ('threshold', 'minimum_side'):
    if len(options[field]) != len(options.regions):
      raise ValueError(
        f'Expected one {field} for each of {tuple(options.regions)}, got '
        f'{tuple(options[field])}'
      )
  size = sizes.size_hw(input_config.size)
  inputs = {}
  for name in ('sex', *films[0].scalars):
    inputs[name] = np.zeros(options.batch_size, np.float32)
    for row, film in enumerate(films):
      inputs[name][row] = {'sex': film.sex, **film.scalars}[name]
  sides = options.minimum_side
  steps = zip(options.regions, options.threshold, sides, strict=True)
  for name, threshold, side in steps:
    images = np.zeros((options.batch_size, *size, 1), np.uint8)
    views = apply(lambda film: _view(film, input_config, options), films)
    for row, view in zip(images, views, strict=False):
      row[..., 0] = view
    maps = np.asarray(predict_maps(images, inputs), np.float32)

    def add(film, heat, name=name, threshold=threshold, side=side):
      film_hw, matrix = film.image.shape, _matrix(film, input_config)
      film.regions[name] = boxes.box_from_map(
        geometry.over_film(heat, matrix, size, film_hw),
        threshold,
        options.component,
        margin=options.margin,
        minimum_side=side,
        smooth=options.smooth,
        film_hw=film_hw,
      )
      peak = heat.max()  # kept as float16, where gradients would underflow
      film.maps.append(heat / peak if peak > 0 else heat)

    list(apply(add, films, maps[: len(films)]))


def cut_crops(film: Film, input_config: Any, options: Any) -> list[np.ndarray]:
  """Cut each picture from the unpainted film, squashed to one size.

  Args:
    film: with its regions.
    input_config: its polarity is undone, so crops are as grey as the archive.
    options: crop_size, the size a net will see, and crop_margin, the share of
      the sides kept beyond the box all round for augmentation; see
      `crop_names`.

  Returns:
    For each picture uint8 of `crop_hw`; the outside of the film is black to the
    net.
  """
  size = crop_hw(options)
  crops = []
  for name in crop_names(options):
    image = film.image
    if name == 'erased':
      image = _erased(film, options.erase, options.fill)
    box = boxes.crop_box(film.regions, name, options.crop_margin)
    matrix = geometry.fit_matrix(image.shape, size, 'squash', box=box)
    crop = geometry.warp(image, matrix, size)
    crops.append(255 - crop if input_config.polarity == 'invert' else crop)
  return crops


def film_in_crops(
  film: Film, options: Any
) -> list[tuple[float, float, float, float]]:
  """Return where the film lies in each of its crops, in fractions of it."""
  margin = options.crop_margin
  return [
    boxes.film_within(boxes.crop_box(film.regions, name, margin))
    for name in crop_names(options)
  ]


def crop_names(options: Any) -> tuple[str, ...]:
  """Name the pictures: regions, 'film', or 'erased', it without `erase`."""
  return tuple(options.get('crops', options.regions))


def crop_hw(options: Any) -> tuple[int, int]:
  """Return the size of stored crops, in pixels finer than those of the net."""
  scale = 1 + 2 * options.crop_margin
  height, width = sizes.size_hw(options.crop_size)
  return (
    round(height * scale * FINER),
    round(width * scale * FINER),
  )


def _matrix(film: Film, input_config: Any) -> np.ndarray:
  size = sizes.size_hw(input_config.size)
  return geometry.fit_matrix(film.image.shape, size, input_config.resize)


def _erased(film: Film, names: Iterable[str], fill: str) -> np.ndarray:
  """Return the film with those of its regions painted over."""
  image = film.image
  for box, grey in boxes.holes(film.regions, names, fill, film.id):
    image = intensity.erase(image, box, grey)
  return image


def _view(film: Film, input_config: Any, options: Any) -> np.ndarray:
  """Return the net's input, with the regions found so far painted over."""
  names = (*options.regions, *options.get('erase', ()))
  image = _erased(film, names, options.fill)
  size = sizes.size_hw(input_config.size)
  # The tone is the whole film's: painting must not move the percentiles.
  lut = intensity.tone_lut(film.image, percentiles=input_config.percentiles)
  view = geometry.warp(image, _matrix(film, input_config), size)
  return cv2.LUT(view, lut)
