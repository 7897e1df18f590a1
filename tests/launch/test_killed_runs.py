"""A run that is killed and started again ends like one that was not."""

import json
import shutil
import signal

import cascade_command
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

STEPS = 16  # of a stage of the tiny cascade
FILES = (
  'localizer/metrics.jsonl',
  'localizer/predictions.csv',
  'regions/regions.csv',
  'assessor/metrics.jsonl',
  'assessor/predictions.csv',
  'report/report.json',
)
pytestmark = pytest.mark.ci


def arrays(folder, stage):
  """Step and every array of the net that was kept, by path."""
  kept = folder / 'run' / stage / 'checkpoints' / 'best'
  manager = ocp.CheckpointManager(kept)
  step = manager.latest_step()
  tree = manager.restore(step, args=ocp.args.StandardRestore())
  manager.close()
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return step, {
    jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves
  }


def same(folder, uninterrupted):
  """Equal checkpoints, bit by bit, and equal files."""
  for stage in ('localizer', 'assessor'):
    step, expected = arrays(uninterrupted, stage)
    found_step, found = arrays(folder, stage)
    assert found_step == step and found.keys() == expected.keys()
    for name, value in expected.items():
      np.testing.assert_array_equal(found[name], value, f'{stage} {name}')
  for name in FILES:
    whole, parts = (f / 'run' / name for f in (uninterrupted, folder))
    assert parts.read_text() == whole.read_text(), name


def test_a_run_killed_in_every_stage_ends_with_the_same_bits(
  trained, archive, prepared, tmp_path
):
  folder = tmp_path / 'killed'
  go = lambda: cascade_command.start(folder, archive, prepared)
  process = go()
  cascade_command.stop(process, signal.SIGKILL, folder, 'localizer', 2)
  assert process.returncode == -signal.SIGKILL

  process = go()
  text, last = cascade_command.stop(
    process, signal.SIGTERM, folder, 'localizer', 8
  )
  assert process.returncode == 0, text
  assert f'SIGTERM: saved step {last} of {STEPS} in' in text
  assert 'Run the same command to go on.' in text
  assert 'prepare: already done.' in text

  process = go()
  text, _ = cascade_command.stop(process, signal.SIGKILL, folder, 'assessor', 5)
  assert f'going on from step {last}.' in text
  assert process.returncode == -signal.SIGKILL
  text = cascade_command.finish(go())
  assert 'localizer: already done.' in text
  assert 'going on from step' in text
  same(folder, trained)


def test_a_finished_run_is_not_trained_again(
  trained, archive, prepared, tmp_path
):
  folder = tmp_path / 'again'
  shutil.copytree(trained, folder)
  done = folder / 'run' / 'assessor' / 'done.json'
  before = done.stat().st_mtime_ns
  text = cascade_command.finish(
    cascade_command.start(folder, archive, prepared)
  )
  for stage in ('prepare', 'localizer', 'regions', 'assessor'):
    assert f'{stage}: already done.' in text
  assert done.stat().st_mtime_ns == before
  report = json.loads((folder / 'run' / 'report' / 'report.json').read_text())
  assert report['splits']['test']['n'] > 0
