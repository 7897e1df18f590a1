"""A run that is killed and started again ends like one that was not."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from boneage_jax.runs import metric_writer

ROOT = pathlib.Path(__file__).parent.parent
TRAINED = ('localizer', 'assessor')


def start(folder, archive, prepared):
  """Start the tiny cascade, in `folder`/run."""
  data_dir = pathlib.Path(prepared).parents[2]
  folder.mkdir(exist_ok=True)
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'boneage_jax.main',
      f'--config={ROOT / "tests" / "tiny_cascade.py"}',
      f'--config.manual_dir={archive}',
      f'--config.data_dir={data_dir}',
      '--workdir=run',
    ],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(ROOT), 'XLA_FLAGS': ''},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process):
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


def arrays(folder, stage, kind):
  """Step and every array of a checkpoint, by path."""
  manager = ocp.CheckpointManager(folder / 'run' / stage / 'checkpoints' / kind)
  step = manager.latest_step()
  tree = manager.restore(step, args=ocp.args.StandardRestore())
  manager.close()
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return step, {
    jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves
  }


@pytest.fixture(scope='module')
def uninterrupted(archive, prepared, tmp_path_factory):
  folder = tmp_path_factory.mktemp('resume') / 'whole'
  finish(start(folder, archive, prepared))
  return folder


def test_killed_runs_end_with_the_same_bits(
  uninterrupted, archive, prepared, tmp_path
):
  folder = tmp_path / 'killed'
  go = lambda: start(folder, archive, prepared)

  process = go()
  stop(process, signal.SIGKILL, folder, 'localizer', 2)
  assert process.returncode == -signal.SIGKILL

  process = go()
  text, last = stop(process, signal.SIGTERM, folder, 'localizer', 8)
  assert process.returncode == 0, text
  assert f'SIGTERM: saved step {last} of 16 in' in text
  assert 'Run the same command to go on.' in text
  assert 'prepare: already done.' in text

  process = go()
  text, _ = stop(process, signal.SIGKILL, folder, 'assessor', 5)
  assert f'going on from step {last}.' in text
  assert process.returncode == -signal.SIGKILL

  text = finish(go())
  assert 'localizer: already done.' in text
  assert 'going on from step' in text

  for stage in TRAINED:
    for kind in ('best', 'latest'):
      step, expected = arrays(uninterrupted, stage, kind)
      found_step, found = arrays(folder, stage, kind)
      assert found_step == step and found.keys() == expected.keys()
      for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, f'{stage} {name}')
  for name in (
    'localizer/metrics.jsonl',
    'localizer/predictions.csv',
    'regions/regions.csv',
    'assessor/metrics.jsonl',
    'assessor/predictions.csv',
    'report/report.json',
  ):
    whole, parts = (f / 'run' / name for f in (uninterrupted, folder))
    assert parts.read_text() == whole.read_text(), name


def test_a_finished_run_is_not_trained_again(uninterrupted, archive, prepared):
  done = uninterrupted / 'run' / 'assessor' / 'done.json'
  before = done.stat().st_mtime_ns
  text = finish(start(uninterrupted, archive, prepared))
  for stage in ('prepare', 'localizer', 'regions', 'assessor'):
    assert f'{stage}: already done.' in text
  assert done.stat().st_mtime_ns == before
  report = json.loads(
    (uninterrupted / 'run' / 'report' / 'report.json').read_text()
  )
  assert report['splits']['test']['n'] > 0
