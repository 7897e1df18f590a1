"""Problems of Markdown pages: links, commands, flags and config fields."""

import argparse
import ast
import functools
import importlib
import importlib.util
import pathlib
import re
import shlex
from unittest import mock

from ml_collections import ConfigDict

ROOT = pathlib.Path(__file__).parents[2]
OURS = ('boneage_jax', 'tfds_rsna', 'benchmarks')
FENCE = re.compile(r'^```(\w*)\n(.*?)^```', re.M | re.S)


class ParsedError(Exception):
  """A command line was parsed; the command itself need not run.

  Attributes:
    parser: what parsed it.
  """

  def __init__(self, parser: argparse.ArgumentParser):
    super().__init__()
    self.parser = parser


# Links.


def slugs(text: str) -> set[str]:
  """Return the anchors that GitHub gives to the headings of a page."""
  headings = re.findall(r'^#+ (.*)$', FENCE.sub('', text), re.M)
  words = [re.sub(r'[^\w\- ]', '', heading.lower()) for heading in headings]
  return {heading.strip().replace(' ', '-') for heading in words}


def link_problems(text: str, page: pathlib.Path) -> list[str]:
  """Name the relative links of a page whose file or heading is missing."""
  problems = []
  for link in re.findall(r'\]\(([^)\s]+)\)', FENCE.sub('', text)):
    if re.match(r'\w+:', link):
      continue
    name, _, anchor = link.partition('#')
    target = page.parent / name if name else page
    if not target.exists():
      problems.append(f'{link}: no such file')
    elif anchor:
      linked = text if target == page else target.read_text(encoding='utf-8')
      if anchor not in slugs(linked):
        problems.append(f'{link}: no such heading')
  return problems


# Commands.


def commands(text: str) -> list[list[str]]:
  """Return the commands of our modules on a page: [module, argument, ...].

  They stand in code blocks or in inline code. Inline code that only names a
  command counts as a call for help, and a launch script as the
  `boneage_jax.main` that it starts.
  """
  lines = []
  for language, block in FENCE.findall(text):
    if language in ('sh', 'shell'):
      lines += block.replace('\\\n', ' ').splitlines()
  for code in re.findall(r'`([^`]+)`', FENCE.sub('', text)):
    line = code.replace('\n', ' ')
    name = re.fullmatch(r'python -m (boneage_jax\.evaluate \S+|\S+)', line)
    lines.append(f'{line} --help' if name else line)
  found = []
  for line in lines:
    for part in re.split(r'&&|;|\|', line):
      match = re.search(r'python3? -m (\S+)(.*)', part)
      script = re.search(r'boneage_jax/launch/(\S+\.sh)\b.* -- (.*)', part)
      if match and match[1].split('.')[0] in OURS:
        found.append([match[1], *shlex.split(match[2], comments=True)])
      elif script:
        assert (ROOT / 'boneage_jax/launch' / script[1]).exists(), part
        found.append(['boneage_jax.main', *shlex.split(script[2])])
  return found


def command_problems(module: str, *arguments: str) -> list[str]:
  """Name what a command asks for that does not exist."""
  try:
    spec = importlib.util.find_spec(module)
    if spec and spec.submodule_search_locations is not None:
      spec = importlib.util.find_spec(f'{module}.__main__')
  except ModuleNotFoundError:
    spec = None
  if spec is None:
    return [f'no module {module}']
  defined = absl_flags(pathlib.Path(spec.origin))
  if not defined:
    return parse_problems(spec.name, arguments)
  flags = [a[2:].partition('=') for a in arguments if a.startswith('--')]
  problems, config = [], None
  chosen = chosen_sections([name for name, _, _ in flags])
  for name, _, value in flags:
    if name == 'config' and value.startswith('configs/'):
      config = None if config_problems(value) else load_config(value)
    elif name.startswith('config.'):
      known = config is None or name.rpartition('.')[0] in chosen
      if not known and not has_field(config, name):
        problems.append(f'--{name}: no such field')
    elif name not in {*defined, 'help'}:
      problems.append(f'{module} has no flag --{name}')
  return problems


def absl_flags(source: pathlib.Path, deep: bool = True) -> set[str]:
  """Return the flags that a file defines, or one that it imports."""
  tree = ast.parse(source.read_text(encoding='utf-8'))
  names = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
      if node.func.attr.startswith('DEFINE_'):
        names.add(node.args[0].value)
    elif isinstance(node, ast.ImportFrom) and deep:
      for alias in node.names:
        path = ROOT / f'{node.module}.{alias.name}'.replace('.', '/')
        if path.with_suffix('.py').exists():
          names |= absl_flags(path.with_suffix('.py'), deep=False)
  return names


def parse_problems(entry: str, arguments: tuple[str, ...]) -> list[str]:
  """Let a command's own parser read its arguments; return what it refuses."""
  if arguments == ('--help',):
    return []
  main = importlib.import_module(entry).main
  parse_args = argparse.ArgumentParser.parse_args

  def parse(parser, argv=None, namespace=None):
    parse_args(parser, argv, namespace)
    raise ParsedError(parser)

  def refuse(parser, message):
    raise ValueError(f'{parser.prog}: {message}')

  with (
    mock.patch.object(argparse.ArgumentParser, 'parse_args', parse),
    mock.patch.object(argparse.ArgumentParser, 'error', refuse),
    mock.patch('sys.argv', [entry, *arguments]),
    mock.patch('boneage_jax.core.extend.load'),  # of modules of a page
  ):
    try:
      main()
    except ParsedError:
      return []
    except (SystemExit, ValueError) as error:
      return [] if getattr(error, 'code', '') == 0 else [str(error)]
  return [f'{entry} did not parse its arguments']


def modules() -> list[str]:
  """Return what `python -m` runs of our code, but for what commands start."""
  inner = ('boneage_jax.imaging.codec_worker', 'boneage_jax.serve.dicom.answer')
  found = []
  for top in ('boneage_jax', 'tfds_rsna'):
    for path in sorted((ROOT / top).rglob('*.py')):
      text = path.read_text(encoding='utf-8')
      if re.search(r"^if __name__ == '__main__'", text, re.M):
        found.append('.'.join(path.relative_to(ROOT).with_suffix('').parts))
  return [name for name in found if name not in inner]


def flags_of(module: str) -> set[str]:
  """Return the flags that a module defines, by absl or argparse."""
  source = (ROOT / module.replace('.', '/')).with_suffix('.py')
  if absl_flags(source, deep=False):
    return absl_flags(source)

  def parse(parser, argv=None, namespace=None):
    raise ParsedError(parser)

  with (
    mock.patch.object(argparse.ArgumentParser, 'parse_args', parse),
    mock.patch('sys.argv', [module]),
  ):
    try:
      importlib.import_module(module).main([])
    except ParsedError as seen:
      actions = seen.parser._actions
      names = {name for action in actions for name in action.option_strings}
      return {n[2:] for n in names if n.startswith('--')} - {'help'}
  raise ValueError(f'{module} parses no arguments')


# Folders of runs.


def folder_problems(text: str) -> list[str]:
  """Name default folders of runs where `_` joins what a variant joins by `,`.

  --config=configs/NAME.py:A,B writes to runs/NAME_A,B.
  """
  problems = []
  for path in sorted((ROOT / 'configs').glob('*.py')):
    module = importlib.import_module(f'configs.{path.stem}')
    if not hasattr(module, 'get_config'):
      continue
    parts = '|'.join(map(re.escape, (*module.VARIANTS, *module.PRESETS)))
    if parts:
      joined = rf'runs/{path.stem}_(?:{parts})(?:,(?:{parts}))*_(?:{parts})\b'
      problems += re.findall(joined, text)
  return [f'{name}: parts of a variant have commas' for name in problems]


# Fields of configs.


@functools.cache
def load_config(value: str) -> ConfigDict:
  """Return the config of --config=configs/FILE.py:VARIANT."""
  path, _, variant = value.partition(':')
  module = path.removesuffix('.py').replace('/', '.')
  return importlib.import_module(module).get_config(variant)


def config_problems(text: str) -> list[str]:
  """Name the configs of a page, with variant and preset, that do not load."""
  problems = []
  for value in sorted(set(re.findall(r'configs/[a-z_]+\.py[\w:,+]*', text))):
    try:
      if not value.endswith(('common.py', 'presets.py', 'system.py')):
        load_config(value)
    except (ModuleNotFoundError, ValueError) as error:
      problems.append(f'{value}: {error}')
  return problems


@functools.cache
def all_configs() -> tuple[ConfigDict, ...]:
  """Return every config, with each variant and preset by itself."""
  found = []
  for path in sorted((ROOT / 'configs').glob('*.py')):
    module = importlib.import_module(f'configs.{path.stem}')
    if hasattr(module, 'get_config'):
      for part in ('', *module.VARIANTS, *module.PRESETS):
        found.append(load_config(f'configs/{path.name}:{part}'))
  return tuple(found)


def has_field(config: ConfigDict, flag: str) -> bool:
  """Tell whether `config.a.b` is a field; STAGE stands for some stage."""
  found = [config]
  for part in flag.split('.')[1:]:
    found = [s for s in found if isinstance(s, ConfigDict)]
    if part == 'STAGE':
      found = [s for c in found for s in c.values() if hasattr(s, 'job')]
    else:
      found = [section[part] for section in found if part in section]
  return bool(found)


def chosen_sections(flags: list[str]) -> set[str]:
  """Return sections that a `name` gives other fields, of flags of a page."""
  return {
    flag.removesuffix('.name')
    for flag in flags
    if flag.endswith('.name') and flag.count('.') > 2
  }


def field_problems(text: str) -> list[str]:
  """Name the overrides of a page that are a field of no config."""
  flags = set(re.findall(r'--(config\.[\w.]*\w)', text))
  chosen = chosen_sections(list(flags))
  unknown = [
    flag
    for flag in sorted(flags - {'config.SECTION.FIELD', 'config.SECTION.name'})
    if flag.rpartition('.')[0] not in chosen
    and not any(has_field(config, flag) for config in all_configs())
  ]
  return [f'--{flag}: no config has this field' for flag in unknown]
