"""Run a system, all of its stages or some.

  python -m boneage_jax.main --config=configs/cascade.py:phantom
  python -m boneage_jax.main --config=configs/cascade.py \
    --config.manual_dir=ARCHIVE --config.stages=prepare,localizer \
    --config.localizer.epochs=10 --workdir=runs/mine

--config=FILE[:VARIANT,...][,PRESET] names the system, and
--config.SECTION.FIELD=VALUE changes a field of it. Stages that are done are
left out: the same command goes on where it was stopped.
"""

import os

from absl import app
from absl import flags
from absl import logging

from boneage_jax.core import config as config_lib
from boneage_jax.core import distributed
from boneage_jax.core import door
from boneage_jax.core import startup
from boneage_jax.core import storage
from boneage_jax.training import preemption
from boneage_jax.workflow import longer
from boneage_jax.workflow import plan
from boneage_jax.workflow import run as workflow_run
from boneage_jax.workflow import timing

FLAGS = flags.FLAGS
config_lib.define()
flags.declare_key_flag('config')  # so that --help shows it
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
flags.DEFINE_bool(
  'dry_run',
  False,
  'Check the settings and print the plan: stages, films, steps, parameters, '
  'operations and memory. Nothing is written.',
)
flags.DEFINE_integer(
  'dry_run_steps',
  0,
  'Prepare a few films, time so many steps of every net, and say what the '
  'whole run will take. Nothing is written.',
)


def main(argv: list[str]) -> None:
  """Run the command; a mistake of the user ends it with one line."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  startup.set_up()
  if FLAGS['verbosity'].present:
    logging.set_verbosity(FLAGS.verbosity)
  config = FLAGS.config
  workdir = FLAGS.workdir or os.path.join(
    'runs', '_'.join(filter(None, [config.name, config.variant]))
  )
  with door.one_line_errors():
    where = (FLAGS.coordinator, FLAGS.processes, FLAGS.process)
    if FLAGS.distributed or any(value is not None for value in where):
      distributed.join(*where)
    startup.check_device()
    if FLAGS.dry_run or FLAGS['dry_run_steps'].present:
      config = longer.expand(config)
      plan.show(config, storage.absolute(workdir))
      if FLAGS['dry_run_steps'].present:
        timing.show(config, storage.absolute(workdir), FLAGS.dry_run_steps)
      return
    try:
      workflow_run.run(config, storage.absolute(workdir))
    except preemption.Preempted as stopped:
      distributed.print_once(str(stopped))


if __name__ == '__main__':
  app.run(main, flags_parser=config_lib.parse)
