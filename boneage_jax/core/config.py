"""The flag --config=FILE[:VARIANT,...][,PRESET]; the config.json of a run."""

from collections.abc import Iterator
import importlib.util
import json
import os
import pathlib
import re
import sys
from typing import Any

from absl import app
from absl import flags
import ml_collections
from ml_collections import config_flags

from boneage_jax.core import door
from boneage_jax.core import extend
from boneage_jax.core import storage

_PACKAGE = pathlib.Path(__file__).parents[1]
# Of an installed package, or of a clone.
CONFIGS = next(
  folder
  for folder in (_PACKAGE / '_configs', _PACKAGE.parent / 'configs')
  if folder.is_dir()
)


def _name_configs() -> None:
  """Make CONFIGS known as `configs`, by which config files import others."""
  spec = importlib.util.spec_from_file_location(
    'configs',
    CONFIGS / '__init__.py',
    submodule_search_locations=[str(CONFIGS)],
  )
  module = importlib.util.module_from_spec(spec)
  sys.modules['configs'] = module
  spec.loader.exec_module(module)


if 'configs' not in sys.modules:
  _name_configs()
from configs import common  # noqa: E402
from configs import system  # noqa: E402

FLAGS = flags.FLAGS
DEFAULT = 'configs/cascade.py'
HELP = ('--help', '-help', '-h', '--helpshort')
FORMAT = 1  # of config.json; the next one when old folders can't be read
# Usual values of sections by their job; see `complete` for those of nets and
# films. Weights and losses have other fields by their names.
_NET = {
  'remat': False,
  'joint_features': 0,
  'extra_inputs': (),
  'extra_outputs': (),
}
_STAGE = lambda: common.train_stage(net=_NET, pretrained={}, loss={}, input={})
_SECTIONS = {
  'train': _STAGE,
  'mine': _STAGE,
  'active': _STAGE,
  'features': lambda: {'net': _NET},
  'locate': lambda: common.locate_stage(input={}),
  'report': common.report_stage,
}
# Fields that change no result of a run: with a dot that field alone, else all
# of the name wherever they stand, but see has_effect.
NO_EFFECT = (
  'data.name',
  'threads',
  'log_steps',
  'profile_steps',
  'eval_batch_size',
  'checkpoint_steps',
  'data_dir',
)


def define() -> None:
  """Define the flag; its overrides, --config.a.b=VALUE, come with it."""
  config_flags.DEFINE_config_file(
    'config',
    None,  # A default would be read on import, where no error can be caught.
    'File that describes the system: FILE[:VARIANT,...][,PRESET] '
    f'(default: {DEFAULT}).',
    lock_config=True,
  )
  flags.DEFINE_string(
    'imports', '', f'The same as config.imports: {extend.HELP}'
  )


def _extend(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """Import what a config and flags name; choose the sections that flags name.

  Before flags change other fields: they may be in any order.

  Returns:
    names of the modules.
  """
  own = ','.join(text for _, text in _given(r'(config\.)?imports'))
  own = re.findall(r"""[^\s,()'"]+""", own)  # also of a tuple: ('a', 'b')
  names = extend.load(dict.fromkeys([*config.get('imports', ()), *own]))
  extend.choose(config, dict(_given(r'config\.(?P<path>.+)\.name')))
  return names


def _given(name: str) -> Iterator[tuple[str, str]]:
  """Yield path and value of flags, --NAME=VALUE or --NAME VALUE, in order."""
  for word, after in zip(sys.argv, [*sys.argv[1:], ''], strict=True):
    if match := re.fullmatch(rf'--?{name}(=(?P<value>.*))?', word, re.S):
      value = match['value']
      yield match.groupdict().get('path', ''), after if value is None else value


def parse(argv: list[str]) -> list[str]:
  """Parse flags; what the config does not have is said without a traceback.

  `--config.stages=prepare,localizer` is read as a tuple of names; so are
  imports. Where there is no file configs/NAME.py, that of the package is read.
  `--config.SECTION.name=NEW` gives a section the parameters of NEW.
  """
  names = re.compile(r'(--?config\.(?:stages|imports)=)([\w.]+(?:,[\w.]+)*)')
  for i, argument in enumerate(argv):
    if match := names.fullmatch(argument):
      # In place: the flag reads its overrides from sys.argv.
      argv[i] = match[1] + str(tuple(match[2].split(',')))
  if not any(a.lstrip('-').split('=')[0] == 'config' for a in argv[1:]):
    argv = [argv[0], f'--config={DEFAULT}', *argv[1:]]
  argv = packaged(argv)
  if any(a in HELP for a in argv):
    argv[1:] = [a for a in argv[1:] if a not in HELP]
    _parse(argv)
    app.usage(shorthelp=True, writeto_stdout=True)
    print(f'\nStages of {FLAGS["config"].config_filename}: {stages_text()}')
    sys.exit(0)
  return _parse(argv)


def stages_text() -> str:
  """Name the stages of the parsed config, and others that it describes."""
  config = FLAGS.config
  others = [
    k for k, v in config.items() if hasattr(v, 'job') and k not in config.stages
  ]
  text = ', '.join(config.stages)
  if others:
    text += f'; described, too: {", ".join(others)}'
  return f'{text}. Run some: --config.stages={",".join(config.stages[:2])}'


def _parse(argv: list[str]) -> list[str]:
  parser, imports, config = FLAGS['config'].parser, (), None
  read = parser.parse

  def parse_config(path):
    nonlocal imports, config
    config = read(path)
    if isinstance(config, ml_collections.ConfigDict):  # else there is no file
      with door.one_line_errors():
        imports = _extend(config)
    return config

  parser.parse = parse_config
  try:
    rest = FLAGS(argv)
    FLAGS.config.name  # noqa: B018, raises where the file could not be read
    if imports:
      FLAGS.config.imports = imports
    return rest
  except (AttributeError, KeyError) as error:
    inner = error.args[0]  # An AttributeError here wraps a KeyError.
    text = inner.args[0] if isinstance(inner, KeyError) else inner
    flag = _flag_of(argv, str(text).partition("'")[2].partition("'")[0])
    near = '' if 'Did you mean' in text else _beside(config, flag)
    sys.exit(f'Error: {flag}the config has no field {text}{near}')
  except OSError as error:
    sys.exit(f'Error: {error}')
  except (ValueError, flags.Error) as error:
    # Of a config that refuses its variant, what the traceback in it ends with.
    sys.exit(f'Error: {str(error).rpartition("ValueError: ")[2].strip()}')


def packaged(argv: list[str]) -> list[str]:
  """Name the package's file for each configs/NAME.py that is not here."""
  return [_packaged(argument) for argument in argv]


def _packaged(argument: str) -> str:
  match = re.fullmatch(r'(--?config=)?configs/(\w+\.py)(:.*)?', argument)
  if not match or os.path.exists(os.path.join('configs', match[2])):
    return argument
  flag, name, rest = match.groups('')
  path = CONFIGS / name
  return f'{flag}{path}{rest}' if path.exists() else argument


def _flag_of(argv: list[str], field: str) -> str:
  """The override that names `field`, with a colon; empty where none does."""
  given = (argument.partition('=')[0] for argument in argv)
  return next((f'{x}: ' for x in given if field in x.split('.')[1:]), '')


def _beside(config: Any, flag: str) -> str:
  """Say which fields there are where a flag names one that is not."""
  for name in flag.rstrip(': ').split('.')[1:]:
    if not isinstance(config, ml_collections.ConfigDict):
      return ''
    if name not in config:
      return f'; there are {", ".join(sorted(config))}'
    config = config[name]
  return ''


def to_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Return the content of config.json."""
  content = json.loads(config.to_json_best_effort())
  return complete({'format': FORMAT, **content})


def read_json(path: str) -> dict[str, Any]:
  """Read the content of the config.json of a run, see `complete`.

  Raises:
    ValueError: another version wrote it, or it is damaged.
  """
  content = storage.read_json(path)
  if content.get('format') != FORMAT:
    raise ValueError(
      f'Expected "format": {FORMAT} in {path}, got '
      f'{content.get("format", "none")}: another version of boneage_jax wrote '
      'this run. Use that version, or run again with another --workdir.'
    )
  return complete(content)


def read_config(path: str) -> ml_collections.ConfigDict:
  """Read the config.json of a run.

  Raises:
    ValueError: another version wrote it.
  """
  return from_json(read_json(path))


def from_json(content: dict[str, Any]) -> ml_collections.ConfigDict:
  """Return the config of the content of a config.json."""
  rest = {name: value for name, value in content.items() if name != 'format'}
  return ml_collections.ConfigDict(rest)


def complete(content: dict[str, Any]) -> dict[str, Any]:
  """Return a config with the usual values of fields that it does not have.

  A run may be older than a field, and went as the field's usual value goes.

  Args:
    content: of a config.json.
  """
  new = _filled(content, system.base('', ''))
  for name, section in new.items():
    if isinstance(section, dict) and 'job' in section:
      new[name] = _complete_section(section)
  return new


def _complete_section(section: dict[str, Any]) -> dict[str, Any]:
  usual = _SECTIONS.get(section['job'], dict)()
  films, net = (section.get(part) or {} for part in ('input', 'net'))
  if 'size' in films:
    usual['input'] = common.image_input()
  if net.get('name') == 'age_net':
    usual['net'] = common.age_net(backbone={})
  return _filled(section, usual)


def _filled(old: dict[str, Any], usual: Any) -> dict[str, Any]:
  """Return `old` with what it lacks of `usual`, level by level."""
  new = dict(old)
  for name, value in json.loads(json.dumps(dict(usual), default=dict)).items():
    if name not in new:
      new[name] = value
    elif isinstance(value, dict) and isinstance(new[name], dict):
      new[name] = _filled(new[name], value)
  return new


def draws_phantoms(config: ml_collections.ConfigDict) -> bool:
  """Whether the films of a run are neither of a table nor of an archive."""
  return not (config.manual_dir or config.data.table)


def has_effect(field: str, content: Any) -> bool:
  """Whether a field, named from the top, can change a result of a run.

  Args:
    field: its name.
    content: of the run's config.json.
  """
  stage, _, rest = field.partition('.')
  if rest == 'eval_batch_size' and _is_random(content.get(stage, {})):
    return True
  return field not in NO_EFFECT and field.rpartition('.')[2] not in NO_EFFECT


def _is_random(section: dict[str, Any]) -> bool:
  """Whether the statistics of a stage's net are those of its batches."""
  files = (one.get('path') for one in section.get('pretrained', {}).values())
  return section.get('job') == 'features' and not any(files)


def differences(old: Any, new: Any, name: str = '') -> list[str]:
  """Names of the fields in which two nested dicts differ."""
  if not (isinstance(old, dict) and isinstance(new, dict)):
    return [] if old == new else [name]
  found = []
  for key in sorted(old.keys() | new.keys()):
    path = f'{name}.{key}' if name else key
    if key not in old or key not in new:
      found.append(path)
    else:
      found += differences(old[key], new[key], path)
  return found
