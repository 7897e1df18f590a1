"""What a folder of a run accepts when the command is given again."""

import json
import os
from typing import Any

import jax

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.workflow import jobs as jobs_lib


def check_config(config: Any, path: str) -> None:
  """Write the config, or compare it with that of the run being resumed.

  Raises:
    ValueError: the folder holds a run of another config; names the fields.
  """
  new = json.loads(config.to_json_best_effort())
  if storage.exists(path):
    names = differences(storage.read_json(path), new)
    free = {
      s for s in stages.sections(config) if config[s].job in jobs_lib.REDONE
    }
    free.add('stages')
    changed = [name for name in names if name.split('.')[0] not in free]
    if changed:
      raise ValueError(
        f'{os.path.dirname(path)} holds a run with other settings '
        f'({", ".join(changed)}). Give another --workdir, or remove that one.'
      )
  storage.write_json(path, new, indent=1)


def check_stages(config: Any, workdir: str) -> None:
  """Check, before hours of training, that reports and ensembles can be made.

  Raises:
    ValueError: one reads a stage that will not have run; names the flag.
  """
  for stage in config.stages:
    for field in jobs_lib.READ if config[stage].job in jobs_lib.REDONE else ():
      names = config[stage].get(field) or ()
      for name in (names,) if isinstance(names, str) else names:
        places = (workdir, stages.fold_folder(workdir, 0))
        ran = [storage.exists(os.path.join(place, name)) for place in places]
        if name not in config.stages and not any(ran):
          raise ValueError(
            f'{stage}.{field} names {name!r}, which has not run in {workdir}: '
            f'add it to --config.stages, or change --config.{stage}.{field}.'
          )


def check_shared(config: Any, path: str) -> None:
  """Check that this process runs what the lead wrote to `path`.

  Raises:
    ValueError: it does not see the file, or runs something else.
  """
  if not storage.exists(path):
    raise ValueError(
      f'Process {jax.process_index()} does not see {path}, which process 0 '
      'wrote: all of them need one --workdir on a file system they share.'
    )
  new = json.loads(config.to_json_best_effort())
  changed = differences(storage.read_json(path), new)
  if changed:
    raise ValueError(
      f'Process {jax.process_index()} runs with other settings than process 0 '
      f'({", ".join(changed)}). Start all of them with the same command.'
    )


def differences(old: Any, new: Any, name: str = '') -> list[str]:
  """Names of the fields in which two nested dicts differ."""
  if not (isinstance(old, dict) and isinstance(new, dict)):
    return [] if old == new else [name]
  found = []
  for key in sorted(old.keys() | new.keys()):
    path = f'{name}.{key}' if name else key
    if key not in old or key not in new:
      found.append(path)
    else:
      found += differences(old[key], new[key], path)
  return found


def start(config: Any, workdir: str) -> None:
  """Write the config, or check that the folder's is the same; say what runs."""
  storage.make_folder(workdir)
  path = os.path.join(workdir, 'config.json')
  distributed.on_main_process(lambda: check_config(config, path))
  distributed.run_everywhere(lambda: check_shared(config, path))
  count = jax.process_count()
  distributed.print_once(
    f'{config.name}: stages {", ".join(config.stages)} on '
    f'{jax.device_count()} {jax.devices()[0].device_kind} device(s)'
    + (f' of {count} processes' if count > 1 else '')
    + f'; output in {workdir}'
  )
