"""Code from outside: what modules of a user add to the tables of names.

A config chooses backbones, nets, losses, tasks, augmentations and jobs by name
from tables; each stands beside a function `add`. A command imports the modules
that it names with --imports, and no others: a run, or a model file, says which
it needs, but not what is imported.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import importlib
import inspect
import os
import pathlib
import re
import sysconfig
import traceback
from typing import Any
from typing import NamedTuple
from typing import get_args
from typing import get_origin

import ml_collections

from boneage_jax.core import door

HELP = 'modules of your own to import: A,B'


class Table(NamedTuple):
  """What a field of a config is chosen from.

  Attributes:
    entries: by name.
    given: parameters of an entry that are no fields of its section.
    shared: fields of a section that every entry has.
    own: names of entries that modules of a user added.
  """

  entries: dict[str, Any]
  given: tuple[str, ...]
  shared: tuple[str, ...]
  own: set[str]


TABLES: dict[str, Table] = {}
_IMPORTED: set[str] = set()
# Where no code of a user is: this package, others, and Python.
_PATHS = ('stdlib', 'platstdlib', 'purelib', 'platlib')
_OTHERS = (
  f'{pathlib.Path(__file__).parents[1]}{os.sep}',
  *(sysconfig.get_path(name) for name in _PATHS),
  '<frozen ',
)


def table(
  field: str,
  entries: dict[str, Any],
  given: Sequence[str] = (),
  shared: Sequence[str] = (),
) -> Callable[[str, Any], None]:
  """Let modules of a user add to what a field of configs is chosen from.

  Args:
    field: its name. Where it is a section, the entry is its `name`, and the
      other fields are parameters of that entry.
    entries: by name.
    given, shared: see `Table`.

  Returns:
    add(name, entry), which raises ValueError where the name is taken, or the
    entry does not take what it is given.
  """
  own: set[str] = set()
  TABLES[field] = Table(entries, tuple(given), tuple(shared), own)

  def add(name: str, entry: Any) -> None:
    """Add an entry to the table; raises ValueError if it cannot be."""
    if name in entries:
      raise ValueError(
        f'Expected a new name for a {field}, got {name!r}, which is taken: '
        'choose another.'
      )
    takes = _signature(entry) if given else {}
    lacks = [one for one in given if one not in takes and one != 'remat']
    if lacks:
      raise ValueError(
        f'Expected the {field} {name!r} to take {", ".join(lacks)}, got the '
        f'parameters {", ".join(takes)}.'
      )
    entries[name] = entry
    own.add(name)

  return add


def is_own(field: str, name: str) -> bool:
  """Whether an entry is of a module of a user."""
  return name in TABLES[field].own


def load(modules: str | Iterable[str]) -> tuple[str, ...]:
  """Import modules of a user, and return their names.

  Args:
    modules: names, or a text with commas between them.

  Raises:
    ValueError: one cannot be imported; says why, in one line.
  """
  names = modules.split(',') if isinstance(modules, str) else modules
  names = tuple(name.strip() for name in names if name.strip())
  for name in names:
    _import(name)
    _IMPORTED.add(name)
  return names


def _import(name: str) -> None:
  if not re.fullmatch(r'\w+(\.\w+)*', name) or name.endswith('.py'):
    raise ValueError(
      f'Expected the name of a Python module for --imports, got {name!r}: '
      'of my_nets.py it is my_nets.'
    )
  try:
    importlib.import_module(name)
  except ModuleNotFoundError as error:
    if f'{name}.'.startswith(f'{error.name}.'):
      raise ValueError(
        f'There is no module {error.name} to import: give the command in the '
        f'folder of {error.name}.py, or add that folder to PYTHONPATH.'
      ) from error
    raise ValueError(_failed(name, error)) from error
  except Exception as error:  # whatever a user's code may raise
    raise ValueError(_failed(name, error)) from error


def _failed(name: str, error: Exception) -> str:
  """Say in one line why, and where, a module ended with an error."""
  where = place(error)
  if isinstance(error, SyntaxError):
    where = f'{error.filename}, line {error.lineno}: '
  return (
    f'The module {name} cannot be imported: {where}{type(error).__name__}: '
    f'{door.reason(error)}'
  )


def place(error: Exception) -> str:
  """Return the last line of a user's code that an error came through.

  Returns:
    'FILE, line N: ', or '' where all of it is of this package or of others.
  """
  own = [
    frame
    for frame in traceback.extract_tb(error.__traceback__)
    if not frame.filename.startswith(_OTHERS)
  ]
  return f'{own[-1].filename}, line {own[-1].lineno}: ' if own else ''


def check(config: Mapping[str, Any], place: str) -> None:
  """Check that the modules that a run needs were imported.

  Args:
    config: of the run.
    place: its folder.

  Raises:
    ValueError: they were not; says what to add to the command.
  """
  needed = tuple(config.get('imports', ()))
  if not _IMPORTED.issuperset(needed):
    names = ','.join(needed)
    raise ValueError(
      f'Expected --imports={names}, as the run in {place} has parts of these '
      f'modules, got {",".join(sorted(_IMPORTED)) or "none"} (from Python: '
      f'load(RUN, imports={names!r})).'
    )


def add_flag(parser: argparse.ArgumentParser) -> None:
  """Add --imports, which imports modules while it is parsed."""

  def imported(text: str) -> tuple[str, ...]:
    with door.one_line_errors():
      return load(text)

  parser.add_argument('--imports', type=imported, default=(), help=HELP)


def choose(config: ml_collections.ConfigDict, names: Mapping[str, str]) -> None:
  """Give sections the fields of other entries of their tables.

  Args:
    config: is changed.
    names: section, named from the top, to the name of its new entry. Sections
      that the config does not have are left to the reader of flags.

  Raises:
    ValueError: there is no such entry, or it needs what the section lacks.
  """
  for path in sorted(names, key=lambda path: path.count('.')):
    section = config
    for part in path.split('.'):
      section = section.get(part) if hasattr(section, 'get') else None
    if not hasattr(section, 'get') or section.get('name') in (
      *(None, names[path]),
    ):
      continue
    field = _field_of(path.rpartition('.')[2], section.name)
    if field:
      flag = f'--config.{path}.name={names[path]}'
      _replace(section, field, names[path], flag)


def _field_of(field: str, name: str) -> str:
  """Name the table of a section, such as `carpal` with a backbone in it."""
  sections = {f: one.entries for f, one in TABLES.items() if one.given}
  if field in sections:
    return field
  found = (f for f, entries in sections.items() if name and name in entries)
  return next(found, '')  # none of a section such as `data`, whose name is free


def _replace(
  section: ml_collections.ConfigDict, field: str, name: str, flag: str
) -> None:
  table = TABLES[field]
  if name not in table.entries:
    raise ValueError(
      f'{flag}: expected one of {", ".join(sorted(table.entries))}.'
    )
  fields = {'name': name}
  fields |= {key: section[key] for key in table.shared if key in section}
  for key, parameter in parameters(field, name).items():
    if key in fields:
      continue
    if parameter.default is not parameter.empty:
      fields[key] = _usual(parameter)
    elif key in section:
      fields[key] = section[key]
    else:
      raise ValueError(
        f'{flag}: it needs {key}, for which it has no default and the config '
        'no value. Give the parameter a default, or write a config file.'
      )
  with section.unlocked():
    for key in list(section):
      del section[key]
    for key, value in fields.items():
      section[key] = value


def parameters(field: str, name: str) -> dict[str, inspect.Parameter]:
  """Return the parameters of an entry that are fields of its section."""
  table = TABLES[field]
  every = _signature(table.entries[name])
  return {key: one for key, one in every.items() if key not in table.given}


def _signature(entry: Any) -> dict[str, inspect.Parameter]:
  made = entry.__init__ if isinstance(entry, type) else entry
  every = dict(inspect.signature(made).parameters)
  if isinstance(entry, type):
    every.pop('self', None)
  variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
  return {k: one for k, one in every.items() if one.kind not in variable}


def _usual(parameter: inspect.Parameter) -> Any:
  """Return a default as a config takes it; of None, its type is kept."""
  value, wanted = parameter.default, parameter.annotation
  if value is None:
    kinds = [k for k in get_args(wanted) if k is not type(None)]
    kind = get_origin(kinds[0]) or kinds[0] if len(kinds) == 1 else object
    return ml_collections.config_dict.placeholder(kind)
  if wanted is float and type(value) is int:
    return float(value)
  return tuple(value) if isinstance(value, list) else value
