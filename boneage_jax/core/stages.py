"""The stages of a config: which there are, and which read which."""

import os
from typing import Any


def builder_configs(config: Any) -> list[str]:
  """Every builder config that a stage reads, whichever stages run now."""
  inputs = [s.input for s in sections(config).values() if 'input' in s]
  return sorted({i.builder_config for i in inputs if i.builder_config})


def sections(config: Any) -> dict[str, Any]:
  """The stages that `config` describes, by name."""
  return {k: v for k, v in config.items() if hasattr(v, 'job')}


def orientation_stage(config: Any, stage: str) -> str:
  """The stage that turns films upright before `stage` reads them, or ''."""
  section = config[stage]
  if section.job == 'ensemble':
    return orientation_stage(config, section.members[0])
  if section.job == 'locate':
    return orientation_stage(config, section.localizer)
  if section.input.crops_from:
    return orientation_stage(config, section.input.crops_from)
  return section.input.orientation_from


def fold_folder(workdir: str, fold: int) -> str:
  """Return the folder of one fold's run."""
  return os.path.join(workdir, f'fold_{fold}')


def chain(config: Any, stage: str) -> list[str]:
  """The locate stages that lead to `stage`, each from the one before."""
  before = config[stage].get('previous', '')
  return [*(chain(config, before) if before else ()), stage]
