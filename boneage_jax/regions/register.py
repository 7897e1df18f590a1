"""The `register` job: films on one canvas, and its regions cut from them.

A net says where three points of every hand lie; these bring the hand to one
place, size and turn (Iglovikov 2017, registration). Regions are cut from the
original film, in one resampling; what the mask leaves out is black.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from concurrent import futures
import os
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import sizes
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import crops as crops_lib
from boneage_jax.data import film_masks
from boneage_jax.data import film_table
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import mask_quality
from boneage_jax.imaging import registration
from boneage_jax.regions import job
from boneage_jax.regions import localize
from boneage_jax.regions import placement
from boneage_jax.regions import registration_errors
from boneage_jax.regions import registration_table
from boneage_jax.training import forward
from boneage_jax.training import prediction
from boneage_jax.training import restore
from boneage_jax.training import validate
from boneage_jax.training.tasks import keypoints as keypoints_task

BACKGROUNDS = ('black', 'keep')
# How a film lies, and its crops.
Worked = tuple[registration_table.Row, list[np.ndarray]]


def register(config: Any, stage: str, workdir: str) -> None:
  """Register every film by a trained net of key points; cut its regions."""
  section = config[stage]
  films, _ = selection.split_films(
    config, workdir, section.input.builder_config
  )
  masks = {}
  if section.masks_from:
    masks = film_masks.FilmMasks(
      stages.path(workdir, section.masks_from),
      keep=lambda row: mask_quality.usable(row['reason']),
    )
  rotations = selection.film_rotations(
    workdir, stages.Stage(config, stage, workdir).orientation()
  )
  register_films(
    find_hands(config, section.keypoints, workdir, films),
    sources.whole_films(
      config, workdir, section.input.builder_config, films, rotations
    ),
    masks,
    films,
    stages.path(workdir, stage),
    config[section.keypoints].input,
    section,
  )


def find_hands(
  config: Any, stage: str, workdir: str, films: film_table.Films
) -> placement.Hands:
  """Return the points of films, as the net of `stage` says and as marked."""
  section = config[stage]
  seen, _ = selection.split_films(config, workdir, section.input.builder_config)
  order = {film: row for row, film in enumerate(seen['id'].tolist())}
  seen = film_table.select(
    seen, np.array([order[film] for film in films['id'].tolist()])
  )
  mesh = distributed.make_mesh()
  graph, variables = restore.load_net(config, stage, workdir)
  split = prediction.Split(config, stage, workdir, seen, mesh, final=True)
  rows = split.predict(
    forward.make_predict(graph, keypoints_task.reduce), variables
  )
  names = tuple(section.input.points)
  return placement.Hands(
    id=films['id'],
    split=films['split'],
    found=placement.of_net(rows, 'points', names),
    marked=placement.of_net(rows, 'points_true', names),
    film_hw=np.rint(rows['film_hw']).astype(int),
  )


def register_films(
  hands: placement.Hands,
  source: Any,
  masks: Mapping[str, film_masks.FilmMask],
  films: film_table.Films,
  folder: str,
  input_config: Any,
  options: Any,
) -> dict[str, Any]:
  """Register films and cut their regions; done.json is written last.

  A killed job starts over and ends with the same files. Each process works on
  its share of the batches, then process 0 puts the parts together.

  Args:
    hands: points of the films, in the order of `films`.
    source: `sources.film_source` of `films`.
    masks: of films, as far as there are any that can be used.
    films: columns of `films.csv`.
    folder: gets registration.csv, registration.json, points.csv,
      crops.array_record, films.csv and done.json.
    input_config: of the net of key points: polarity.
    options: regions (names), crop_size (one each), crop_margin, background,
      batch_size.

  Returns:
    The contents of done.json, in process 0.
  """
  distributed.on_main_process(lambda: job.clear(folder))
  known = placement.learn(hands, masks)
  rows: list[registration_table.Row] = []
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    crops_lib.write(
      os.path.join(folder, stages.CROPS),
      _cut(pool, hands, source, masks, known, rows, input_config, options),
    )
  rows = distributed.all_gather_objects(rows)
  return distributed.on_main_process(
    lambda: _write(folder, rows, hands, known, films, options)
  )


def _cut(
  pool: futures.Executor,
  hands: placement.Hands,
  source: Any,
  masks: Mapping[str, film_masks.FilmMask],
  known: placement.Known,
  rows: list[registration_table.Row],
  input_config: Any,
  options: Any,
) -> Iterator[list[np.ndarray]]:
  """Yield the crops of this process's films; add to `rows` how they lie."""
  found = dict(zip(hands.id.tolist(), hands.found, strict=True))
  inverted = input_config.polarity == 'invert'

  def work(
    film: localize.Film,
  ) -> Worked:
    hw, mask = film.image.shape, masks.get(film.id)
    placed, cuts = placement.place_and_cut(
      film.image,
      found[film.id],
      mask.on_film(hw) if mask else None,
      known,
      options,
    )
    # As grey as the archive: the net's polarity turns them again.
    return (film.id, hw, placed), [255 - c if inverted else c for c in cuts]

  load = lambda index: localize.load_film(source[index], input_config)
  for batch in job.films_of_process(
    pool, load, len(source), options.batch_size, 'register'
  ):
    for row, cuts in pool.map(work, batch):
      rows.append(row)
      yield cuts


def _write(
  folder: str,
  rows: list[registration_table.Row],
  hands: placement.Hands,
  known: placement.Known,
  films: film_table.Films,
  options: Any,
) -> dict[str, Any]:
  """Write the files of the stage, done.json last; return its content."""
  path = lambda name: os.path.join(folder, name)
  film_table.write_films(path(stages.FILMS), films)
  registration_table.write(path(stages.REGISTRATION), rows)
  registration_table.write_points(path(stages.POINTS), hands)
  table = registration_table.read(path(stages.REGISTRATION))
  figures = registration_errors.figures(hands, table, known)
  storage.write_json(path(stages.REGISTRATION_JSON), figures, indent=1)
  shapes = [sizes.size_hw(size) for size in options.crop_size]
  done = {
    'status': figures['splits']['all']['status'],
    'crops': list(options.regions),
    'crop_size': [list(hw) for hw in shapes],
    'crop_margin': options.crop_margin,
    'crop_hw': [
      list(placement.stored_hw(hw, options.crop_margin)) for hw in shapes
    ],
    'black_outside': True,
  }
  distributed.print_once(registration_errors.summary(figures))
  storage.write_json(path(stages.DONE), done, indent=2)
  return done


def check(stage: stages.Stage) -> None:
  """Check what registers films, before it runs.

  Raises:
    ValueError: a value that the job cannot use; names the field.
  """
  section, name, config = stage.section, stage.name, stage.config
  net, regions = config[section.keypoints], tuple(section.regions)
  validate.check_builder_config(section.input, f'{name}.input')
  validate.choose(section, name, 'background', BACKGROUNDS)
  missing = set(registration.POINTS) - set(net.input.points)
  if net.get('task') != 'keypoints' or missing:
    raise ValueError(
      f'Expected {name}.keypoints to name a stage with the task keypoints and '
      f'the points {", ".join(registration.POINTS)}, got {section.keypoints!r} '
      f'({net.get("task")}; {", ".join(net.input.points) or "no points"}).'
    )
  unknown = [one for one in regions if one not in registration.REGIONS]
  if unknown or not regions or len(set(regions)) < len(regions):
    raise ValueError(
      f'Expected {name}.regions among {", ".join(registration.REGIONS)}, each '
      f'once, got {regions}: change --config.{name}.regions.'
    )
  if len(section.crop_size) != len(regions):
    raise ValueError(
      f'Expected one {name}.crop_size, (height, width), for each of '
      f'{", ".join(regions)}, got {tuple(section.crop_size)}.'
    )
  with validate.about(name):
    for size in section.crop_size:
      sizes.size_hw(size)
  for field, least in (('batch_size', 1), ('crop_margin', 0)):
    if section[field] < least:
      raise ValueError(
        f'Expected {name}.{field} of {least} or more, got {section[field]}: '
        f'change --config.{name}.{field}.'
      )
  _check_read(stage, [stage.other(one) for one in stage.named('masks_from')])


def _check_read(stage: stages.Stage, masks: list[stages.Stage]) -> None:
  """Check that points and masks are of the films that are cut."""
  section, name = stage.section, stage.name
  if section.background == 'black' and not masks:
    raise ValueError(
      f"Expected masks for {name}.background='black', got none: name a "
      f'stage that mines masks with --config.{name}.masks_from, or set '
      f'--config.{name}.background=keep.'
    )
  for other in masks:
    if other.orientation() != stage.orientation():
      raise ValueError(
        f'Expected {other.name} and {section.keypoints} to see films turned '
        f'alike, got {other.orientation()!r} and {stage.orientation()!r}: set '
        'one input.orientation_from.'
      )
  for other in (stage.other(section.keypoints), *masks):
    seen = other.section.input.builder_config
    if stage.config.data.crop_borders and seen != section.input.builder_config:
      raise ValueError(
        f'Expected {name} to cut the films that {other.name} sees, got '
        f'{section.input.builder_config!r} and {seen!r}, which may lose other '
        'borders: give both one input.builder_config, or set '
        '--config.data.crop_borders=False.'
      )
