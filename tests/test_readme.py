"""Every command of the README exists, with its flags and config fields."""

import importlib.util
import pathlib
import re
import shlex

import pytest

from boneage_jax import evaluate

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def commands():
  """Commands `python -m ...` of the code blocks and of inline code."""
  code = re.findall(r'```sh\n(.*?)```', README, re.S)
  code += re.findall(r'`(python -m [^`]*)`', README)
  lines = '\n'.join(code).replace('\\\n', ' ')
  lines = re.sub(r'\n(?=--)', ' ', lines)  # inline code breaks with the text
  return [line for line in lines.splitlines() if line.startswith('python -m')]


def build(path):
  name, _, variant = path.partition(':')
  spec = importlib.util.spec_from_file_location('config', ROOT / name)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(variant)


def test_there_are_commands():
  assert len(commands()) >= 6


@pytest.mark.parametrize('command', commands())
def test_command_exists(command):
  _, _, module, *arguments = shlex.split(command)
  assert importlib.util.find_spec(module) is not None
  flags = dict(
    a[2:].partition('=')[::2] for a in arguments if a.startswith('--')
  )
  if module == 'boneage_jax.main':
    config = build(flags['config'])
    for name in flags:
      if name.startswith('config.'):
        field = config
        for part in name.split('.')[1:]:
          assert part in field, f'{name} is not a field of {flags["config"]}'
          field = field[part]
  else:
    folder = ROOT / module.replace('.', '/')
    files = [folder.with_suffix('.py'), folder / '__main__.py']
    if module == 'boneage_jax.evaluate':
      name = evaluate.COMMANDS[arguments[0]]
      files = [ROOT / 'boneage_jax' / f'{name}.py']
    text = next(f for f in files if f.exists()).read_text(encoding='utf-8')
    for name in flags:
      assert re.search(rf"['\"](--)?{name}['\"]", text), f'{command}: --{name}'


def test_files_named_in_links_exist():
  links = re.findall(r'\]\((?!http)([^)#]+)\)', README)
  assert links
  for link in links:
    assert (ROOT / link).exists(), link
