"""Active learning that is killed ends like one that is not."""

import signal

import active_run
import cascade_command
import pytest

FILES = (
  'round_1/net_2/metrics.jsonl',
  'round_2/chosen.csv',
  'round_2/masks.csv',
  'round_2/net_1/predictions.csv',
  'round_2/net_2/metrics.jsonl',
  'curve.json',
  'curve.csv',
  'limits.json',
  'masks.csv',
  'masks.array_record',
)
pytestmark = pytest.mark.ci


def test_active_learning_that_is_killed_ends_with_the_same_files(
  archive, prepared, tmp_path
):
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  go = lambda folder: cascade_command.start(
    folder, archive, prepared, config=active_run
  )
  cascade_command.finish(go(whole))
  kill = lambda stage, step: cascade_command.stop(
    go(killed), signal.SIGKILL, killed, stage, step
  )
  kill('active/round_1/net_1', 3)
  cascade_command.kill_when(
    go(killed), killed / 'run/active/round_2/chosen.csv'
  )
  kill('active/round_2/net_2', 5)
  cascade_command.kill_when(go(killed), killed / 'run/active/masks.csv')
  assert not (killed / 'run/active/done.json').exists()
  cascade_command.finish(go(killed))
  for name in FILES:
    found, expected = (f / 'run/active' / name for f in (killed, whole))
    assert found.read_bytes() == expected.read_bytes(), name
