"""What a run would do, from shapes alone: `main --dry_run`."""

from typing import Any

import jax
import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_table
from boneage_jax.data import groups
from boneage_jax.data import prepare
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.evaluation import text_table
from boneage_jax.imaging import masks
from boneage_jax.imaging import points
from boneage_jax.training import footprint
from boneage_jax.workflow import capacity
from boneage_jax.workflow import folds
from boneage_jax.workflow import validate
from tfds_rsna import archive as archives

HEAD = (
  *('stage', 'job', 'films', 'steps', 'batch', 'M parameters', 'GFLOP a step'),
  *('GiB a step', 'PFLOP in all'),
)
NO_FILMS = (
  'not known before there are films (--config.data.table, --config.manual_dir)'
)
# Backwards a layer is computed twice: by its input and by its weights.
FORWARD_AND_BACK = 3


def show(config: Any, workdir: str) -> None:
  """Check a run and print its plan; nothing is written.

  Raises:
    ValueError: as `validate.validate`.
  """
  validate.validate(config, workdir, without_films=True)
  films, notes = known_films(config, workdir)
  split = NO_FILMS
  if films is not None:
    one = folds.fold_configs(config)[0]
    names, split = selection.assign(one, films)
    notes += selection.doubts(one, films, names)
    films['split'] = names
  count = len(folds.fold_configs(config))
  print(f'{config.name}: {", ".join(config.stages)}')
  print(f'films: {split}')
  for note in notes:
    print(f'warning: {note}')
  rows = [row(config, name, workdir, films) for name in config.stages]
  print(text_table.layout(HEAD, rows))
  if count > 1:
    print(f'Each of {count} folds trains all of these nets.')
  device = jax.devices()[0]
  there = capacity.device_memory()
  print(
    f'{jax.device_count()} {device.device_kind} device(s)'
    + (f' of {there / capacity.GIB:.1f} GiB' if there else '')
    + '; memory of a step is an estimate for each of them.'
  )
  needed = capacity.checkpoint_bytes(config, workdir) / capacity.GIB
  free = capacity.free_bytes(workdir)
  print(
    f'Checkpoints take {needed:.2f} GiB in {workdir}'
    + ('.' if free is None else f', where {free / capacity.GIB:.1f} are free.')
  )
  for line in capacity.warnings(config, workdir):
    print(f'warning: {line}')


def row(
  config: Any, name: str, workdir: str, films: film_table.Films | None
) -> list[str]:
  """Return a stage's cells of the plan."""
  stage = stages.Stage(config, name, workdir)
  job = stage.section.job
  if job not in capacity.NETS:
    count = '' if films is None else str(len(films['id']))
    return [name, job, '' if job in ('report', 'ensemble') else count]
  if stage.done:
    return [name, job, 'done']
  found = footprint.measure(config, name)
  batch = stage.section.batch_size
  count = training_count(stage, films)
  steps = training_steps(stage.section, count)
  flops = FORWARD_AND_BACK * batch * found.flops
  return [
    *(name, job, '' if count is None else str(count)),
    *('' if steps is None else str(steps), str(batch)),
    f'{found.parameters / 1e6:.2f}',
    f'{flops / 1e9:.1f}',
    f'{capacity.step_memory(config, name) / capacity.GIB:.2f}',
    '' if steps is None else f'{flops * steps / 1e15:.3f}',
  ]


def training_count(
  stage: stages.Stage, films: film_table.Films | None
) -> int | None:
  """Count the films that a stage trains on, as far as that is known."""
  if films is None:
    return None
  config, whole = stage.config, stage.whole_film_stage()
  if 'marks' in films and 'input' in whole.section:
    films = selection.marked(config, whole.name, stage.workdir, films)
  if 'sex' in films:
    films = selection.of_sex(films, stage.section)
  few = config.data.labelled_per_class * len(config.data.classes)
  count = int(np.sum(films['split'] == 'train'))
  return min(count, few) if few else count


def training_steps(section: Any, films: int | None) -> int | None:
  """Count the steps of a stage; None where films are not known."""
  if section.job == 'mine':
    return section.rounds * section.steps_per_round
  rounds = [films]
  if section.job == 'active':
    rounds = [n for n in section.rounds for _ in range(section.committee)]
  if section.steps:
    return section.steps * len(rounds)
  if None in rounds:
    return None
  epochs = [max(n // section.batch_size, 1) for n in rounds]
  return section.epochs * sum(epochs)


def known_films(
  config: Any, workdir: str
) -> tuple[film_table.Films | None, list[str]]:
  """Return the films of a run before they are prepared, or None, and doubts.

  Of phantoms that are not yet drawn, the ids alone. Doubts are about labels,
  as `prepare` says them.
  """
  if storage.exists(stages.path(workdir, stages.PREPARE, stages.DONE)):
    name = stages.builder_configs(config)[0]
    return sources.load_films(sources.prepared_folder(workdir, name)), []
  if archive := prepare.read_archive(config):
    return archive_films(archive), list(archive.notes)
  if not config.phantom.films:
    return None, []
  numbers = np.arange(config.phantom.films)
  of_hand = config.phantom.views * config.phantom.visits
  return {
    'id': (numbers + 1).astype(str),
    'study': (numbers // of_hand + 1).astype(str),
    'split': np.full(len(numbers), 'train'),
  }, []


def archive_films(archive: archives.Archive) -> film_table.Films:
  """Return the films of an archive; no film is opened."""
  rows = []
  for split, films in archive.films.items():
    for film in films:
      marks = archive.annotations.get(film.id, {}) | film.said
      drawn = ' '.join(masks.kinds(marks) + points.marked(marks))
      sex = groups.SEX['M' if film.male else 'F']
      rows.append((film.id, split, sex, marks.get('study', film.id), drawn))
  names = ('id', 'split', 'sex', 'study', 'marks')
  columns = (np.array(column) for column in zip(*rows, strict=True))
  return dict(zip(names, columns, strict=True))
