"""Every command of the README and docs exists, with flags and config fields."""

import importlib.util
import pathlib
import re
import shlex

import pytest

from boneage_jax import evaluate

ROOT = pathlib.Path(__file__).parent.parent
PAGES = ['README.md', *(f'docs/{p.name}' for p in (ROOT / 'docs').glob('*.md'))]


def text_of(page):
  return (ROOT / page).read_text(encoding='utf-8')


def commands(page):
  """Commands `python -m ...` of the code blocks and of inline code."""
  code = re.findall(r'```sh\n(.*?)```', text_of(page), re.S)
  code += re.findall(r'`(python -m [^`]*)`', text_of(page))
  lines = '\n'.join(code).replace('\\\n', ' ')
  lines = re.sub(r'\n(?=--)', ' ', lines)  # inline code breaks with the text
  lines = [line.strip() for line in lines.splitlines()]
  return [line for line in lines if line.startswith('python -m')]


def build(path):
  name, _, variant = path.partition(':')
  spec = importlib.util.spec_from_file_location('config', ROOT / name)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(variant)


def test_there_are_commands():
  assert len(commands('README.md')) >= 6
  assert len(commands('docs/results.md')) >= 20


@pytest.mark.parametrize(
  'command', sorted({command for page in PAGES for command in commands(page)})
)
def test_command_exists(command):
  _, _, module, *arguments = shlex.split(command)
  assert importlib.util.find_spec(module) is not None
  flags = dict(
    a[2:].partition('=')[::2] for a in arguments if a.startswith('--')
  )
  if flags.get('config', '').startswith('configs/'):
    path = flags.pop('config')
    config = build(path)
    for name in [name for name in flags if name.startswith('config.')]:
      field = config
      for part in name.split('.')[1:]:
        assert part in field, f'{name} is not a field of {path}'
        field = field[part]
      del flags[name]
  folder = ROOT / module.replace('.', '/')
  files = [folder.with_suffix('.py'), folder / '__main__.py']
  if module == 'boneage_jax.evaluate':
    files = [ROOT / f'boneage_jax/{evaluate.COMMANDS[arguments[0]]}.py']
  if module.startswith('benchmarks.'):
    files.append(ROOT / 'benchmarks/pairs.py')  # the flags they share
  text = ''.join(f.read_text(encoding='utf-8') for f in files if f.exists())
  for name in flags:
    assert re.search(rf"['\"](--)?{name}['\"]", text), f'{command}: --{name}'


@pytest.mark.parametrize('page', PAGES)
def test_files_named_in_links_exist(page):
  links = re.findall(r'\]\((?!http)([^)#]+)\)', text_of(page))
  assert links or page != 'README.md'
  for link in links:
    assert (ROOT / page).parent.joinpath(link).exists(), link
