"""Which films a stage reads."""

from typing import Any

import numpy as np

from boneage_jax.core import ids
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import film_features
from boneage_jax.data import film_masks
from boneage_jax.data import film_table
from boneage_jax.data import groups
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.imaging import boxes

FEW_GROUPS = 30  # hands or patients; ours


def assign(config: Any, films: dict[str, np.ndarray]) -> tuple[np.ndarray, str]:
  """Split of every film as `config.data` says, and that split in words."""
  names, description = splits.assign(
    films,
    config.data.split,
    config.data.validation_fraction,
    config.data.test_fraction,
  )
  count, fold = config.data.folds, config.data.fold
  if count:
    names = splits.fold(films, names, count, fold)
    which = f'fold {fold} of {count} (from 0) validates'
    if fold < 0:
      which = f'each of {count} folds validates in turn'
    description += f'; of the films not for test, {which}'
  return names, description


def doubts(
  config: Any, films: film_table.Films, names: np.ndarray
) -> list[str]:
  """Say where a drawn split is not what its fractions promise.

  Args:
    config: of the run.
    films: as prepared, with study where hands or patients have several.
    names: of their splits, of `assign`.
  """
  said = []
  for split in splits.HELD_OUT:
    field = f'{split}_fraction'
    if config.data[field] and split not in names:
      said.append(
        f'no film is for {split}: raise --config.data.{field} (now '
        f'{config.data[field]:g}), or add films.'
      )
  drawn = config.data.split != 'chen500' and np.any(names != films['split'])
  count = len(set(films.get('study', films['id']).tolist()))
  if drawn and count < FEW_GROUPS and count < len(films['id']):
    said.append(
      f'{len(films["id"])} films are of {count} groups, too few to be split by '
      'chance as the fractions of --config.data say: look at the numbers, and '
      'change the fractions or give the table a column split.'
    )
  return said


def split_films(
  config: Any, workdir: str, builder_config: str
) -> tuple[dict[str, np.ndarray], str]:
  """Film table with this run's split, and that split in words.

  Of a run that tells classes apart, also `label`: index of the finding among
  `config.data.classes`, -1 of others.
  """
  folder = sources.prepared_folder(workdir, builder_config)
  films = sources.load_films(folder)
  split, description = assign(config, films)
  return _labelled({**films, 'split': split}, config), description


def _labelled(films: film_table.Films, config: Any) -> film_table.Films:
  names = list(config.data.classes)
  if not names:
    return films
  numbers = [
    names.index(f) if f in names else -1 for f in films['finding'].tolist()
  ]
  return films | {'label': np.array(numbers, np.int32)}


def training_films(
  config: Any, films: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Rows that train; of few labelled films per class, these alone.

  Raises:
    ValueError: films of a class are asked for, but there are no classes, or a
      class has no film.
  """
  films = select_split(films, 'train')
  count, names = config.data.labelled_per_class, config.data.classes
  if 'label' in films:
    missing = [n for i, n in enumerate(names) if i not in films['label']]
    if missing:
      raise ValueError(
        f'No training film is labelled {" or ".join(missing)}: see '
        'fracture_labels.csv of the archive, and --config.data.classes.'
      )
  if not count:
    return films
  if 'label' not in films:
    raise ValueError(
      'data.labelled_per_class counts the films of a class: name these with '
      '--config.data.classes.'
    )
  return film_table.select(
    films, splits.few_per_class(films, count, config.seed)
  )


def select_split(
  films: dict[str, np.ndarray], split: str
) -> dict[str, np.ndarray]:
  """Rows of one split."""
  return film_table.select(films, films['split'] == split)


def of_sex(films: dict[str, np.ndarray], stage: Any) -> dict[str, np.ndarray]:
  """Rows of the one sex that the net of a stage is of; all rows without.

  Args:
    films: with their sex.
    stage: section of the stage; `input.sex` is '', 'M' or 'F'. Runs of earlier
      versions have none, and an ensemble has no input: all rows are theirs.
  """
  sex = stage.get('input', {}).get('sex', '')
  if not sex:
    return films
  return film_table.select(films, films['sex'] == groups.SEX[sex])


def stage_films(config: Any, stage: str, workdir: str) -> dict[str, np.ndarray]:
  """Film table of a stage: whole films, or the crops another stage wrote.

  Those of one sex where the stage names it, and those alone that have the masks
  and points that it learns.

  Raises:
    ValueError: no film is left.
  """
  films = of_sex(_stage_films(config, stage, workdir), config[stage])
  if not len(films['id']):
    raise ValueError(
      f'{stage}: expected films of the sex {config[stage].input.sex}, got '
      f'none: change --config.{stage}.input.sex.'
    )
  return films


def _stage_films(
  config: Any, stage: str, workdir: str
) -> dict[str, np.ndarray]:
  section = config[stage].input
  if section.crops_from:
    _crops(config, stage, workdir)
    path = stages.path(workdir, section.crops_from, stages.FILMS)
    return _labelled(film_table.read_films(path), config)
  films, _ = split_films(config, workdir, section.builder_config)
  films = marked(config, stage, workdir, films)
  if section.rotate90:  # of films that judge; drawn anew in training
    films['label'] = np.array(
      [ids.number(film) % 4 for film in films['id'].tolist()], np.int32
    )
  return films


def marked(
  config: Any, stage: str, workdir: str, films: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Films with any of the masks and all of the points that a net learns.

  Raises:
    ValueError: there are none.
  """
  section = config[stage].input
  masks, points = set(section.masks), set(section.points)
  drawn = [set(marks.split()) for marks in films['marks'].tolist()]
  keep = np.array([not masks or bool(masks & d) for d in drawn], bool)
  if section.masks_count:
    few = np.flatnonzero(keep & (films['split'] == 'train'))
    keep[few] = False
    chosen = splits.some(films['id'][few], section.masks_count)
    keep[few[chosen]] = True
  if section.get('masks_films'):  # runs of earlier versions have none
    keep &= (films['split'] != 'train') | np.isin(
      films['id'], section.masks_films
    )
  folder = stages.path(workdir, section.masks_from)
  # Before any stage runs, `validate` asks too.
  if section.masks_from and film_masks.there(folder):
    found = film_masks.stored(film_masks.read_table(folder))
    keep |= np.isin(films['id'], found) & (films['split'] == 'train')
  keep &= np.array([points <= d for d in drawn], bool)
  if not keep.any():
    what = ' or '.join(section.masks) + ', '.join(section.points)
    raise ValueError(
      f'{stage}: no film has {what}. Mark them on 50 films or more, of all '
      'ages, and put them into annotations/ of the archive, see '
      'docs/reference/data.md; python -m tfds_rsna.import_annotations takes '
      'them from COCO, LabelMe and VIA. Then prepare the data anew.'
    )
  return film_table.select(films, keep)


def repeat_drawn(
  config: Any, stage: str, workdir: str, films: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Repeat films whose masks people drew, beside those of `input.masks_from`.

  Args:
    films: that train.

  Returns:
    `films`, those with drawn masks so often that they are `input.drawn_share`
    of all or more.
  """
  section = config[stage].input
  if not section.masks_from or not section.drawn_share:
    return films
  rows = film_masks.read_table(stages.path(workdir, section.masks_from))
  found = [row['id'] for row in rows if row['status'] == film_masks.ACCEPTED]
  mined = np.isin(films['id'], found)
  drawn, share = np.flatnonzero(~mined), section.drawn_share
  times = np.ceil(share / (1 - share) * mined.sum() / max(len(drawn), 1))
  again = np.tile(drawn, max(int(times), 1))
  return film_table.select(films, np.append(np.flatnonzero(mined), again))


def stage_source(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  features: bool = True,
) -> Any:
  """Random access to the records of `films` (rows of `stage_films`).

  Those of a stage that reads features are these or, with features=False, the
  films themselves, which its whole net takes.
  """
  section = config[stage].input
  if features and section.get('features_from'):
    folder = stages.path(workdir, section.features_from)
    return film_features.source(folder, films)
  if section.crops_from:
    take = []
    if section.regions:
      stored = _crops(config, stage, workdir)['crops']
      take = [stored.index(name) for name in section.regions]
    folder = stages.path(workdir, section.crops_from)
    return sources.crop_source(folder, films, take)
  holes = None
  if section.erase_from:
    options = config[section.erase_from]
    holes = {
      film: boxes.holes(found, options.erase, options.fill, film)
      for film, found in found_regions(workdir, section.erase_from).items()
    }
  rotations = film_rotations(workdir, section.orientation_from)
  masks_of = {}
  if section.masks_from:
    folder = stages.path(workdir, section.masks_from)
    masks_of = film_masks.FilmMasks(folder)
  return sources.whole_films(
    *(config, workdir, section.builder_config),
    *(films, rotations, holes, masks_of),
  )


def film_rotations(workdir: str, stage: str) -> dict[str, int]:
  """Quarters, counter-clockwise, by id of the rotated films.

  Args:
    workdir: of the run.
    stage: that tells; '' leaves all films as they lie.

  Raises:
    ValueError: it has not run.
  """
  if not stage:
    return {}
  path = stages.path(workdir, stage, stages.ROTATED)
  if not storage.exists(path):
    raise ValueError(
      f'{path} is missing: run the stage {stage!r} first, or read films as '
      "they lie: --config.STAGE.input.orientation_from='' for all stages that "
      'see them.'
    )
  with storage.naming(path), storage.reading(path) as file:
    rows = tables.read_dicts(file, path, ('id', 'rotation_deg'))
    return {row['id']: int(row['rotation_deg']) // 90 for row in rows}


def found_regions(
  workdir: str, stage: str
) -> dict[str, dict[str, boxes.Region]]:
  """Regions by film id that a locate stage wrote, with those before it.

  Raises:
    ValueError: the stage has not run.
  """
  path = stages.path(workdir, stage, stages.REGIONS)
  if not storage.exists(path):
    raise ValueError(f'{path} is missing: run the stage {stage!r} first.')
  return boxes.read_regions(path)


def _crops(config: Any, stage: str, workdir: str) -> dict[str, Any]:
  """done.json of the stage that cut the crops which `stage` reads."""
  source = config[stage].input.crops_from
  path = stages.path(workdir, source, stages.DONE)
  if not storage.exists(path):
    raise ValueError(
      f'{stage} reads crops, but {path} is missing: run the stage {source!r} '
      'first.'
    )
  return storage.read_json(path, keys=('crops',))
