"""Which films a run was trained on, and how runs compare."""

from collections.abc import Iterator
from collections.abc import Mapping
import os
from typing import Any

from boneage_jax.core import config as config_lib
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_masks
from boneage_jax.data import selection
from boneage_jax.data import sources
from tfds_rsna import naming


def data_set(folder: str | None, split: str, name: str = '') -> dict[str, Any]:
  """Name the data set from its build.json; `subset` where films are missing.

  `label_files` has the name and the hash of the labels of every split, and
  `phantom` says whether films are synthetic.

  Args:
    folder: of the prepared data; None where they are gone.
    split: the split in words.
    name: what the run calls the data set, `config.data.name`.
  """
  build = {}
  if folder:
    build = storage.read_json(os.path.join(folder, 'build.json'), {})
  if build:
    build = naming.rename(build, name)
  keys = ('name', 'films', 'of', 'phantom')
  keys += ('label_file', 'label_file_sha256')
  out = {key: build[key] for key in keys if key in build}
  if 'label_file' in out:  # the name alone: the folder differs by machine
    out['label_file'] = os.path.basename(str(out['label_file']))
  if 'label_files' in build:  # those of the test films are most in dispute
    out['label_files'] = {
      split: {**labels, 'file': os.path.basename(labels['file'])}
      for split, labels in build['label_files'].items()
    }
  if 'films' in out and 'of' in out:
    out['subset'] = out['films'] < out['of']
  if build.get('bad'):
    out['unreadable'] = [film for film, *_ in build['bad']]
  if split:
    out['split'] = split
  return out


def parent_run(
  config: Any, stage: str, workdir: str
) -> tuple[Any, str, str] | None:
  """Config, stage and folder of the net that a stage's net starts from.

  Raises:
    ValueError: there is no such net.
  """
  options = config[stage].get('init_from') if stage in config else None
  if not options or not options.run:
    return None
  folder, _, name = options.run.rpartition(':')
  if folder:
    folder = storage.absolute(folder)
    path = stages.config_path(folder)
    before = config_lib.read_config(path) if storage.exists(path) else {}
  else:
    folder, before = workdir, config
  itself = (folder, name) == (workdir, stage)
  job = before[name].get('job') if name in before else ''
  if itself or job not in ('train', 'mine', 'active'):
    raise ValueError(
      f'{stage}.init_from.run={options.run!r} names no net to start from; '
      'expected '
      'RUN:STAGE, a stage that trains in the folder of a run, or :STAGE of '
      'this run.'
    )
  return before, name, folder


def origins(
  config: Any, stage: str, workdir: str, gone: set[str]
) -> Iterator[tuple[Any, str, str]]:
  """Yield config, stage and folder of a stage's nets and of their origins.

  So for the nets that find what it reads: regions, points and masks.

  Args:
    config, stage, workdir: of the stage.
    gone: collects why runs of origins cannot be read; they are left out.
  """
  if stage in config and config[stage].job == 'ensemble':
    for member in stages.Stage(config, stage, workdir).named('members'):
      yield from origins(config, member, workdir, gone)
    return
  yield config, stage, workdir
  one = stages.Stage(config, stage, workdir)
  read = one.all_inputs() if stage in config else ()
  for name in (stage, *(other.name for other in read)):
    try:
      before = parent_run(config, name, workdir)
    except ValueError as error:
      gone.add(str(error))
      continue
    if before:
      yield from origins(*before, gone)


def training_films(
  config: Any, stage: str, workdir: str
) -> frozenset[str] | None:
  """Ids that a stage's net was trained on, with those of its origins.

  These are the run's training films, and those of a mining net's own masks.
  None where the prepared data, or the run that it started from, are gone.
  """
  if stage in config and config[stage].job == 'ensemble':
    members = stages.Stage(config, stage, workdir).named('members')
    of = [training_films(config, member, workdir) for member in members]
    return None if None in of else frozenset().union(*of)
  _, films = prepared(config, workdir)
  if films is not None:
    films |= _mined(stage, workdir)
  try:
    before = parent_run(config, stage, workdir)
  except ValueError:
    return None
  if (
    before
    and films is not None
    and not config[stage].init_from.ids_are_unrelated
  ):
    earlier = training_films(*before)
    return None if earlier is None else films | earlier
  return films


def _mined(stage: str, workdir: str) -> frozenset[str]:
  """Ids of the films whose masks the rounds of a stage were trained on."""
  folder = stages.path(workdir, stage)
  tables = storage.glob(folder, 'round_*', film_masks.TABLE)
  rounds = (film_masks.read_table(os.path.dirname(path)) for path in tables)
  return frozenset(film for rows in rounds for film in film_masks.stored(rows))


def dataset_line(data: Mapping[str, Any]) -> str:
  """Name the data set, its label files by hash, and the split, in one line."""
  if not data:
    return 'data set not known (prepared data gone, no report)'
  parts = [data['name']] if 'name' in data else []
  if data.get('subset') and 'subset' not in data.get('name', ''):
    parts.append(f'subset: {data["films"]} of {data["of"]} films')
  for split, labels in data.get('label_files', {}).items():
    if labels['sha256'][:12] not in data.get('name', ''):
      parts.append(f'labels ({split}) sha256 {labels["sha256"][:12]}')
  if 'label_files' not in data and 'label_file_sha256' in data:
    parts.append(f'labels sha256 {data["label_file_sha256"][:12]}')
  return '; '.join([*parts, *([data['split']] if 'split' in data else [])])


def prepared(
  config: Any, workdir: str
) -> tuple[dict[str, Any], frozenset[str] | None]:
  """Return the data set's description and the ids of the training films."""
  builder_config = stages.builder_configs(config)[0]
  done = stages.path(workdir, stages.PREPARE, stages.DONE)
  if storage.exists(done):  # damaged is not gone
    storage.read_json(done, keys=('folders',))
  try:
    folder = sources.prepared_folder(workdir, builder_config)
  except ValueError:  # a run copied without its data: its report names them
    report = storage.read_json(
      stages.report_path(workdir, stages.REPORT_JSON), {}
    )
    return report.get('data', {}), None
  films, description = selection.split_films(config, workdir, builder_config)
  known = data_set(folder, description, config.data.name)
  train = selection.select_split(films, 'train')['id']
  return known, frozenset(train.tolist())
