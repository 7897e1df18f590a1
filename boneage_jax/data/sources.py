"""Random access to the records of films: whole ones and stored crops.

Grain and TFDS are imported where records are opened, see `records`: they have
no wheels for Windows, where new films can be predicted all the same.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
import types
from typing import Any

import numpy as np

from boneage_jax.core import scalars
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import crops
from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import records
from boneage_jax.imaging import boxes
from boneage_jax.imaging import masks
from boneage_jax.imaging import points


def build_info(folder: str) -> dict[str, Any]:
  """build.json of a prepared data set."""
  path = os.path.join(folder, 'build.json')
  return storage.read_json(path, keys=('name', 'films', 'splits', 'notes'))


def prepared_folder(workdir: str, builder_config: str) -> str:
  """Folder of the prepared data set, on this host.

  Raises:
    ValueError: the `prepare` stage has not run, or its data are gone.
  """
  path = stages.path(workdir, stages.PREPARE, stages.DONE)
  if not storage.exists(path):
    raise ValueError(
      f"{path} is missing: run the 'prepare' stage first, e.g. "
      '--config.stages=prepare.'
    )
  folders = storage.read_json(path, keys=('folders',))['folders']
  if builder_config not in folders:
    raise ValueError(
      f'The data were prepared as {sorted(folders)}, not as '
      f"{builder_config!r}; remove {path} and run the 'prepare' stage again."
    )
  folder = folders[builder_config]
  if not storage.exists(os.path.join(folder, 'build.json')):
    raise ValueError(
      f'The prepared data set {folder} is gone; remove {path} and run the '
      "'prepare' stage again."
    )
  return storage.local(folder)


def whole_films(
  config: Any,
  workdir: str,
  builder_config: str,
  films: dict[str, np.ndarray],
  rotations: Mapping[str, int],
  holes: Mapping[str, Any] | None = None,
  masks_of: Mapping[str, Any] = types.MappingProxyType({}),
) -> Any:
  """Random access to whole films as this run reads them.

  Args:
    config: of the run; says whether borders are cropped.
    workdir: of the run.
    builder_config: of the films.
    films: rows of `split_films`.
    rotations: of `selection.film_rotations`.
    holes, masks_of: see `sources.film_source`.
  """
  folder = prepared_folder(workdir, builder_config)
  cut = config.data.crop_borders
  return film_source(folder, films, holes, rotations, cut, masks_of)


def load_films(folder: str) -> film_table.Films:
  """List the films of a prepared data set.

  The first call reads every record; the list is kept in films.csv there.

  Returns:
    id, age (months), sex, split (the archive's), position (of the record,
    over the archive's splits in the builder's order), study, finding and marks;
    of `scalars.SCALARS` those that any film has, NaN where it is not known.
  """
  path = os.path.join(folder, stages.FILMS)
  if not storage.exists(path):
    builder, films_in = records.of_data_set(folder)
    rows, known = [], []
    for r in films_in:
      marks = json.loads(r['annotations'].decode() or '{}')
      film, finding = r['id'].decode(), marks.get('finding', '')
      study = marks.get('study', film)
      drawn = ' '.join(masks.kinds(marks) + points.marked(marks))
      rows.append((film, r['male'], r['age'], study, finding, drawn))
      known.append(scalars.of(marks))
    columns = (np.array(column) for column in zip(*rows, strict=True))
    ids, male, age, study, finding, drawn = columns
    sizes = [split.num_examples for split in builder.info.splits.values()]
    films = {
      'id': ids,
      'split': np.repeat(list(builder.info.splits), sizes),
      'sex': np.where(male, 1, -1),
      'age': age,
      'position': np.arange(len(ids)),
      'study': study,
      'finding': finding,
      'marks': drawn,
    }
    for name in scalars.of({name: 0 for one in known for name in one}):
      films[name] = np.array([one.get(name, np.nan) for one in known])
    film_table.write_films(path, films)
  return film_table.read_films(path)


# Sources: item i is the undecoded record of film i.


class Source:
  """Random access to the records of a table of films."""

  def __init__(
    self, films: film_table.Films, read: Callable[[int], dict[str, Any]]
  ):
    self._films = films
    self._read = read

  def __len__(self) -> int:
    return len(self._films['id'])

  def __getitem__(self, index: int) -> dict[str, Any]:
    names = ('id', 'age', 'sex', 'label', *scalars.SCALARS)
    film = {n: self._films[n][index] for n in names if n in self._films}
    row = {'row': self._films['position'][index]}
    return film | row | self._read(index)


def film_source(
  folder: str,
  films: film_table.Films,
  holes: Mapping[str, Any] | None = None,
  rotations: Mapping[str, int] = types.MappingProxyType({}),
  crop_borders: bool = False,
  masks_of: Mapping[str, Any] = types.MappingProxyType({}),
) -> Source:
  """Open whole films: `image` (bytes), id, age, sex, annotations (JSON).

  With `holes`, film id -> what `boxes.holes` gives, also these. Films in
  `rotations`, film id -> quarters, are turned back, see
  `preprocess.rotate_back`, and with `crop_borders` all have lost their borders
  before, see `borders`. Those in `masks_of`, film id -> film_masks.FilmMask,
  have theirs as `film_mask`.
  """
  _, stored = records.of_data_set(folder)
  positions = films['position'].tolist()

  def read(index: int) -> dict[str, Any]:
    record = stored[positions[index]]
    film = str(films['id'][index])
    made = {
      'id': film,
      'image': record['image'],
      'annotations': record['annotations'].decode(),
    }
    if crop_borders:
      made = preprocess.without_border(made)
    made = preprocess.rotate_back(made, rotations.get(film, 0))
    if film in masks_of:
      made['film_mask'] = masks_of[film]
    return made | ({'holes': holes[film]} if holes else {})

  return Source(films, read)


def crop_source(
  stage_folder: str, films: film_table.Films, take: Sequence[int] = ()
) -> Source:
  """Open the stored crops of films: `regions` (image files), id, age, sex.

  `film_in_crops` says where the film lies in each, where the stage tells, or
  `black_outside` that it is where the crop is not 0. With `take`, positions of
  the crops to use of each film's, these alone.
  """
  path = os.path.join(stage_folder, stages.FILMS)
  stored = film_table.read_films(path)['id'].tolist()
  where = {film: position for position, film in enumerate(stored)}
  missing = [film for film in films['id'].tolist() if film not in where]
  path = os.path.join(stage_folder, stages.CROPS)
  cut = records.of_stage(path)
  if missing or len(cut) != len(stored):
    raise ValueError(
      f'Expected crops of {len(films["id"])} films in {path}, got '
      f'{len(cut)} records for {len(stored)} films, {len(missing)} '
      f'missing, such as {missing[:5]}; remove {stages.DONE} beside it and run '
      'again.'
    )
  positions = [where[film] for film in films['id'].tolist()]
  path = os.path.join(stage_folder, stages.DONE)
  done = storage.read_json(path) if storage.exists(path) else {}
  black = {'black_outside': True} if done.get('black_outside') else {}
  films_within = {}
  if done and not black:
    with storage.naming(path):
      films_within = _film_in_crops(stage_folder, done)

  def read(index: int) -> dict[str, Any]:
    files = crops.unpack(cut[positions[index]])
    found = {'regions': files}
    if films_within:
      found['film_in_crops'] = films_within[films['id'][index]]
    if take:
      found = {name: [of[i] for i in take] for name, of in found.items()}
    return found | black

  return Source(films, read)


def _film_in_crops(
  stage_folder: str, done: Mapping[str, Any]
) -> dict[str, list[tuple[float, float, float, float]]]:
  """Return by film where it lies in its crops."""
  regions = boxes.read_regions(os.path.join(stage_folder, stages.REGIONS))
  return {
    film: [
      boxes.film_within(boxes.crop_box(found, name, done['crop_margin']))
      for name in done['crops']
    ]
    for film, found in regions.items()
  }
