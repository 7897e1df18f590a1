"""The `locate` job: an age net's heat maps -> boxes and crops of every film.

The net looks at the whole film; its hottest component is the first region. That
rectangle is painted over in the original film and the same net looks again: the
hottest component is now the second region (Li 2023). Or every region has a
stage and a net of its own (Chen 2020). Crops are cut from the original film, at
its full resolution.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import dataclasses
import json
import os
from typing import Any

import cv2
import numpy as np
import tqdm

from boneage_jax import boxes
from boneage_jax import crop_writer
from boneage_jax import examples
from boneage_jax import files
from boneage_jax import input_pipeline
from boneage_jax import processes
from boneage_jax import region_metrics
from boneage_jax import transforms

PredictMaps = Callable[[np.ndarray, np.ndarray], Any]
AHEAD = 2  # batches decoded while one is worked on


@dataclasses.dataclass
class Film:
  """One film on its way through the job.

  Attributes:
    id: of the film.
    male: 1 male, 0 female, 0.5 unknown.
    image: uint8 [H, W], bones bright.
    annotations: dict of annotations.load, {} without any.
    regions: what was found so far.
    maps: one [h, w] float32 per region, maximum 1, in net-input geometry.
    turned: degrees, counter-clockwise, by which it lay before it was turned.
    frame: where it lay in its frame, before it was turned; see `boxes`.
    doubts: why not to trust its age: 'polarity', as its bones are not as those
      of the run's films, 'detail', as it is too blurred or small for the net.
  """

  id: int
  male: float
  image: np.ndarray
  annotations: dict[str, Any]
  regions: dict[str, boxes.Region] = dataclasses.field(default_factory=dict)
  maps: list[np.ndarray] = dataclasses.field(default_factory=list)
  turned: int = 0
  frame: tuple[float, float, float, float] = boxes.WHOLE_FILM
  doubts: list[str] = dataclasses.field(default_factory=list)


def load_film(record: Mapping[str, Any], input_config: Any) -> Film:
  """Decode a record of `input_pipeline.film_source`."""
  image = examples.decode(record)
  if input_config.polarity == 'invert':
    image = 255 - image
  text = record.get('annotations') or '{}'
  text = text.decode() if isinstance(text, bytes) else str(text)
  return Film(
    id=int(record['id']),
    male=float(record['male']),
    image=image,
    annotations=json.loads(text),
    turned=record.get('turned', 0),
    frame=record.get('frame', boxes.WHOLE_FILM),
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
    predict_maps: images uint8 [B, S, S, 1] and male float32 [B] -> heat maps
      [B, h, w]; always called with B = options.batch_size, padded.
    films: fresh from `load_film`.
    input_config: of the net's training: size, resize, percentiles.
    options: of the job; see `locate`. Regions that films have stay theirs.
    apply: `map`, or that of a thread pool.
  """
  for field in ('threshold', 'minimum_side'):
    if len(options[field]) != len(options.regions):
      raise ValueError(
        f'expected one {field} for each of {tuple(options.regions)}, got '
        f'{tuple(options[field])}'
      )
  size = (input_config.size, input_config.size)
  male = np.full(options.batch_size, 0.5, np.float32)
  male[: len(films)] = [film.male for film in films]
  sides = options.minimum_side
  steps = zip(options.regions, options.threshold, sides, strict=True)
  for name, threshold, side in steps:
    images = np.zeros((options.batch_size, *size, 1), np.uint8)
    views = apply(lambda film: _view(film, input_config, options), films)
    for row, view in zip(images, views, strict=False):
      row[..., 0] = view
    maps = np.asarray(predict_maps(images, male), np.float32)

    def add(film, heat, name=name, threshold=threshold, side=side):
      matrix = _matrix(film, input_config)
      film.regions[name] = boxes.box_from_map(
        transforms.unwarp(heat, matrix, size, film.image.shape),
        threshold,
        options.component,
        margin=options.margin,
        minimum_side=side,
        smooth=options.smooth,
      )
      peak = heat.max()  # kept as float16, where gradients would underflow
      film.maps.append(heat / peak if peak > 0 else heat)

    list(apply(add, films, maps[: len(films)]))


def cut_crops(film: Film, input_config: Any, options: Any) -> np.ndarray:
  """Cut each picture from the unpainted film, squashed to a square.

  Args:
    film: with its regions.
    input_config: its polarity is undone, so crops are as grey as the archive.
    options: crop_size, the side a net will see, and crop_margin, the share of
      the side kept beyond the box all round for augmentation; see `crop_names`.

  Returns:
    uint8 [R, S, S], S of `crop_side`; the outside of the film is black to the
    net.
  """
  side = crop_side(options)
  crops = []
  for name in crop_names(options):
    image, box = film.image, boxes.WHOLE_FILM
    if name == 'erased':
      image = _erased(film, options.erase, options.fill)
    elif name != 'film':
      box = film.regions[name].box
    box = boxes.expand(box, options.crop_margin)
    matrix = transforms.fit_matrix(image.shape, (side, side), 'squash', box=box)
    crops.append(transforms.warp(image, matrix, (side, side)))
  crops = np.stack(crops)
  return 255 - crops if input_config.polarity == 'invert' else crops


def crop_names(options: Any) -> tuple[str, ...]:
  """Name the pictures: regions, 'film', or 'erased', it without `erase`."""
  return tuple(options.get('crops', options.regions))


def crop_side(options: Any) -> int:
  """Return the side of stored crops, in pixels finer than those of the net."""
  side = options.crop_size * (1 + 2 * options.crop_margin)
  return round(side / transforms.SAMPLED)


def locate(
  predict_maps: PredictMaps,
  source: Any,
  films: input_pipeline.Films,
  folder: str,
  input_config: Any,
  options: Any,
  before: Mapping[int, Mapping[str, boxes.Region]] | None = None,
  log: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Find and cut the regions of every film; done.json is written last.

  A killed job starts over and ends with the same files. Each process works on
  its share of the batches, then the lead puts the parts together.

  Args:
    predict_maps: see `find_regions`.
    source: `input_pipeline.film_source` of `films`.
    films: columns of `films.csv`.
    folder: gets regions.csv, maps.npz, crops.array_record, films.csv,
      coverage.json and done.json.
    input_config: of the net's training: size, resize, percentiles, polarity.
    options: regions (names), threshold and minimum_side (one each),
      component, margin, smooth (see boxes.box_from_map), fill (see
      boxes.holes), crop_size, crop_margin, batch_size; and optionally erase,
      names of regions of `before` to paint over as well, and crops (see
      `crop_names`; () cuts none), by default the regions.
    before: film id -> regions that were found before; they are written too.
    log: takes a line of text.

  Returns:
    The contents of done.json, in the lead process.
  """
  path = lambda name: os.path.join(folder, name)
  numbers, size = range(len(source)), options.batch_size
  batches = processes.share([numbers[i : i + size] for i in numbers[::size]])
  rows, maps, annotations = [], [], []

  def clear() -> None:
    files.make_folder(folder)
    for name in ('done.json', 'crops.array_record.*'):
      for stale in files.glob(path(name)):
        files.remove(stale)

  def crops(pool: futures.Executor) -> Iterator[np.ndarray]:
    cut = lambda film: cut_crops(film, input_config, options)

    def load(index: int) -> Film:
      film = load_film(source[index], input_config)
      film.regions |= (before or {}).get(film.id, {})
      return film

    progress = tqdm.tqdm(
      total=sum(map(len, batches)),
      desc='locate',
      unit='film',
      disable=not processes.is_lead() or None,
    )
    with progress:
      for batch in _decoded(pool, load, batches):
        find_regions(predict_maps, batch, input_config, options, pool.map)
        for film in batch:
          rows.extend((film.id, *found) for found in film.regions.items())
          maps.append(np.stack(film.maps).astype(np.float16))
          hw = {'hw': film.image.shape}
          annotations.append((film.id, film.annotations | hw))
        yield from pool.map(cut, batch if crop_names(options) else ())
        progress.update(len(batch))

  def write() -> dict[str, Any]:
    input_pipeline.write_films(path('films.csv'), films)
    boxes.write_regions(path('regions.csv'), rows)
    with files.replacing(path('maps.npz'), 'wb') as file:
      np.savez_compressed(
        file,
        id=films['id'],
        maps=np.stack(maps),
        geometry=input_config.resize,
      )
    found = boxes.read_regions(path('regions.csv'))
    coverage = _coverage(found, dict(annotations), films)
    files.write_json(path('coverage.json'), coverage, indent=2)
    done = boxes.summary(found, options.regions) | {
      'crops': list(crop_names(options)),
      'crop_size': options.crop_size,
      'crop_margin': options.crop_margin,
      'crop_side': crop_side(options),
    }
    for name, share in done['found'].items():
      log(
        f'{name}: found in {share:.1%} of {len(found)} films, '
        f'{done["not_found"][name]} kept whole, median area '
        f'{done["median_area"][name]:.1%} of the film'
      )
    files.write_json(path('done.json'), done, indent=2)
    return done

  processes.on_lead(clear)
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    if crop_names(options):
      crop_writer.write(path('crops.array_record'), crops(pool))
    else:
      collections.deque(crops(pool), 0)
  rows, maps, annotations = map(processes.gather, (rows, maps, annotations))
  return processes.on_lead(write)


def _matrix(film: Film, input_config: Any) -> np.ndarray:
  size = (input_config.size, input_config.size)
  return transforms.fit_matrix(film.image.shape, size, input_config.resize)


def _erased(film: Film, names: Iterable[str], fill: str) -> np.ndarray:
  """Return the film with those of its regions painted over."""
  image = film.image
  for box, grey in boxes.holes(film.regions, names, fill, film.id):
    image = transforms.erase(image, box, grey)
  return image


def _view(film: Film, input_config: Any, options: Any) -> np.ndarray:
  """Return the net's input, with the regions found so far painted over."""
  names = (*options.regions, *options.get('erase', ()))
  image = _erased(film, names, options.fill)
  size = (input_config.size, input_config.size)
  # The tone is the whole film's: painting must not move the percentiles.
  lut = transforms.tone_lut(film.image, percentiles=input_config.percentiles)
  view = transforms.warp(image, _matrix(film, input_config), size)
  return cv2.LUT(view, lut)


def _decoded(
  pool: futures.Executor,
  load: Callable[[int], Film],
  batches: Iterable[Iterable[int]],
) -> Iterator[list[Film]]:
  """Yield batches of films, AHEAD of them decoded in advance."""
  pending = collections.deque()
  for indices in batches:
    pending.append([pool.submit(load, index) for index in indices])
    if len(pending) > AHEAD:
      yield [future.result() for future in pending.popleft()]
  while pending:
    yield [future.result() for future in pending.popleft()]


def _coverage(
  found: Mapping[int, Mapping[str, boxes.Region]],
  annotations: Mapping[int, Mapping[str, Any]],
  films: input_pipeline.Films,
) -> dict[str, Any]:
  coverage = {}
  for split in ('all', *input_pipeline.SPLITS):
    ids = films['id']
    if split != 'all':
      ids = ids[films['split'] == split]
    chosen = {film: found[film] for film in ids.tolist()}
    coverage[split] = region_metrics.region_coverage(chosen, annotations)
  return coverage
