"""The tiny cascade, or another config, as a command in its own process."""

import os
import pathlib
import random
import subprocess
import sys
import time

import tiny_cascade

from boneage_jax.runs import metric_writer

ROOT = pathlib.Path(tiny_cascade.cascade.__file__).parent.parent


def command(archive, prepared, workdir, *arguments, config=tiny_cascade):
  """The words of the command."""
  return [
    sys.executable,
    '-m',
    'boneage_jax.main',
    f'--config={config.__file__}',
    f'--config.manual_dir={archive}',
    f'--config.data_dir={pathlib.Path(prepared).parents[2]}',
    f'--workdir={workdir}',
    *arguments,
  ]


def start(folder, archive, prepared, *arguments, config=tiny_cascade):
  """Start it, in `folder`/run."""
  folder.mkdir(exist_ok=True)
  paths = os.pathsep.join(map(str, (ROOT, ROOT / 'tests/helpers')))
  return subprocess.Popen(
    command(archive, prepared, 'run', *arguments, config=config),
    cwd=folder,
    env=os.environ | {'PYTHONPATH': paths, 'JAX_NUM_CPU_DEVICES': '1'},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process):
  """Returns what it printed; it must end well."""
  text = process.communicate(timeout=300)[0]
  assert process.returncode == 0, text
  return text


def stop(process, number, folder, stage, after):
  """Send a signal at a random moment after step `after` of a stage."""
  rows = folder / 'run' / stage / 'metrics.jsonl'
  while not (steps := metric_writer.read_metrics(str(rows))) or (
    steps[-1]['step'] < after
  ):
    assert process.poll() is None, process.stdout.read()
    time.sleep(0.005)
  time.sleep(random.uniform(0, 0.3))
  process.send_signal(number)
  text = process.communicate(timeout=300)[0]
  assert not (folder / 'run' / stage / 'done.json').exists(), 'came too late'
  return text, metric_writer.read_metrics(str(rows))[-1]['step']


def kill_when(process, path):
  """Kill it once a file or folder is there."""
  while not path.exists():
    assert process.poll() is None, process.stdout.read()
    time.sleep(0.002)
  process.kill()
  process.communicate(timeout=300)
