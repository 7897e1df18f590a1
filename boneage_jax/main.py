"""Run a system: `python -m boneage_jax.main --config=configs/cascade.py`."""

from collections.abc import Sequence
import copy
import json
import os
import sys
from typing import Any

from absl import app
from absl import flags
from absl import logging
import jax

from boneage_jax import classify
from boneage_jax import config_flag
from boneage_jax import data
from boneage_jax import files
from boneage_jax import folds
from boneage_jax import processes
from boneage_jax import stages
from boneage_jax import start_up
from boneage_jax import train

FLAGS = flags.FLAGS
config_flag.define()
flags.DEFINE_string(
  'workdir', None, 'Where the run writes (default: runs/<name>[_<variant>]).'
)
flags.DEFINE_bool(
  'distributed',
  False,
  'Join the processes that a TPU slice, SLURM, Open MPI or Kubernetes started.',
)
flags.DEFINE_string(
  'coordinator', None, 'HOST:PORT of process 0, where no launcher says it.'
)
flags.DEFINE_integer('processes', None, 'How many there are; with coordinator.')
flags.DEFINE_integer('process', None, 'Which one this is; with coordinator.')

JOBS = {
  'prepare': data.prepare,
  'train': train.train_and_evaluate,
  'locate': stages.locate,
  'ensemble': stages.combine,
  'report': stages.report,
  'classes': classify.report,
}
# Jobs of seconds, done again by every run, and the fields that say of what.
REDONE = ('ensemble', 'report', 'classes')
READ = ('members', 'stage', 'compare', 'regions')
ALONE = ('prepare', *REDONE)  # jobs of the lead, while the others wait


def run(config: Any, workdir: str) -> None:
  """Run the stages of `config` in order, leaving out those already done.

  With `data.folds` and no `data.fold`, all folds are run one after the other.
  """
  described = data.sections(config)
  for stage in config.stages:
    if stage not in described:
      raise ValueError(
        f'stages names {stage!r}, which the config does not describe; choose '
        f'from {", ".join(described)}.'
      )
  start(config, workdir)
  processes.on_lead(lambda: check_stages(config, workdir))
  if config.data.folds and config.data.fold < 0:
    run_folds(config, workdir)
  else:
    run_stages(config, config.stages, workdir)


def start(config: Any, workdir: str) -> None:
  """Write the config, or check that the folder's is the same; say what runs."""
  files.make_folder(workdir)
  path = os.path.join(workdir, 'config.json')
  processes.on_lead(lambda: check_config(config, path))
  processes.together(lambda: check_shared(config, path))
  count = jax.process_count()
  processes.say(
    f'{config.name}: stages {", ".join(config.stages)} on '
    f'{jax.device_count()} {jax.devices()[0].device_kind} device(s)'
    + (f' of {count} processes' if count > 1 else '')
    + f'; output in {workdir}'
  )


def run_folds(config: Any, workdir: str) -> None:
  """Run every fold in `workdir/fold_<k>`, and join what they predicted.

  Data are prepared, and the joined predictions combined and reported, once for
  all folds.
  """
  kind = lambda *jobs: tuple(s for s in config.stages if config[s].job in jobs)
  run_stages(config, kind('prepare'), workdir)
  of_fold = kind(*set(JOBS) - {'prepare', 'ensemble', 'report'})
  for fold in range(config.data.folds if of_fold else 0):
    one = copy.deepcopy(config)
    one.data.fold, one.stages = fold, of_fold
    processes.on_lead(lambda fold=fold: folds.share_data(config, workdir, fold))
    folder = folds.folder(workdir, fold)
    start(one, folder)
    run_stages(one, of_fold, folder)

  def join() -> None:
    for stage in kind('train'):
      if config[stage].net.get('output') != 'classes':
        print(folds.table(stage, folds.join(config, stage, workdir)))

  processes.on_lead(join)
  run_stages(config, kind('ensemble', 'report'), workdir)


def run_stages(config: Any, chosen: Sequence[str], workdir: str) -> None:
  """Run some stages in order, leaving out those already done."""
  for stage in chosen:
    done = os.path.join(workdir, stage, 'done.json')
    # A network file system may show it to one process later than to another.
    if processes.anywhere(processes.is_lead() and files.exists(done)):
      processes.say(f'{stage}: already done.')
      continue
    job = JOBS[config[stage].job]
    if config[stage].job in ALONE:
      processes.on_lead(
        lambda job=job, stage=stage: job(config, stage, workdir)
      )
    else:
      job(config, stage, workdir)


def check_config(config: Any, path: str) -> None:
  """Write the config, or compare it with that of the run being resumed.

  Raises:
    ValueError: the folder holds a run of another config; names the fields.
  """
  new = json.loads(config.to_json_best_effort())
  if files.exists(path):
    names = differences(files.read_json(path), new)
    free = {s for s in data.sections(config) if config[s].job in REDONE}
    free.add('stages')
    changed = [name for name in names if name.split('.')[0] not in free]
    if changed:
      raise ValueError(
        f'{os.path.dirname(path)} holds a run with other settings '
        f'({", ".join(changed)}). Give another --workdir, or remove that one.'
      )
  files.write_json(path, new, indent=1)


def check_stages(config: Any, workdir: str) -> None:
  """Check, before hours of training, that reports and ensembles can be made.

  Raises:
    ValueError: one reads a stage that will not have run; names the flag.
  """
  for stage in config.stages:
    for field in READ if config[stage].job in REDONE else ():
      names = config[stage].get(field) or ()
      for name in (names,) if isinstance(names, str) else names:
        places = (workdir, folds.folder(workdir, 0))
        ran = [files.exists(os.path.join(place, name)) for place in places]
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
  if not files.exists(path):
    raise ValueError(
      f'Process {jax.process_index()} does not see {path}, which process 0 '
      'wrote: all of them need one --workdir on a file system they share.'
    )
  new = json.loads(config.to_json_best_effort())
  changed = differences(files.read_json(path), new)
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


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  start_up.set_up()
  if FLAGS['verbosity'].present:
    logging.set_verbosity(FLAGS.verbosity)
  config = FLAGS.config
  workdir = FLAGS.workdir or os.path.join(
    'runs', '_'.join(filter(None, [config.name, config.variant]))
  )
  try:
    where = (FLAGS.coordinator, FLAGS.processes, FLAGS.process)
    if FLAGS.distributed or any(value is not None for value in where):
      processes.join(*where)
    run(config, files.absolute(workdir))
  except ValueError as error:
    if logging.level_debug():
      raise
    sys.exit(f'Error: {error}')


if __name__ == '__main__':
  app.run(main, flags_parser=config_flag.parse)
