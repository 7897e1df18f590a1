"""What the launchers do, with stand-ins for the programs that are not here."""

import os
import pathlib
import signal
import subprocess
import time

import pytest
import yaml

FOLDER = pathlib.Path(__file__).parents[2] / 'boneage_jax' / 'launch'


def executable(path, text):
  """Write a shell script."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(f'#!/usr/bin/env bash\n{text}')
  path.chmod(0o755)


def wait_for(path, text):
  """Wait until a file holds the text."""
  for _ in range(300):
    if path.exists() and text in path.read_text():
      return
    time.sleep(0.1)
  raise AssertionError(f'{path} does not say {text!r}')


SAVING = """trap 'sleep 0.3; echo saved >>"${SAID}"; exit 0' TERM
echo "$@" >>"${SAID}"
for _ in {1..300}; do sleep 0.1; done
"""


@pytest.fixture
def program(tmp_path):
  """Environment with a Python that saves on SIGTERM, and what it said."""
  executable(tmp_path / 'bin' / 'python', SAVING)
  path = f'{tmp_path / "bin"}:{os.environ["PATH"]}'
  said = tmp_path / 'said'
  return os.environ | {'PATH': path, 'SAID': str(said)}, said


def test_gpu_lets_all_processes_save(program):
  env, said = program
  run = subprocess.Popen(
    ['bash', FOLDER / 'gpu.sh', '--gpus=0,1', '--each'], env=env
  )
  wait_for(said, '--process=0')
  wait_for(said, '--process=1')
  run.send_signal(signal.SIGTERM)
  assert run.wait(30) == 0
  assert said.read_text().count('saved') == 2


def test_slurm_saves_and_queues_again(program, tmp_path):
  env, said = program
  executable(tmp_path / 'bin' / 'srun', 'shift 2; echo $$ >"${SAID}.pid"; "$@"')
  executable(
    tmp_path / 'bin' / 'scancel',
    'echo "scancel $*" >>"${SAID}"\npkill -P "$(cat "${SAID}.pid")"\n',
  )
  executable(tmp_path / 'bin' / 'scontrol', 'echo "scontrol $*" >>"${SAID}"')
  env |= {'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '2', 'SLURM_JOB_NUM_NODES': '1'}
  run = subprocess.Popen(['bash', FOLDER / 'slurm.sh'], env=env)
  wait_for(said, '--distributed')
  run.send_signal(signal.SIGTERM)
  assert run.wait(30) != 0
  assert said.read_text().splitlines()[1:] == [
    'scancel --signal=TERM 7.0',
    'saved',
    'scontrol requeue 7',
  ]


GCLOUD = r"""
echo "$3 $4" >>"${SAID}"
case "$3 $4" in
  'queued-resources list')
    head -n 1 "${STATES}"
    sed -i 1d "${STATES}" ;;
  'tpu-vm scp') cp "$5" "${HOST}/boneage_jax.tar.gz" ;;
  'tpu-vm ssh')
    for word in "$@"; do
      [[ "${word}" != --command=* ]] || command="${word#*=}"
    done
    cd "${HOST}" && HOME="${HOST}" bash -c "${command}" ;;
esac
"""


def test_tpu_after_a_preemption(program, tmp_path):
  env, said = program
  host, states = tmp_path / 'host', tmp_path / 'states'
  host.mkdir()
  executable(tmp_path / 'bin' / 'gcloud', GCLOUD)
  # The host's Python: `uv venv ... venv` makes the one that saves.
  executable(
    tmp_path / 'bin' / 'python3',
    '[[ "$3" != venv ]] || install -D "$(which python)" venv/bin/python\n',
  )
  env |= {'HOST': str(host), 'STATES': str(states), 'POLL_SECONDS': '0'}
  env |= {'TMPDIR': str(tmp_path)}

  def call(command, *arguments):
    said.unlink(missing_ok=True)
    named = [command, '--name=bone', '--zone=here', *arguments]
    done = subprocess.run(
      ['bash', FOLDER / 'tpu_vm.sh', *named],
      env=env,
      capture_output=True,
      text=True,
      timeout=60,
      check=True,
    )
    return done.stdout

  states.write_text('SUSPENDED\nWAITING_FOR_RESOURCES\nACTIVE\n')
  text = call('start', '--workdir=gs://b/c', '--', '--config.seed=3')
  assert 'bone is SUSPENDED' in text and 'WAITING_FOR_RESOURCES' in text
  wait_for(said, 'boneage_jax.main')
  lines = said.read_text().splitlines()
  assert lines == [
    'queued-resources list',
    'queued-resources delete',
    'queued-resources create',
    'queued-resources list',
    'queued-resources list',
    'tpu-vm scp',
    'tpu-vm ssh',
    '-m boneage_jax.main --distributed --workdir=gs://b/c --config.seed=3',
  ]
  assert (host / 'boneage_jax' / 'boneage_jax' / 'main.py').exists()

  states.write_text('ACTIVE\nACTIVE\n')
  assert 'Runs already.' in call('start', '--workdir=gs://b/c')
  call('stop')
  assert said.read_text().splitlines() == [
    'tpu-vm ssh',
    'saved',
    'queued-resources delete',
  ]


def test_jobset_fails_when_it_was_stopped(program):
  env, said = program
  manifest = yaml.safe_load((FOLDER / 'jobset.yaml').read_text())
  [jobs] = manifest['spec']['replicatedJobs']
  [container] = jobs['template']['spec']['template']['spec']['containers']
  run = subprocess.Popen([*container['command'], *container['args']], env=env)
  wait_for(said, ' '.join(container['args']))
  run.send_signal(signal.SIGTERM)
  assert run.wait(30) == 143
  assert said.read_text().endswith('saved\n')
