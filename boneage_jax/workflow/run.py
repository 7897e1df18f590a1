"""Run a system: its stages in order, or its folds."""

from typing import Any

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.workflow import folds
from boneage_jax.workflow import jobs as jobs_lib
from boneage_jax.workflow import resume
from boneage_jax.workflow import resume as resume_lib


def run(config: Any, workdir: str) -> None:
  """Run the stages of `config` in order, leaving out those already done.

  With `data.folds` and no `data.fold`, all folds are run one after the other.
  """
  described = stages.sections(config)
  for stage in config.stages:
    if stage not in described:
      raise ValueError(
        f'stages names {stage!r}, which the config does not describe; choose '
        f'from {", ".join(described)}.'
      )
  resume_lib.start(config, workdir)
  distributed.on_main_process(lambda: resume.check_stages(config, workdir))
  if config.data.folds and config.data.fold < 0:
    folds.run_folds(config, workdir)
  else:
    jobs_lib.run_stages(config, config.stages, workdir)
