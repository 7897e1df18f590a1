"""The `locate` job: an age net's heat maps to boxes and crops of every film."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent import futures
import dataclasses
import os
from typing import Any

import jax
import numpy as np
import tqdm

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import crops as crops_lib
from boneage_jax.data import film_table
from boneage_jax.data import input_pipeline
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.imaging import boxes
from boneage_jax.regions import coverage as coverage_lib
from boneage_jax.regions import gradcam
from boneage_jax.regions import localize
from boneage_jax.training import restore

AHEAD = 2  # batches decoded while one is worked on


def locate_films(
  predict_maps: localize.PredictMaps,
  source: Any,
  films: film_table.Films,
  folder: str,
  input_config: Any,
  options: Any,
  before: Mapping[str, Mapping[str, boxes.Region]] | None = None,
  log: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Find and cut the regions of every film; done.json is written last.

  A killed job starts over and ends with the same files. Each process works on
  its share of the batches, then process 0 puts the parts together.

  Args:
    predict_maps: see `find_regions`.
    source: `sources.film_source` of `films`.
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
    The contents of done.json, in process 0.
  """
  distributed.on_main_process(lambda: clear(folder))
  findings = Findings()
  path = os.path.join(folder, stages.CROPS)
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    located = _located(
      pool, predict_maps, source, input_config, options, before or {}
    )
    crops = _cut(pool, located, findings, input_config, options)
    if localize.crop_names(options):
      crops_lib.write(path, crops)
    else:
      collections.deque(crops, 0)
  findings = findings.of_all_processes()
  return distributed.on_main_process(
    lambda: _write(folder, findings, films, input_config, options, log)
  )


@dataclasses.dataclass
class Findings:
  """What was found of the films of this process, in their order.

  Attributes:
    rows: film id, region name and `boxes.Region`.
    maps: [R, h, w] float16 of each film.
    annotations: film id, and its annotations with `hw`, its size.
  """

  rows: list = dataclasses.field(default_factory=list)
  maps: list = dataclasses.field(default_factory=list)
  annotations: list = dataclasses.field(default_factory=list)

  def add(self, film: localize.Film) -> None:
    """Take what was found of a film."""
    self.rows.extend((film.id, *found) for found in film.regions.items())
    self.maps.append(np.stack(film.maps).astype(np.float16))
    marks = film.annotations | {'hw': film.image.shape}
    self.annotations.append((film.id, marks))

  def of_all_processes(self) -> 'Findings':
    """Join those of all processes, in their order."""
    parts = (self.rows, self.maps, self.annotations)
    return Findings(*map(distributed.all_gather_objects, parts))


def clear(folder: str) -> None:
  """Remove what a killed job left behind."""
  storage.make_folder(folder)
  for name in (stages.DONE, f'{stages.CROPS}.*'):
    for stale in storage.glob(folder, name):
      storage.remove(stale)


def _located(
  pool: futures.Executor,
  predict_maps: localize.PredictMaps,
  source: Any,
  input_config: Any,
  options: Any,
  before: Mapping[str, Mapping[str, boxes.Region]],
) -> Iterator[list[localize.Film]]:
  """Yield this process's films with their regions, a batch at a time."""

  def load(index: int) -> localize.Film:
    film = localize.load_film(source[index], input_config)
    film.regions |= before.get(film.id, {})
    return film

  films = films_of_process(
    pool, load, len(source), options.batch_size, 'locate'
  )
  for batch in films:
    localize.find_regions(predict_maps, batch, input_config, options, pool.map)
    yield batch


def films_of_process(
  pool: futures.Executor,
  load: Callable[[int], localize.Film],
  count: int,
  batch_size: int,
  desc: str,
) -> Iterator[list[localize.Film]]:
  """Yield the films of this process in batches, with a bar of progress.

  Args:
    pool: whose threads read ahead.
    load: index of a film -> the film.
    count: of the films of all processes.
    batch_size: films at a time.
    desc: what the bar says.
  """
  starts = range(0, count, batch_size)
  batches = distributed.shard(
    [range(i, min(i + batch_size, count)) for i in starts]
  )
  progress = tqdm.tqdm(
    total=sum(map(len, batches)),
    desc=desc,
    unit='film',
    disable=not distributed.is_main_process() or None,
  )
  with progress:
    for batch in _decoded(pool, load, batches):
      yield batch
      progress.update(len(batch))


def _cut(
  pool: futures.Executor,
  located: Iterable[list[localize.Film]],
  findings: Findings,
  input_config: Any,
  options: Any,
) -> Iterator[list[np.ndarray]]:
  """Keep what was found, and yield the crops of each film, if any."""
  cut = lambda film: localize.cut_crops(film, input_config, options)
  for batch in located:
    for film in batch:
      findings.add(film)
    yield from pool.map(cut, batch if localize.crop_names(options) else ())


def _write(
  folder: str,
  findings: Findings,
  films: film_table.Films,
  input_config: Any,
  options: Any,
  log: Callable[[str], None],
) -> dict[str, Any]:
  """Write the files of the stage, done.json last; return its content."""
  path = lambda name: os.path.join(folder, name)
  film_table.write_films(path(stages.FILMS), films)
  boxes.write_regions(path(stages.REGIONS), findings.rows)
  with storage.replacing(path(stages.MAPS), 'wb') as file:
    np.savez_compressed(
      file,
      id=films['id'],
      maps=np.stack(findings.maps),
      geometry=input_config.resize,
    )
  found = boxes.read_regions(path(stages.REGIONS))
  coverage = _coverage(found, dict(findings.annotations), films)
  storage.write_json(path(stages.COVERAGE), coverage, indent=2)
  done = boxes.summary(found, options.regions) | {
    'crops': list(localize.crop_names(options)),
    'crop_size': options.crop_size,
    'crop_margin': options.crop_margin,
    'crop_hw': list(localize.crop_hw(options)),
  }
  for name, share in done['found'].items():
    log(
      f'{name}: found in {share:.1%} of {len(found)} films, '
      f'{done["not_found"][name]} kept whole, median area '
      f'{done["median_area"][name]:.1%} of the film'
    )
  storage.write_json(path(stages.DONE), done, indent=2)
  return done


def _decoded(
  pool: futures.Executor,
  load: Callable[[int], localize.Film],
  batches: Iterable[Iterable[int]],
) -> Iterator[list[localize.Film]]:
  """Yield batches of films, AHEAD of them decoded in advance."""
  pending = collections.deque()
  for indices in batches:
    pending.append([pool.submit(load, index) for index in indices])
    if len(pending) > AHEAD:
      yield [future.result() for future in pending.popleft()]
  while pending:
    yield [future.result() for future in pending.popleft()]


def _coverage(
  found: Mapping[str, Mapping[str, boxes.Region]],
  annotations: Mapping[str, Mapping[str, Any]],
  films: film_table.Films,
) -> dict[str, Any]:
  coverage = {}
  for split in ('all', *splits.SPLITS):
    ids = films['id']
    if split != 'all':
      ids = ids[films['split'] == split]
    chosen = {film: found[film] for film in ids.tolist()}
    coverage[split] = coverage_lib.region_coverage(chosen, annotations)
  return coverage


def locate(config: Any, stage: str, workdir: str) -> None:
  """Find and cut the regions of every film with a trained age net."""
  section = config[stage]
  before = None
  if section.get('previous'):
    before = selection.found_regions(workdir, section.previous)
  graph, variables = restore.load_net(config, section.localizer, workdir)
  films, _ = selection.split_films(
    config, workdir, section.input.builder_config
  )
  rotations = selection.film_rotations(
    workdir, stages.Stage(config, stage, workdir).orientation()
  )
  # Each process works on its own films, with its own devices.
  mesh = distributed.make_mesh(jax.local_devices())
  variables = jax.device_put(
    jax.tree.map(lambda x: x.addressable_data(0), variables),
    distributed.replicated(mesh),
  )
  maps = gradcam.make_maps(graph, variables, section)

  def predict_maps(image, inputs):
    placed = input_pipeline.to_device({'image': image, **inputs}, mesh)
    return maps(placed.pop('image'), placed)

  locate_films(
    predict_maps,
    sources.whole_films(
      config, workdir, section.input.builder_config, films, rotations
    ),
    films,
    stages.path(workdir, stage),
    config[section.localizer].input,
    section,
    before,
  )
