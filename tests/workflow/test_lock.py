"""One command at a time in the folder of a run."""

import subprocess
import sys

import pytest

from boneage_jax.workflow import lock

HOLD = (
  'import sys, time\n'
  'from boneage_jax.workflow import lock\n'
  'with lock.held(sys.argv[1]):\n'
  '  print("held", flush=True)\n'
  '  time.sleep(60)\n'
)


def test_the_second_command_says_who_is_there_and_a_killed_one_is_gone(
  tmp_path,
):
  command = [sys.executable, '-c', HOLD, str(tmp_path)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
    try:
      assert first.stdout.readline() == 'held\n'
      says = f'{tmp_path} is in use by process {first.pid} on .*another --work'
      with pytest.raises(ValueError, match=says), lock.held(str(tmp_path)):
        pass
    finally:
      first.kill()
  with lock.held(str(tmp_path)):
    pass


def test_a_bucket_has_none(monkeypatch):
  monkeypatch.setattr(lock.storage, 'make_folder', None)  # would be called
  with lock.held('gs://bucket/run'):
    pass
