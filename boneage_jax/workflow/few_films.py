"""A few films of a run's data, prepared as the run would prepare all."""

import copy
import os
import shutil
from typing import Any

from boneage_jax.core import stages
from boneage_jax.core import tables
from boneage_jax.data import prepare as prepare_lib
from boneage_jax.phantom import archive as phantom
from tfds_rsna import archive as archives


def prepare(config: Any, folder: str, count: int) -> Any:
  """Prepare a few films in a folder, and return the config that reads them.

  Args:
    config: of a run; its archive, or its phantoms.
    folder: empty; becomes that of a run.
    count: films, or those that there are.

  Raises:
    ValueError: there is neither an archive nor phantoms.
  """
  prepare_lib.check_source(config)
  config = copy.deepcopy(config).unlock()
  config.data_dir = os.path.join(folder, 'data')
  config.data.allow_bad_films = count  # what all films lack is not the question
  if config.manual_dir:
    few = os.path.join(folder, 'archive')
    copy_some(os.path.expanduser(config.manual_dir), few, count, config)
    config.manual_dir = few
  else:
    config.phantom.films = min(count, config.phantom.films)
  # Those that are few may not have films of every split by their ids.
  config.data.update(split='hash', folds=0, fold=-1)
  config.data.update(validation_fraction=0.25, test_fraction=0.0)
  prepare_lib.prepare(config, stages.PREPARE, folder)
  return config


def copy_some(manual_dir: str, out: str, count: int, config: Any) -> None:
  """Copy the first training films of an archive, with labels and annotations.

  Args:
    manual_dir: of the archive.
    out: folder to write.
    count: films.
    config: of the run, for the unit of ages.
  """
  whole = archives.read(manual_dir, config.data.age_unit)
  films = whole.films.get('train', [])[:count]
  os.makedirs(os.path.join(out, phantom.NAME))
  per_unit = 12 if whole.age_unit == 'years' else 1
  with open(os.path.join(out, f'{phantom.NAME}.csv'), 'w', newline='') as file:
    writer = tables.Writer(file)
    writer.writerow(('id', 'boneage', 'male'))
    for film in films:
      writer.writerow((film.id, film.age / per_unit, film.male))
  for film in films:
    suffix = os.path.splitext(film.member)[1]
    path = os.path.join(out, phantom.NAME, film.id + suffix)
    with open(path, 'wb') as file:
      file.write(film.read())
  for root in (manual_dir, os.path.dirname(os.path.abspath(manual_dir))):
    marks = os.path.join(root, 'annotations')
    if os.path.isdir(marks):
      shutil.copytree(marks, os.path.join(out, 'annotations'))
      break
