"""Cross-validation: one run a fold, joined."""

from collections.abc import Sequence
import copy
from typing import Any

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.evaluation import cross_validation
from boneage_jax.evaluation import joined_rows
from boneage_jax.workflow import jobs as jobs_lib
from boneage_jax.workflow import resume


def fold_configs(config: Any) -> list[Any]:
  """Return the config of every fold; of a run of one split, its own."""
  if not config.data.folds or config.data.fold >= 0:
    return [config]
  configs = [copy.deepcopy(config) for _ in range(config.data.folds)]
  for fold, one in enumerate(configs):
    one.data.fold = fold
  return configs


def run_folds(config: Any, chosen: Sequence[str], workdir: str) -> None:
  """Run every fold in `workdir/fold_<k>`, and join what they predicted.

  Data are prepared, and the joined predictions combined and reported, once for
  all folds.

  Args:
    config: of all folds.
    chosen: stages to run, in order; without `prepare`.
    workdir: of all folds.
  """
  joined = [s for s in chosen if config[s].job in ('ensemble', 'report')]
  of_fold = tuple(s for s in chosen if s not in joined)
  for fold, one in enumerate(fold_configs(config) if of_fold else ()):
    one.stages = of_fold
    folder = stages.fold_folder(workdir, fold)
    distributed.on_main_process(
      lambda folder=folder: share_data(workdir, folder)
    )
    resume.start(one, folder)
    jobs_lib.run_stages(one, of_fold, folder)

  def join() -> None:
    for stage in jobs_lib.select(config, 'train', 'fit_regressors'):
      task = config[stage].task
      if task in joined_rows.FIGURES:
        figures = joined_rows.join(config, stage, workdir)
        print(joined_rows.line(stage, joined_rows.FIGURES[task], figures))
      if task == 'age':
        print(
          cross_validation.folds_table(
            stage, cross_validation.join_folds(config, stage, workdir)
          )
        )

  distributed.on_main_process(join)
  jobs_lib.run_stages(config, joined, workdir)


def share_data(workdir: str, folder: str) -> None:
  """Let the run of a fold find the data that were prepared for all."""
  storage.make_folder(stages.path(folder, stages.PREPARE))
  done = lambda run: stages.path(run, stages.PREPARE, stages.DONE)
  storage.write_json(done(folder), storage.read_json(done(workdir)))
