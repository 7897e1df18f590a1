"""What the pages print is true: links, commands, flags and config fields."""

import argparse
import ast
from collections.abc import Iterator
import functools
import importlib
import importlib.util
import pathlib
import re
import shlex
from unittest import mock

from ml_collections import ConfigDict
import pytest

from boneage_jax import evaluate
from configs import common

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / 'README.md'
PAGES = (
  README,
  *sorted((ROOT / 'docs').rglob('*.md')),
  ROOT / 'benchmarks/README.md',
  ROOT / 'tfds_rsna/README.md',
  ROOT / 'results/README.md',
)
OURS = ('boneage_jax', 'tfds_rsna', 'benchmarks')
SET_UP = (
  r"python3 -m venv \.venv && \.venv/bin/pip install -q -e (\.|'\.\[test\]')"
)
FENCE = re.compile(r'^```(\w*)\n(.*?)^```', re.M | re.S)


class ParsedError(Exception):
  """A command line was parsed; the command itself need not run."""


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
  for name, _, value in flags:
    if name == 'config' and value.startswith('configs/'):
      try:
        config = load_config(value)
      except (ModuleNotFoundError, ValueError) as error:
        problems.append(f'--config={value}: {error}')
    elif name.startswith('config.'):
      if config is not None and not has_field(config, name):
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
    raise ParsedError

  def refuse(parser, message):
    raise ValueError(f'{parser.prog}: {message}')

  with (
    mock.patch.object(argparse.ArgumentParser, 'parse_args', parse),
    mock.patch.object(argparse.ArgumentParser, 'error', refuse),
    mock.patch('sys.argv', [entry, *arguments]),
  ):
    try:
      main()
    except ParsedError:
      return []
    except (SystemExit, ValueError) as error:
      return [] if getattr(error, 'code', '') == 0 else [str(error)]
  return [f'{entry} did not parse its arguments']


# Fields of configs.


@functools.cache
def load_config(value: str) -> ConfigDict:
  """Return the config of --config=configs/FILE.py:VARIANT."""
  path, _, variant = value.partition(':')
  module = path.removesuffix('.py').replace('/', '.')
  return importlib.import_module(module).get_config(variant)


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


def field_problems(text: str) -> list[str]:
  """Name the overrides of a page that are a field of no config."""
  flags = set(re.findall(r'--(config\.[\w.]*\w)', text))
  unknown = [
    flag
    for flag in sorted(flags - {'config.SECTION.FIELD'})
    if not any(has_field(config, flag) for config in all_configs())
  ]
  return [f'--{flag}: no config has this field' for flag in unknown]


def leaves(section: dict, name: str = '') -> Iterator[str]:
  """Yield the fields of a section; what depends on a net's kind as one."""
  for key, value in section.items():
    path = f'{name}.{key}' if name else key
    if isinstance(value, dict) and path not in ('net', 'loss', 'pretrained'):
      yield from leaves(value, path)
    else:
      yield path


def listed(text: str, heading: str) -> set[str]:
  """Return the fields in the first column of the tables below a heading."""
  _, _, rest = text.partition(f'\n## {heading}\n')
  return set(re.findall(r'^\| `([\w.]+)` \|', rest.partition('\n## ')[0], re.M))


# Tests.


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page_is_true(page):
  text = page.read_text(encoding='utf-8')
  problems = link_problems(text, page) + field_problems(text)
  for command in commands(text):
    problems += [
      f'{" ".join(command)}: {p}' for p in command_problems(*command)
    ]
  assert not problems, '\n'.join(problems)


def test_pages_have_links_and_commands():
  texts = {page: page.read_text(encoding='utf-8') for page in PAGES}
  assert len(commands(texts[README])) >= 6
  assert sum(len(commands(text)) for text in texts.values()) >= 60
  index = texts[ROOT / 'docs/README.md']
  assert index.count('\n') <= 40
  for page in PAGES:
    if page.parent.parent == ROOT / 'docs':
      assert f']({page.parent.name}/{page.name})' in index, page


@pytest.mark.parametrize(
  ('text', 'word'),
  [
    ('[a](nowhere.md)', 'no such file'),
    ('[a](README.md#nothing-of-that-name)', 'no such heading'),
    ('[a](#absent)\n\n# Present\n', 'no such heading'),
  ],
)
def test_wrong_link_is_found(text, word):
  assert word in ''.join(link_problems(text, README))
  assert not link_problems('[a](LICENSE) [b](#c-d)\n\n## C, d\n', README)


@pytest.mark.parametrize(
  ('line', 'word'),
  [
    ('python -m boneage_jax.mian --config=configs/cascade.py', 'no module'),
    ('python -m boneage_jax.main --workdirs=a', 'no flag --workdirs'),
    ('python -m boneage_jax.main --config=configs/casc.py', 'configs.casc'),
    ('python -m boneage_jax.main --config=configs/best.py:no', 'Presets'),
    (
      'python -m boneage_jax.main --config=configs/cascade.py:phantom \\\n'
      '  --config.assessor.net.depth=3',
      '--config.assessor.net.depth: no such field',
    ),
    ('python -m boneage_jax.predict film.png --sex=F', '--workdir'),
    (
      'python -m boneage_jax.predict --workdir=a f.png --sex=X',
      'invalid choice',
    ),
    ('python -m boneage_jax.evaluate nothing RUN', 'nothing'),
    ('python -m boneage_jax.evaluate compare RUN', 'required'),
    ('python -m boneage_jax.phantom --out=DIR --films=many', 'invalid int'),
    ('python -m tfds_rsna.build --manual=DIR', 'no flag --manual'),
    ('python -m benchmarks.first_step --turn=x', '--turn'),
    (
      'bash boneage_jax/launch/gpu.sh --gpus=0 -- --config=configs/best.py '
      '--config.nothing=1',
      '--config.nothing',
    ),
  ],
)
def test_wrong_command_is_found(line, word):
  (command,) = commands(f'Text\n\n```sh\n{line}\n```\n')
  assert word.lower() in ' '.join(command_problems(*command)).lower()


def test_wrong_field_is_found():
  problems = field_problems(
    '`--config.STAGE.input.size=1` `--config.STAGE.input.sise=1`'
  )
  assert problems == ['--config.STAGE.input.sise: no config has this field']


def test_first_block_of_the_readme():
  language, block = FENCE.findall(README.read_text(encoding='utf-8'))[0]
  run, test = block.splitlines()
  assert language == 'sh'
  config = '--config=configs/cascade.py:phantom'
  main = rf'{SET_UP} && \.venv/bin/python -m boneage_jax\.main {config}'
  assert re.fullmatch(main, run)
  assert re.fullmatch(rf'{SET_UP} && \.venv/bin/python -m pytest', test)
  assert "'.[test]'" in test


def test_readme_is_short():
  text = README.read_text(encoding='utf-8')
  assert text.count('\n') <= 180
  _, _, glossary = text.partition('\n## Glossary\n')
  lines = [line for line in glossary.partition('\n## ')[0].splitlines() if line]
  assert 5 <= len(lines) - 2 <= 12  # less the head of the table


def test_every_command_is_documented():
  text = (ROOT / 'docs/reference/command_line.md').read_text(encoding='utf-8')
  for name in evaluate.COMMANDS:
    assert f'`{name}' in text, name


@pytest.mark.parametrize(
  ('heading', 'section'),
  [
    ('Every config', common.base('', '')),
    ('Stages that train', common.train_stage()),
    ('Stages that locate', common.locate_stage()),
    ('Stages that report', common.report_stage()),
  ],
)
def test_every_field_is_documented(heading, section):
  text = (ROOT / 'docs/reference/config.md').read_text(encoding='utf-8')
  section = ConfigDict(section).to_dict()
  assert listed(text, heading) == set(leaves(section))
