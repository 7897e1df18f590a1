"""A contact sheet of training samples: films, net inputs, augmented inputs."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

import jax
import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import device_augment
from boneage_jax.data import film_table
from boneage_jax.data import groups
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import boxes as boxes_lib
from boneage_jax.imaging import geometry
from boneage_jax.imaging import masks as masks_lib
from boneage_jax.imaging import overlay

FILMS, DRAWS = 6, 3  # rows of a sheet, and augmented inputs of each film
HEIGHT = 220  # pixels of a picture


def write(
  config: Any,
  stage: str,
  workdir: str,
  films: film_table.Films,
  masks: Sequence[str] = (),
  count: int = FILMS,
) -> str:
  """Write samples.jpg of a stage, what its net is trained on.

  A row is a film: with what readers marked on it and the boxes that its crops
  come from, as the net sees it, and DRAWS times augmented. The age in months
  and the sex stand below. A stage that reads features gets no sheet.

  Args:
    config, stage, workdir: of the run.
    films: that train.
    masks: kinds of masks that guide the attention.
    count: films of the sheet, those that come first.

  Returns:
    path of the sheet, '' without one.
  """
  if config[stage].input.get('features_from'):
    return ''
  some = film_table.select(films, np.arange(min(count, len(films['id']))))
  source = selection.stage_source(config, stage, workdir, some)
  reads = stages.Stage(config, stage, workdir).whole_film_stage()
  whole, polarity = _whole_films(reads, some), reads.section.input.polarity
  found = _regions(config, stage, workdir)
  cells = []
  for index in range(len(source)):
    record, seed = source[index], config.seed + config[stage].seed
    name = str(some['id'][index])
    cells.append(film_cell(whole[index], found.get(name, {}), polarity))
    for draw in range(1 + DRAWS):
      rng = np.random.default_rng((seed, index, draw)) if draw else None
      cells.append(sample_cell(record, config[stage].input, rng, masks))
  path = stages.path(workdir, stage, stages.SAMPLES)
  with storage.replacing(path, 'wb') as file:
    file.write(overlay.jpeg(overlay.sheet(cells, 2 + DRAWS)))
  return path


def film_cell(
  record: Mapping[str, Any],
  regions: Mapping[str, boxes_lib.Region],
  polarity: str = 'keep',
) -> np.ndarray:
  """Draw a film with its outline, points and boxes, uint8 RGB [H, W, 3].

  Args:
    record: of the whole film.
    regions: that a stage found, by name; in their place those of readers.
    polarity: of the films, see `preprocess.decode`.
  """
  film = preprocess.decode(record, polarity)
  marks = json.loads(record.get('annotations') or '{}')
  drawn = {'hand': marks['hand_box']} if 'hand_box' in marks else {}
  drawn |= {str(k): box for k, (*_, box) in enumerate(marks.get('boxes', ()))}
  regions = regions or {name: (box, 1.0, True) for name, box in drawn.items()}
  picture = overlay.overlay(film, regions=regions, height=HEIGHT)
  mask = masks_lib.draw(marks, masks_lib.KINDS[:1], film.shape)
  points = np.array(marks['keypoints']) if 'keypoints' in marks else None
  picture = overlay.draw_hand(picture, mask, points)
  sex = groups.sex_text(np.array([record['sex']]))[0]
  text = f'{record["id"]}: {record["age"]:.0f} months, {sex}'
  return overlay.captioned(picture, text)


def sample_cell(
  record: Mapping[str, Any],
  options: Any,
  rng: np.random.Generator | None,
  masks: Sequence[str],
) -> np.ndarray:
  """Draw what the net gets of a film, uint8 RGB [H, W, 3].

  Args:
    record: of the film.
    options: how films become net inputs.
    rng: augments; None does not.
    masks: kinds of masks that guide the attention.
  """
  example = preprocess.make_example(record, options, rng, masks)
  one = {
    name: np.asarray(value)[None]
    for name, value in example.items()
    if np.asarray(value).dtype.kind in 'biuf'
  }
  one = jax.tree.map(np.asarray, device_augment.finish(one))
  seen = one['regions'][0] if 'regions' in one else one['image']
  pictures = [_enlarged(picture[..., 0]) for picture in seen]
  if 'image' in one:
    mask, points = one.get('region_mask'), one.get('points')
    inside = None if mask is None else 255 * (mask[0] == masks_lib.INSIDE)
    pictures[0] = overlay.draw_hand(
      pictures[0],
      None if inside is None else inside.astype(np.uint8),
      None if points is None else (points[0] + 1) / 2,
    )
  text = 'augmented' if rng is not None else 'as it is'
  if 'label' in one:
    text += f', label {one["label"][0]}'
  if not one['sex'][0] and record['sex']:
    text += ', sex hidden'
  return overlay.captioned(np.concatenate(pictures, axis=1), text)


def _enlarged(image: np.ndarray) -> np.ndarray:
  """Return a net's input at HEIGHT, its greys as the net gets them, RGB."""
  size_hw = (HEIGHT, max(1, round(image.shape[1] * HEIGHT / image.shape[0])))
  matrix = geometry.fit_matrix(image.shape, size_hw)
  return np.repeat(geometry.warp(image, matrix, size_hw)[..., None], 3, -1)


def _whole_films(reads: stages.Stage, films: film_table.Films) -> Any:
  """Return random access to films, as the stage that reads whole ones does."""
  name, workdir = reads.section.input.builder_config, reads.workdir
  known = sources.load_films(sources.prepared_folder(workdir, name))
  place = {film: k for k, film in enumerate(known['id'].tolist())}
  rows = np.array([place[film] for film in films['id'].tolist()])
  rotations = selection.film_rotations(workdir, reads.orientation())
  return sources.whole_films(
    reads.config, workdir, name, film_table.select(known, rows), rotations
  )


def _regions(
  config: Any, stage: str, workdir: str
) -> dict[str, dict[str, boxes_lib.Region]]:
  """Return the boxes by film that a stage's crops come from."""
  source = config[stage].input.crops_from or config[stage].input.erase_from
  path = stages.path(workdir, source, stages.REGIONS)
  if not source or not storage.exists(path):
    return {}
  return boxes_lib.read_regions(path)
