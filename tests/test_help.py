"""Every command says what it does, with an example to copy."""

import ast
import contextlib
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

from boneage_jax import evaluate

ROOT = pathlib.Path(__file__).parent.parent
PLAIN = (  # with argparse
  *('boneage_jax.predict', 'boneage_jax.export', 'boneage_jax.evaluate'),
  *('boneage_jax.phantom.__main__', 'tfds_rsna.import_annotations'),
  'tfds_rsna.import_table',
)
BY_DOCSTRING = (  # of absl's flags, and of what needs further packages
  *('boneage_jax.main', 'boneage_jax.preview', 'boneage_jax.sweep'),
  *('boneage_jax.train_compile.__main__', 'tfds_rsna.build'),
  *('boneage_jax.serve.__main__', 'boneage_jax.serve.dicom.__main__'),
)
# Processes that commands start.
INNER = ('boneage_jax.imaging.codec_worker', 'boneage_jax.serve.dicom.answer')


def has_example(text, command):
  """Whether a line calls the command with an argument that may be copied."""
  module = command.removesuffix('.__main__')
  lines = re.findall(rf'^ .*python -m {re.escape(module)}\S* .*$', text, re.M)
  lines += re.findall(rf'python -m {re.escape(module)} \S.*$', text, re.M)
  return bool(lines)


@pytest.mark.parametrize('name', PLAIN)
def test_help_has_an_example(name, capsys):
  with contextlib.suppress(SystemExit):
    importlib.import_module(name).main(['--help'])
  assert has_example(capsys.readouterr().out, name)


@pytest.mark.parametrize('name', evaluate.COMMANDS)
def test_help_of_evaluate_has_an_example(name, capsys):
  with pytest.raises(SystemExit) as end:
    evaluate.main([name, '--help'])
  assert not end.value.code
  assert has_example(capsys.readouterr().out, f'boneage_jax.evaluate {name}')


@pytest.mark.parametrize('name', BY_DOCSTRING)
def test_docstring_has_an_example(name):
  path = ROOT / f'{name.replace(".", "/")}.py'
  text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')), False)
  assert has_example(text, name)


def test_there_are_no_other_commands():
  found = set()
  for top in ('boneage_jax', 'tfds_rsna'):
    for path in (ROOT / top).rglob('*.py'):
      text = path.read_text(encoding='utf-8')
      if re.search(r"^if __name__ == '__main__'", text, re.M):
        found.add('.'.join(path.relative_to(ROOT).with_suffix('').parts))
  assert found == {*PLAIN, *BY_DOCSTRING, *INNER}


def test_main_names_config_and_stages():
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'boneage_jax.main', '--help'),
      f'--config={ROOT / "configs" / "cascade.py"}:thumbnails',
    ],
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  for part in (
    '--config.SECTION.FIELD=VALUE',
    '--workdir',
    'cascade.py:thumbnails: prepare, localizer, regions, assessor, '
    'whole_image, report; described, too: orientation.',
    '--config.stages=prepare,localizer',
  ):
    assert part in done.stdout, part
