"""Mining and registration that are killed end like those that are not."""

import signal

import cascade_command
import pytest
import tiny_registration

FILES = (
  'mine/masks.csv',
  'mine/masks.array_record',
  'mine/rounds.json',
  'mine/limits.json',
  'mine/round_1/masks.csv',
  'mine/round_2/metrics.jsonl',
  'mine/round_2/predictions.csv',
  'keypoints/metrics.jsonl',
  'keypoints/predictions.csv',
  'register/crops.array_record',
  'register/points.csv',
  'register/registration.csv',
  'register/registration.json',
)
pytestmark = pytest.mark.ci


def test_jobs_that_are_killed_end_with_the_same_files(
  archive, prepared, tmp_path
):
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  go = lambda folder: cascade_command.start(
    folder, archive, prepared, config=tiny_registration
  )
  cascade_command.finish(go(whole))
  mine = killed / 'run/mine'

  cascade_command.stop(go(killed), signal.SIGKILL, killed, 'mine/round_1', 3)
  assert not (mine / 'round_2').exists()
  cascade_command.stop(go(killed), signal.SIGKILL, killed, 'mine/round_2', 5)
  cascade_command.kill_when(
    go(killed), mine / 'masks.csv'
  )  # as all films are masked
  assert not (mine / 'done.json').exists()
  process = go(killed)
  cascade_command.kill_when(process, killed / 'run/register')
  assert not (killed / 'run/register/done.json').exists()
  text = cascade_command.finish(go(killed))
  for stage in ('segmenter', 'mine', 'keypoints'):
    assert f'{stage}: already done.' in text
  for name in FILES:
    found, expected = (f / 'run' / name for f in (killed, whole))
    assert found.read_bytes() == expected.read_bytes(), name
