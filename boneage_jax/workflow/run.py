"""Run a system: its stages in order, or its folds."""

import contextlib
from typing import Any

from boneage_jax.core import distributed
from boneage_jax.workflow import capacity
from boneage_jax.workflow import folds
from boneage_jax.workflow import jobs as jobs_lib
from boneage_jax.workflow import lock
from boneage_jax.workflow import longer
from boneage_jax.workflow import resume
from boneage_jax.workflow import validate


def run(config: Any, workdir: str) -> None:
  """Run the stages of `config` in order, leaving out those already done.

  With `longer.stage`, one more stage goes on from that one; see longer.py. With
  `data.folds` and no `data.fold`, all folds are run one after the other.

  Raises:
    ValueError: settings, data or a folder that can't be used; another command
      runs in the folder.
  """
  config = longer.expand(config)
  distributed.on_main_process(lambda: validate.validate(config, workdir))
  distributed.on_main_process(lambda: capacity.check(config, workdir))
  with contextlib.ExitStack() as stack:
    distributed.on_main_process(lambda: stack.enter_context(lock.held(workdir)))
    resume.start(config, workdir)
    jobs_lib.run_stages(config, jobs_lib.select(config, 'prepare'), workdir)
    distributed.on_main_process(lambda: validate.check_films(config, workdir))
    others = jobs_lib.select(config, *set(jobs_lib.JOBS) - {'prepare'})
    if config.data.folds and config.data.fold < 0:
      folds.run_folds(config, others, workdir)
    else:
      jobs_lib.run_stages(config, others, workdir)
