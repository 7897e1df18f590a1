"""Checks before the first stage: what would only fail hours later fails here.

Values of a net's section are checked in training/validate.py.
"""

from typing import Any

import numpy as np

from boneage_jax.core import config as config_lib
from boneage_jax.core import scalars
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_table
from boneage_jax.data import prepare
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.evaluation import published
from boneage_jax.evaluation import weighing
from boneage_jax.imaging import mask_quality
from boneage_jax.imaging import two_hands
from boneage_jax.regions import active
from boneage_jax.regions import check_locate
from boneage_jax.regions import localize
from boneage_jax.regions import mine
from boneage_jax.regions import patches
from boneage_jax.regions import register
from boneage_jax.training import check_own
from boneage_jax.training import check_ranges
from boneage_jax.training import features
from boneage_jax.training import fit_forest
from boneage_jax.training import fit_regressors
from boneage_jax.training import step as train_step
from boneage_jax.training import validate as training_validate
from boneage_jax.workflow import capacity
from boneage_jax.workflow import folds
from boneage_jax.workflow import jobs as jobs_lib
from boneage_jax.workflow import same_films
from tfds_rsna import labels

READERS = ('features', 'fit_regressors')  # that read films as nets do
AGES = ('train', 'ensemble', 'fit_regressors')  # jobs that tell ages
# Jobs of the stages that a field of stages.EDGES may name.
JOBS = {
  'input.crops_from': ('locate', 'register', 'patches'),
  'input.erase_from': ('locate',),
  'input.orientation_from': ('train',),
  'regions_from': ('locate', 'patches'),
  'previous': ('locate',),
  'localizer': ('train',),
  'keypoints': ('train',),
  'forest': ('fit_forest',),
  'masks_from': ('mine', 'active'),
  'members': AGES,
  'stage': AGES,
  'baselines': AGES,
  'init_from.run': ('train', 'mine', 'active'),
  'input.masks_from': ('mine', 'active'),
  'input.features_from': ('features',),
  'features_from': ('features',),
}


def validate(config: Any, workdir: str, without_films: bool = False) -> None:
  """Check a run before its first stage.

  Args:
    config, workdir: of the run.
    without_films: nobody need say yet where films come from.

  Raises:
    ValueError: a stage that is not described, names one that it can't read, or
      has a value that would end it; fractions or prepared films that leave
      nothing to train or to validate on. Names the field.
  """
  described = stages.sections(config)
  for name in config.stages:
    if name not in described:
      raise ValueError(
        f'Expected --config.stages to name some of {", ".join(described)}; got '
        f'{name!r}.'
      )
    training_validate.choose(described[name], name, 'job', jobs_lib.JOBS)
  training_validate.check_geometry_run(config)
  check_data(config)
  waiting = [stages.Stage(config, name, workdir) for name in config.stages]
  waiting = [
    stage
    for stage in waiting
    if not stage.done or stage.section.job in jobs_lib.REDONE
  ]
  prepares = any(stage.section.job == 'prepare' for stage in waiting)
  if prepares and not without_films:
    prepare.check_source(config)
  for k, stage in enumerate(waiting):
    check_inputs(stage, [before.name for before in waiting[:k]])
    same_films.check(stage)
    check_ranges.check(stage.section, stage.name, check_ranges.STAGE)
  for stage in waiting:
    if stage.section.job in capacity.NETS:
      training_validate.check_stage(config, stage.name, workdir)
      check_own.check(config, stage.name)
      check_films_of(stage)
      if stage.section.job == 'mine':
        mine.check(stage)
      elif stage.section.job == 'active':
        active.check(stage)
    elif stage.section.job in CHECKS:
      CHECKS[stage.section.job](stage)
      if stage.section.job in READERS:
        check_films_of(stage)
    else:
      check_report(stage)
  if storage.exists(stages.path(workdir, stages.PREPARE, stages.DONE)):
    check_films(config, workdir)


def check_data(config: Any) -> None:
  """Check how films are split, as far as that shows without them."""
  data = config.data
  fractions = (data.validation_fraction, data.test_fraction)
  if config.seed < 0:
    raise ValueError(
      f'Expected seed of 0 or more, got {config.seed}: change --config.seed.'
    )
  training_validate.choose(data, 'data', 'age_unit', labels.UNITS)
  training_validate.choose(data, 'data', 'two_hands', ('', *two_hands.SIDES))
  drawn = config_lib.draws_phantoms(config)
  if drawn and data.age_unit != labels.UNITS[0]:
    raise ValueError(
      f'Expected data.age_unit={labels.UNITS[0]!r} for phantoms, got '
      f'{data.age_unit!r}: give a table with --config.data.table=FILE, or an '
      'archive with --config.manual_dir=DIR.'
    )
  if data.split not in splits.WAYS:
    raise ValueError(
      f'Expected data.split to be one of {", ".join(splits.WAYS)}; got '
      f'{data.split!r}: change --config.data.split.'
    )
  if min(fractions) < 0 or sum(fractions) >= 1:
    raise ValueError(
      'Expected data.validation_fraction and data.test_fraction of 0 or more '
      f'with a sum below 1, got {fractions[0]} and {fractions[1]}.'
    )
  if data.folds == 0 and data.fold >= 0:
    raise ValueError(
      f'Expected the number of folds for data.fold={data.fold}, got none: set '
      '--config.data.folds=5.'
    )
  if data.folds and (data.folds < 2 or not -1 <= data.fold < data.folds):
    raise ValueError(
      'Expected two folds or more, and a fold from 0 to one less than these '
      f'(or -1 for all of them), got data.folds={data.folds} and '
      f'data.fold={data.fold}.'
    )
  # Phantoms have no splits of their own.
  by_hash = data.split == 'hash'
  by_hash |= data.split == 'auto' and drawn
  if by_hash and not data.validation_fraction and not data.folds:
    raise ValueError(
      'Expected validation films, got data.validation_fraction=0: raise '
      '--config.data.validation_fraction.'
    )
  if data.labelled_per_class and not data.classes:
    raise ValueError(
      'Expected classes for data.labelled_per_class='
      f'{data.labelled_per_class}, got none: name them with '
      '--config.data.classes.'
    )


def check_inputs(stage: stages.Stage, before: list[str]) -> None:
  """Check that a stage can read what it names.

  Args:
    stage: that is to run.
    before: names of the stages that run before it.

  Raises:
    ValueError: a stage is not described, is of another job, or neither runs
      before nor is done.
  """
  if stage.section.job != 'prepare' and stages.PREPARE not in before:
    for builder_config in stages.builder_configs(stage.config):
      sources.prepared_folder(stage.workdir, builder_config)
  for field in stages.EDGES:
    for name in stage.named(field):
      flag = f'{stage.name}.{field}'
      section = stages.sections(stage.config).get(name)
      job = section.job if section else 'no stage of the config'
      if job not in JOBS[field]:
        raise ValueError(
          f'Expected {flag} to name a stage with the job '
          f'{" or ".join(JOBS[field])}, got {name!r} ({job}): change '
          f'--config.{flag}.'
        )
      if name not in before and not stage.other(name).done:
        raise ValueError(
          f'Expected {name!r}, which {flag} names, to run before {stage.name} '
          f'or to be finished in {stage.workdir}, got stages '
          f'{", ".join(stage.config.stages)}: add it to --config.stages, or '
          f'change --config.{flag}.'
        )


def check_films_of(stage: stages.Stage) -> None:
  """Check that films and crops fit the net."""
  config, options = stage.config, stage.section.input
  features.check_reader(stage)
  for name in stage.named('input.orientation_from'):
    if config[name].task != 'orientation':
      raise ValueError(
        f'Expected {stage.name}.input.orientation_from to name a stage with '
        f'the task orientation, got {name!r} ({config[name].task}).'
      )
  for name in stage.named('input.crops_from'):
    crops = localize.crop_names(config[name])
    missing = [region for region in options.regions if region not in crops]
    if missing or not crops:
      raise ValueError(
        f'Expected {stage.name}.input.regions among the crops of {name}, '
        f'{", ".join(crops) or "none"}; got {", ".join(missing) or "all"}: add '
        f'them to --config.{name}.crops.'
      )
    if options.crop_margin != config[name].crop_margin:
      raise ValueError(
        f'Expected one margin of crops, got {stage.name}.input.crop_margin='
        f'{options.crop_margin} and {name}.crop_margin='
        f'{config[name].crop_margin}: set both alike.'
      )


def check_report(stage: stages.Stage) -> None:
  """Check that a report is of stages that tell what it shows, and quotes."""
  task = {'report': 'age', 'classes': 'classification'}.get(stage.section.job)
  for name in (*stage.named('stage'), *stage.named('baselines')):
    told = stage.config[name].get('task', 'age')
    if task and told != task:
      raise ValueError(
        f'Expected {stage.name} to report stages with the task {task}, got '
        f'{name!r} ({told}): change --config.{stage.name}.stage or .job.'
      )
  published.check(stage)


def check_films(config: Any, workdir: str) -> None:
  """Check that the prepared films leave every stage some to train on.

  Raises:
    ValueError: they do not, or lack a number that a net reads; names the flag.
  """
  for name in config.stages:
    stage = stages.Stage(config, name, workdir)
    if stage.section.job not in capacity.NETS or stage.done:
      continue
    builder_config = stage.whole_film_stage().section.input.builder_config
    for one in folds.fold_configs(config):
      films, _ = selection.split_films(one, workdir, builder_config)
      training_validate.check_held_out(one, name, workdir, films)
      if stage.section.job == 'active':
        active.check_films(one, name, workdir)
        continue
      if stage.section.job == 'mine' and not stage.section.rounds:
        continue  # it learns nothing
      films = selection.marked(one, name, workdir, films)
      films = selection.of_sex(films, stage.section)
      trained = selection.training_films(one, films)
      if stage.section.job == 'mine':
        mask_quality.check_labelled(
          *(np.sum(films['split'] == s) for s in ('train', 'validation'))
        )
      else:
        training_validate.check_films(config, name, films, trained)
        inputs = train_step.inputs_of(stage.section)
        film_table.check_inputs(films, inputs, name)
        check_own.check(config, name, scalars.of(films))


# Of jobs that train no net; what is not among them is a report.
CHECKS = {
  'locate': check_locate.check,
  'register': register.check,
  'fit_forest': fit_forest.check,
  'fit_regressors': fit_regressors.check,
  'forest_rounds': fit_forest.check,
  'patches': patches.check,
  'ensemble': weighing.check,
  'features': features.check,
}
