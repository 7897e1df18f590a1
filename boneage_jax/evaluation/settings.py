"""Settings in which runs differ, as far as their predictions depend on them."""

from collections.abc import Sequence
import os
from typing import Any

from boneage_jax.core import config as config_lib
from boneage_jax.core import stages
from boneage_jax.evaluation import text_table
from boneage_jax.runs import run as run_lib

ROOTS = ('data', 'phantom', 'seed')  # that every stage reads
MOST = 16  # rows of a table
WIDEST = 40  # letters of a value
ABSENT = '-'


def settings_table(runs: Sequence[run_lib.Run]) -> str:
  """Lay out the settings that differ, a row each and a column for each run.

  Returns:
    '' where there is one run, the config of one is not known, or all are alike.
  """
  if len(runs) < 2 or any(run.config is None for run in runs):
    return ''
  read = [read_by(run) for run in runs]
  names = differing(read)
  if not names:
    return ''
  rows = [[name, *(shown(one, name) for one in read)] for name in names[:MOST]]
  text = text_table.layout(
    ('settings that differ', *(run.name for run in runs)), rows
  )
  more = len(names) - MOST
  return text + (f'\nand {more} more.' if more > 0 else '')


def differing(configs: Sequence[dict[str, Any]]) -> list[str]:
  """Name the fields that are not alike in all of some nested dicts."""
  first = configs[0]
  names = {
    name
    for other in configs[1:]
    for name in config_lib.differences(first, other)
  }
  return sorted(name for name in names if config_lib.has_effect(name, first))


def read_by(run: run_lib.Run) -> dict[str, Any]:
  """Return the settings that the predictions of a run depend on.

  Those of the stage, of the stages that it reads, and of the films.
  """
  name = os.path.basename(run.folder)
  stage = stages.Stage(run.config, name, os.path.dirname(run.folder))
  content = config_lib.to_json(run.config)
  found = {root: content[root] for root in ROOTS if root in content}
  if name not in run.config:
    return found
  for one in (stage, *stage.all_inputs()):
    found[one.name] = content[one.name]
  return found


def shown(content: dict[str, Any], name: str) -> str:
  """Return the value of a field as text, short; ABSENT where there is none."""
  value: Any = content
  for part in name.split('.'):
    if not isinstance(value, dict) or part not in value:
      return ABSENT
    value = value[part]
  text = 'set' if isinstance(value, dict) else str(value)
  return text if len(text) <= WIDEST else f'{text[: WIDEST - 3]}...'
