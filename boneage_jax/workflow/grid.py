"""The runs of a sweep: their settings, folders and commands."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import hashlib
import itertools
import json
import os
import re
from typing import Any

from flax import traverse_util

from boneage_jax import phantom
from boneage_jax.core import config as config_lib
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.workflow import resume

PHANTOMS = 'phantoms'
SETTINGS = 'settings.json'  # what the sweep asked of a run
REPORTS = ('report', 'classes')  # jobs


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of a sweep.

  Attributes:
    values: of the settings that are swept, as text, by field.
    seed: of the run.
    folder: of the run.
  """

  values: dict[str, str]
  seed: int
  folder: str


def parse(grid: Sequence[str]) -> dict[str, list[str]]:
  """Read 'a.b=1e-4,3e-4': the values of each field.

  Commas in brackets or quotes are part of a value.

  Raises:
    ValueError: a field without values, or twice.
  """
  found: dict[str, list[str]] = {}
  for one in grid:
    name, _, text = one.partition('=')
    name = name.removeprefix('config.')
    values = [value for value in _split(text) if value]
    if not name or not values:
      raise ValueError(
        f'Expected --grid=SECTION.FIELD=VALUE,VALUE, got --grid={one}.'
      )
    if name in found:
      raise ValueError(
        f'Expected each field in one --grid, got {name} twice: join its values.'
      )
    found[name] = values
  return found


def check(fields: dict[str, list[str]], config: Any) -> None:
  """Check that a config has the fields of a sweep.

  Raises:
    ValueError: it has not, or the seed is among them; names the field.
  """
  for name in fields:
    value = config
    for part in name.split('.'):
      if not hasattr(value, 'keys') or part not in value:
        raise ValueError(
          f'Expected --grid to name a field of the config, got {name!r}, which '
          f'has no {part!r} there.'
        )
      value = value[part]
    if name == 'seed':
      raise ValueError(
        'Expected the number of seeds with --seeds=N, got --grid.'
      )


def _split(text: str) -> Iterator[str]:
  """Yield the parts between commas outside of brackets and quotes."""
  for part in re.findall(
    r"""(?:\([^)]*\)|\[[^\]]*\]|'[^']*'|"[^"]*"|[^,])+""", text
  ):
    yield part.strip()


def cells(
  fields: dict[str, list[str]], seeds: int, first: int, out: str
) -> list[Cell]:
  """Return the runs: every combination of values, with each seed.

  Args:
    fields: of `parse`.
    seeds: how many.
    first: the first of them.
    out: folder of the sweep.

  Raises:
    ValueError: fewer than one seed.
  """
  if seeds < 1:
    raise ValueError(f'Expected --seeds of 1 or more, got {seeds}.')
  names = short_names(fields)
  made = []
  for values in itertools.product(*fields.values()):
    chosen = dict(zip(fields, values, strict=True))
    for seed in range(first, first + seeds):
      parts = [f'{names[k]}_{_plain(v)}' for k, v in chosen.items()]
      folder = os.path.join(out, '__'.join([*parts, f'seed_{seed}']))
      made.append(Cell(chosen, seed, folder))
  if len({cell.folder for cell in made}) < len(made):
    raise ValueError('Expected values that differ, got one twice in --grid.')
  return made


def short_names(fields: Sequence[str] | dict[str, Any]) -> dict[str, str]:
  """Return the shortest end of each field's name that no other one has."""
  names = {}
  for field in fields:
    parts = field.split('.')
    for k in range(1, len(parts) + 1):
      names[field] = '.'.join(parts[-k:])
      others = [f for f in fields if f != field]
      if not any(f'.{f}'.endswith(f'.{names[field]}') for f in others):
        break
  return names


def _plain(value: str) -> str:
  """Return a value as part of a name: -0.5 and 0.5 are different ones."""
  return '-'.join(re.sub(r'[^\w.+-]+', ' ', value).split())


def shares_data(fields: Sequence[str] | dict[str, Any]) -> bool:
  """Whether all runs read the same prepared films."""
  fixed = resume.PREPARED
  return not any(
    name == one or name.startswith(f'{one}.')
    for name in fields
    for one in fixed
  )


def command(cell: Cell, arguments: Sequence[str], data: str) -> list[str]:
  """Return the words behind `python` that start a run.

  Args:
    cell: of the run.
    arguments: --config and its overrides, as the sweep was given them.
    data: folder of the prepared data; '' is the run's own.
  """
  return [
    *('-m', 'boneage_jax.main', *arguments),
    *(f'--config.{name}={value}' for name, value in cell.values.items()),
    f'--config.seed={cell.seed}',
    *((f'--config.data_dir={data}',) if data else ()),
    f'--workdir={cell.folder}',
  ]


def share_phantoms(config: Any, out: str, runs: Sequence[Cell]) -> None:
  """Draw the phantoms of a sweep once; every run's folder gets a link to them.

  Args:
    config: of the sweep; with a table or an archive there is nothing to draw.
    out: folder of the sweep.
    runs: of it.
  """
  if not (config_lib.draws_phantoms(config) and config.phantom.films):
    return
  drawn = os.path.join(out, PHANTOMS)
  settings = config.phantom.to_dict()
  if os.path.exists(drawn):
    phantom.check_drawn(drawn, **settings)
  else:
    phantom.write_archive(drawn, **settings, progress=True)
  for cell in runs:
    link = os.path.join(cell.folder, PHANTOMS)
    if not os.path.lexists(link):
      os.makedirs(cell.folder, exist_ok=True)
      os.symlink(os.path.relpath(drawn, cell.folder), link)


def ask(cell: Cell, config: Any) -> None:
  """Write what is asked of a run that has not begun; `config` of the sweep."""
  if not storage.exists(stages.config_path(cell.folder)):
    keep(cell, config)


def keep(cell: Cell, config: Any) -> None:
  """Write what was asked of a run."""
  os.makedirs(cell.folder, exist_ok=True)
  path = os.path.join(cell.folder, SETTINGS)
  storage.write_json(path, _asked(cell, config), indent=1)


def _asked(cell: Cell, config: Any) -> dict[str, Any]:
  content = config_lib.to_json(config)
  fields = traverse_util.flatten_dict(content, sep='.')
  # Without log_steps and the like: a run that is finished stays so.
  own = {k: v for k, v in fields.items() if config_lib.has_effect(k, content)}
  sweep = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()
  return {'config': sweep, 'seed': cell.seed, **cell.values}


def finished(cell: Cell, config: Any) -> bool:
  """Whether a run was asked the same, all its stages are done, and its report.

  One that was asked something else may be finished, too: `main` knows.
  """
  path = os.path.join(cell.folder, SETTINGS)
  if storage.read_json(path, {}) != _asked(cell, config):
    return False
  if not storage.exists(stages.config_path(cell.folder)):
    return False
  config = config_lib.read_config(stages.config_path(cell.folder))
  chosen = [stages.Stage(config, n, cell.folder) for n in config.stages]
  reports = [stage for stage in chosen if stage.section.job in REPORTS]
  written = storage.exists(stages.report_path(cell.folder, stages.REPORT_JSON))
  return all(s.done for s in chosen if s not in reports) and (
    written or not reports
  )
