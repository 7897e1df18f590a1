"""What may change in the folder of a run when a command is given again.

A stage that has begun (it has a checkpoint, or is done) is frozen with all that
it reads and with ROOTS: a net of half these settings and half those would be of
neither. Everything else may change.
"""

from typing import Any

import jax

from boneage_jax.core import config as config_lib
from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.workflow import jobs as jobs_lib

# Fields that every stage reads, and those of them that prepared data depend on.
ROOTS = ('data', 'phantom', 'seed', 'manual_dir')
PREPARED = (
  'data.allow_bad_films',
  'data.age_unit',
  'data.table',
  'data.columns',
  'data.two_hands',
  'data.max_megapixels',
  'data.max_megabytes',
  'phantom',
  'manual_dir',
)


def start(config: Any, workdir: str) -> None:
  """Write the config, or check it against that of the run; say what runs."""
  storage.make_folder(workdir)
  distributed.on_main_process(lambda: write_config(config, workdir))
  distributed.run_everywhere(lambda: check_shared(config, workdir))
  count = jax.process_count()
  distributed.print_once(
    f'{config.name}: stages {", ".join(config.stages)} on '
    f'{jax.device_count()} {jax.devices()[0].device_kind} device(s)'
    + (f' of {count} processes' if count > 1 else '')
    + f'; output in {workdir}'
  )


def write_config(config: Any, workdir: str) -> None:
  """Write the config of a run, unless a stage has begun with another.

  Raises:
    ValueError: one has; names stages, fields and the remedy.
  """
  path, new = stages.config_path(workdir), config_lib.to_json(config)
  if storage.exists(path):
    old = config_lib.read_json(path)
    check_begun(old, new, workdir)
    if old == new:  # also of a folder that nobody can write to
      return
  storage.write_json(path, new, indent=1)


def check_begun(old: dict[str, Any], new: dict[str, Any], workdir: str) -> None:
  """Check that only fields changed that no stage has read that has begun.

  Args:
    old: content of the run's config.json.
    new: what it would become.
    workdir: of the run.

  Raises:
    ValueError: others changed.
  """
  changed = [
    name
    for name in config_lib.differences(old, new)
    if config_lib.has_effect(name, old)
  ]
  if not changed:
    return
  begun, fields = [], []
  for stage in stages.each(config_lib.from_json(old), workdir):
    of = [name for name in changed if _is_in(name, _frozen_by(stage))]
    if of and stage.begun:
      begun.append(stage.name)
      fields += of
  if not begun:
    return
  fields = list(dict.fromkeys(fields))
  anew = f'remove the folders of {", ".join(begun)} there to run these anew'
  if any(_is_in(field, ROOTS) for field in fields):
    anew = 'remove that folder to run all stages anew'
  raise ValueError(
    f'Expected the settings that {", ".join(begun)} began with in {workdir}, '
    f'got others of {", ".join(fields)}. Set these back, give another '
    f'--workdir, or {anew}.'
  )


def _frozen_by(stage: stages.Stage) -> tuple[str, ...]:
  """Fields that may not change once a stage has begun."""
  if stage.section.job in jobs_lib.REDONE:
    return ()
  if stage.section.job == 'prepare':
    return (stage.name, *PREPARED)
  read = [other.name for other in stage.all_inputs()]
  return (stage.name, *read, *ROOTS)


def _is_in(field: str, parents: tuple[str, ...]) -> bool:
  return any(field == p or field.startswith(f'{p}.') for p in parents)


def check_shared(config: Any, workdir: str) -> None:
  """Check that this process runs what process 0 wrote.

  Raises:
    ValueError: it does not see the file, or runs something else.
  """
  path = stages.config_path(workdir)
  if not storage.exists(path):
    raise ValueError(
      f'Process {jax.process_index()} does not see {path}, which process 0 '
      'wrote: all of them need one --workdir on a file system they share.'
    )
  changed = config_lib.differences(
    config_lib.read_json(path), config_lib.to_json(config)
  )
  if changed:
    raise ValueError(
      f'Process {jax.process_index()} runs with other settings than process 0 '
      f'({", ".join(changed)}). Start all of them with the same command.'
    )
