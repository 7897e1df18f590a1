"""The stages of a config: which there are, what they read, where they write."""

from collections.abc import Iterator
import dataclasses
import os
from typing import Any

from boneage_jax.core import storage

# The fields of a section that name a stage, or several.
EDGES = (
  'input.crops_from',
  'input.erase_from',
  'input.orientation_from',
  'input.masks_from',
  'input.features_from',
  'features_from',
  'regions_from',
  'previous',
  'localizer',
  'keypoints',
  'forest',
  'masks_from',
  'members',
  'stage',
  'baselines',
  'init_from.run',
)

PREPARE = 'prepare'  # the stage that writes the data that all others read
# Files of a run, and the figures of its report.
CONFIG = 'config.json'
REPORT_JSON = 'report.json'
# Files of a stage.
DONE = 'done.json'  # written last: with it the stage is finished
CHECKPOINTS = 'checkpoints'
PREDICTIONS = 'predictions.csv'
FEATURES = 'features.npz'
REGRESSORS = 'regressors.npz'
REGRESSORS_JSON = 'regressors.json'
DISTRIBUTIONS = 'distributions.npz'
AGE_MAPS = 'age_maps.npz'
ATTENTION = 'attention.json'
SEGMENTATION = 'segmentation.json'
ROTATED = 'rotated.csv'
SAMPLES = 'samples.jpg'
REGIONS = 'regions.csv'
MAPS = 'maps.npz'
COVERAGE = 'coverage.json'
REGISTRATION = 'registration.csv'
REGISTRATION_JSON = 'registration.json'
POINTS = 'points.csv'
FOREST = 'forest.npz'
VOTES = 'votes.jpg'
ROUNDS = 'rounds.csv'
ROUNDS_JSON = 'rounds.json'
CROPS = 'crops.array_record'
MASKS = 'masks.array_record'
LIMITS = 'limits.json'
FILMS = 'films.csv'
ENSEMBLE = 'ensemble.json'
EXTERNAL = 'external.json'  # of a folder that `evaluate external` wrote
CALIBRATION = 'calibration.json'
QUALITY = 'quality.npz'
QUALITY_JSON = 'quality.json'
SITES = 'sites'  # folder of corrections
FITTED = (CALIBRATION, QUALITY, QUALITY_JSON, SITES)  # to what nets said


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage of a run: its section, its files and the stages that it reads."""

  config: Any
  name: str
  workdir: str

  @property
  def section(self) -> Any:
    """What the config says of it."""
    return self.config[self.name]

  @property
  def folder(self) -> str:
    """Where it writes."""
    return path(self.workdir, self.name)

  def path(self, file: str) -> str:
    """One of its files."""
    return path(self.workdir, self.name, file)

  @property
  def done(self) -> bool:
    """Whether it is finished; with folds, in all of them or for all at once."""
    if self.section.job == 'ensemble':
      return storage.exists(self.path(ENSEMBLE))
    folds = fold_folders(self.config, self.workdir)
    of_folds = [storage.exists(path(f, self.name, DONE)) for f in folds]
    return storage.exists(self.path(DONE)) or (bool(folds) and all(of_folds))

  @property
  def begun(self) -> bool:
    """Whether it has a checkpoint or a round, or is finished, in any fold."""
    return any(
      storage.exists(path(folder, self.name, DONE))
      or any(
        storage.glob(path(folder, self.name, CHECKPOINTS, kind), '*')
        or storage.exists(path(folder, self.name, CHECKPOINTS, f'{kind}.tar'))
        for kind in ('latest', 'best')
      )
      or storage.glob(path(folder, self.name), 'round_*')
      for folder in (self.workdir, *fold_folders(self.config, self.workdir))
    )

  def named(self, field: str) -> tuple[str, ...]:
    """Stages of this run that a field of EDGES names; often none."""
    section = self.section
    *outer, last = field.split('.')
    for key in outer:
      section = section.get(key) or {}
    names = section.get(last) or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    if field == 'members':
      return tuple(one for name in names for one in parts(name))
    if field == 'init_from.run':  # RUN:STAGE is of another run
      return tuple(n.removeprefix(':') for n in names if n.startswith(':'))
    return names

  def inputs(self) -> tuple['Stage', ...]:
    """The stages that it reads, in the order of EDGES."""
    names = [name for field in EDGES for name in self.named(field)]
    return tuple(self.other(name) for name in dict.fromkeys(names))

  def all_inputs(self) -> tuple['Stage', ...]:
    """The stages that it reads, and those that these read, each once."""
    found: dict[str, Stage] = {}
    waiting = list(self.inputs())
    while waiting:
      stage = waiting.pop(0)
      if stage.name not in found and stage.name in self.config:
        found[stage.name] = stage
        waiting += stage.inputs()
    return tuple(found.values())

  def other(self, name: str) -> 'Stage':
    """Another stage of the run."""
    return dataclasses.replace(self, name=name)

  def whole_film_stage(self) -> 'Stage':
    """The stage whose net sees the whole films that this one is about.

    Behind crops, the one that found their regions; of an ensemble, the first
    member's.
    """
    for field in (
      *('members', 'localizer', 'keypoints', 'forest'),
      'input.crops_from',
    ):
      for name in self.named(field):
        return self.other(name).whole_film_stage()
    return self

  def orientation(self) -> str:
    """Name the stage that turns films upright before this one, or ''."""
    return ''.join(self.whole_film_stage().named('input.orientation_from'))

  def locate_chain(self) -> tuple['Stage', ...]:
    """The locate stages that lead to this one, each from the one before."""
    before = [self.other(name) for name in self.named('previous')]
    return (*(s for b in before for s in b.locate_chain()), self)


def parts(member: str) -> tuple[str, ...]:
  """Return the stages of a member of an ensemble.

  Args:
    member: a stage; or 'boys+girls', two stages of one sex each, whose films
      together are those of one stage of both.
  """
  return tuple(member.split('+'))


def sections(config: Any) -> dict[str, Any]:
  """The stages that `config` describes, by name."""
  return {k: v for k, v in config.items() if hasattr(v, 'job')}


def of_ages(config: Any) -> list[str]:
  """Names of the stages that tell ages."""
  return [
    name
    for name, section in sections(config).items()
    if section.job == 'ensemble' or section.get('task') == 'age'
  ]


def chosen(config: Any, stage: str = '') -> str:
  """Return `stage`, or the one that the report shows.

  Raises:
    ValueError: none is named, and there is no report.
  """
  shown = stage or config.get('report', {}).get('stage', '')
  if not shown:
    able = ', '.join(of_ages(config))
    raise ValueError(
      f'{config.name} has no report that shows a stage: '
      + (f'name one, {able}.' if able else 'it tells no ages.')
    )
  return shown


def each(config: Any, workdir: str) -> Iterator[Stage]:
  """The stages that `config` describes."""
  return (Stage(config, name, workdir) for name in sections(config))


def builder_configs(config: Any) -> list[str]:
  """Every builder config that a stage reads, whichever stages run now."""
  inputs = [s.input for s in sections(config).values() if 'input' in s]
  return sorted({i.builder_config for i in inputs if i.builder_config})


def path(workdir: str, stage: str, *file: str) -> str:
  """Return the folder of a stage, or a file in it."""
  return os.path.join(workdir, stage, *file)


def config_path(workdir: str) -> str:
  """Return the path of a run's config."""
  return os.path.join(workdir, CONFIG)


def report_path(workdir: str, *file: str) -> str:
  """Return the folder of a run's report, or a file in it."""
  return os.path.join(workdir, 'report', *file)


def fold_folder(workdir: str, fold: int) -> str:
  """Return the folder of one fold's run."""
  return os.path.join(workdir, f'fold_{fold}')


def fold_folders(config: Any, workdir: str) -> list[str]:
  """Return the folders of all folds; of a run without folds, none."""
  folds = config.data.folds if config.data.fold < 0 else 0
  return [fold_folder(workdir, fold) for fold in range(folds)]
