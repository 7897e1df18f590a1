"""Cross-validation: one run a fold, joined."""

import copy
import os
from typing import Any

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import sources
from boneage_jax.evaluation import cross_validation
from boneage_jax.workflow import jobs as jobs_lib
from boneage_jax.workflow import resume


def share_data(config: Any, workdir: str, fold: int) -> None:
  """Let a fold find the data that were prepared for all."""
  for builder_config in stages.builder_configs(config):
    sources.prepared_folder(workdir, builder_config)  # or say what is missing
  stage = os.path.join(stages.fold_folder(workdir, fold), 'prepare')
  storage.make_folder(stage)
  done = storage.read_json(os.path.join(workdir, 'prepare', 'done.json'))
  storage.write_json(os.path.join(stage, 'done.json'), done)


def run_folds(config: Any, workdir: str) -> None:
  """Run every fold in `workdir/fold_<k>`, and join what they predicted.

  Data are prepared, and the joined predictions combined and reported, once for
  all folds.
  """
  kind = lambda *jobs: tuple(s for s in config.stages if config[s].job in jobs)
  jobs_lib.run_stages(config, kind('prepare'), workdir)
  of_fold = kind(*set(jobs_lib.JOBS) - {'prepare', 'ensemble', 'report'})
  for fold in range(config.data.folds if of_fold else 0):
    one = copy.deepcopy(config)
    one.data.fold, one.stages = fold, of_fold
    distributed.on_main_process(
      lambda fold=fold: share_data(config, workdir, fold)
    )
    folder = stages.fold_folder(workdir, fold)
    resume.start(one, folder)
    jobs_lib.run_stages(one, of_fold, folder)

  def join() -> None:
    for stage in kind('train'):
      if config[stage].net.get('output') != 'classes':
        print(
          cross_validation.folds_table(
            stage, cross_validation.join_folds(config, stage, workdir)
          )
        )

  distributed.on_main_process(join)
  jobs_lib.run_stages(config, kind('ensemble', 'report'), workdir)
