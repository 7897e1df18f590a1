"""The jobs of stages by name, run in order."""

from collections.abc import Sequence
from typing import Any

from boneage_jax.core import distributed
from boneage_jax.core import extend
from boneage_jax.core import stages
from boneage_jax.data import prepare
from boneage_jax.evaluation import classification
from boneage_jax.evaluation import ensemble
from boneage_jax.regions import active
from boneage_jax.regions import job as locate_job
from boneage_jax.regions import mine
from boneage_jax.regions import patches
from boneage_jax.regions import register
from boneage_jax.report import job as report_job
from boneage_jax.training import features
from boneage_jax.training import fit_forest
from boneage_jax.training import fit_regressors
from boneage_jax.training import forest_rounds
from boneage_jax.training import loop

JOBS = {
  'prepare': prepare.prepare,
  'features': features.write_features,
  'train': loop.train_and_evaluate,
  'mine': mine.mine,
  'active': active.learn,
  'locate': locate_job.locate,
  'register': register.register,
  'fit_forest': fit_forest.fit_forest,
  'fit_regressors': fit_regressors.fit_regressors,
  'forest_rounds': forest_rounds.forest_rounds,
  'patches': patches.cut_patches,
  'ensemble': ensemble.combine_stage,
  'report': report_job.report,
  'classes': classification.report,
}
# add(name, job): one of your own, job(config, stage, workdir).
add = extend.table('job', JOBS)
# Jobs of seconds, done again by every run.
REDONE = ('ensemble', 'report', 'classes')
ALONE = (
  'prepare',
  'fit_forest',
  'fit_regressors',
  'forest_rounds',
  *REDONE,
)  # jobs of process 0, while the others wait


def select(config: Any, *jobs: str) -> tuple[str, ...]:
  """Name those of the config's stages, in order, that have one of the jobs."""
  return tuple(s for s in config.stages if config[s].job in jobs)


def run_stages(config: Any, chosen: Sequence[str], workdir: str) -> None:
  """Run some stages in order, leaving out those already done."""
  for stage in chosen:
    done = stages.path(workdir, stage, stages.DONE)
    if distributed.exists(done):
      distributed.print_once(f'{stage}: already done.')
      continue
    job = JOBS[config[stage].job]
    if config[stage].job in ALONE:
      distributed.on_main_process(
        lambda job=job, stage=stage: job(config, stage, workdir)
      )
    else:
      job(config, stage, workdir)
