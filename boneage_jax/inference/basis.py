"""What a prediction rests on: the method, the code and the films."""

from typing import Any
from typing import NamedTuple

import boneage_jax
from boneage_jax.core import config as config_lib
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import sources
from boneage_jax.runs import lineage

SYNTHETIC = 'trained on synthetic films; ages of real films are meaningless'


class Basis(NamedTuple):
  """What a prediction rests on.

  Attributes:
    method: the config and the stage, as 'cascade:phantom, assessor'.
    version: of boneage_jax.
    data: the films that it was trained on, in words.
    synthetic: whether these are phantoms.
  """

  method: str
  version: str
  data: str
  synthetic: bool

  @property
  def trained_on(self) -> str:
    """The films in words; of phantoms, what that means."""
    return f'{self.data}; {SYNTHETIC}' if self.synthetic else self.data

  @property
  def sentence(self) -> str:
    """All of it in one line."""
    line = f'{self.method}, boneage_jax {self.version}, '
    if self.synthetic:
      return f'{line}{SYNTHETIC} ({self.data}).'
    return f'{line}trained on {self.data}.'


def of_run(config: Any, stage: str, workdir: str) -> Basis:
  """Say what the predictions of a stage rest on."""
  data = known_data(config, workdir)
  preset = f':{config.variant}' if config.get('variant') else ''
  return Basis(
    f'{config.name}{preset}, {stage}',
    boneage_jax.__version__,
    lineage.dataset_line({k: v for k, v in data.items() if k != 'split'}),
    data['phantom'],
  )


def known_data(config: Any, workdir: str) -> dict[str, Any]:
  """Return what is known of a run's films, and `phantom`: are they synthetic?

  Returns:
    `lineage.data_set`; where the prepared films are gone, as in a model file,
    that of the report.
  """
  try:
    builder_config = stages.builder_configs(config)[0]
    folder = sources.prepared_folder(workdir, builder_config)
    data = lineage.data_set(folder, '', config.data.name)
  except (ValueError, IndexError):
    path = stages.report_path(workdir, stages.REPORT_JSON)
    data = storage.read_json(path, {}).get('data', {})
  data.setdefault('phantom', config_lib.draws_phantoms(config))
  return data
