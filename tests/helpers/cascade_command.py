"""The tiny cascade as a command, in a process of its own."""

import os
import pathlib
import subprocess
import sys

import tiny_cascade

ROOT = pathlib.Path(tiny_cascade.cascade.__file__).parent.parent


def command(archive, prepared, workdir, *arguments):
  """The words of the command."""
  return [
    sys.executable,
    '-m',
    'boneage_jax.main',
    f'--config={tiny_cascade.__file__}',
    f'--config.manual_dir={archive}',
    f'--config.data_dir={pathlib.Path(prepared).parents[2]}',
    f'--workdir={workdir}',
    *arguments,
  ]


def start(folder, archive, prepared, *arguments):
  """Start it, in `folder`/run."""
  folder.mkdir(exist_ok=True)
  return subprocess.Popen(
    command(archive, prepared, 'run', *arguments),
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(ROOT), 'XLA_FLAGS': ''},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process):
  """Returns what it printed; it must end well."""
  text = process.communicate(timeout=300)[0]
  assert process.returncode == 0, text
  return text
