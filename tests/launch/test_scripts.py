"""The launchers: sound shell, and commands that exist with their flags."""

import importlib.util
import itertools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from boneage_jax import main
from boneage_jax.core import config as config_lib

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'boneage_jax' / 'launch'
SCRIPTS = ('gpu.sh', 'slurm.sh', 'tpu_vm.sh')
TPU = ('tpu_vm.sh', 'start', '--name=bone', '--zone=here', '--workdir=gs://b/c')


def script(name, *arguments, code=0, **env):
  """Run a script; return what it printed."""
  done = subprocess.run(
    ['bash', FOLDER / name, *arguments],
    env=os.environ | env,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert done.returncode == code, done.stderr
  return done.stderr if code else done.stdout


def check_main(line):
  """Check the flags that a command gives boneage_jax.main; return them."""
  [word] = [w for w in line if 'boneage_jax.main' in w]
  words = shlex.split(word) if ' ' in word else line  # of a remote shell
  words = words[words.index('boneage_jax.main') + 1 :]
  words = itertools.takewhile(lambda w: w != '>>log', words)
  given = dict(w.lstrip('-').partition('=')[::2] for w in words)
  path, _, variant = given.get('config', config_lib.DEFAULT).partition(':')
  spec = importlib.util.spec_from_file_location('config', ROOT / path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config(variant)
  for name in given:
    if name.startswith('config.'):
      field = config
      for part in name.split('.')[1:]:
        assert part in field, f'{path} has no field {name}'
        field = field[part]
    else:
      assert name in main.FLAGS, f'boneage_jax.main has no flag --{name}'
  return given


@pytest.mark.parametrize('name', SCRIPTS)
def test_shell_is_sound(name):
  subprocess.run(['bash', '-n', FOLDER / name], check=True)
  beside = pathlib.Path(sys.executable).parent
  tool = shutil.which('shellcheck', path=f'{beside}:{os.environ["PATH"]}')
  if not tool:
    pytest.skip("shellcheck is not there: pip install -e '.[test]'")
  done = subprocess.run([tool, FOLDER / name], capture_output=True, check=False)
  assert not done.returncode, done.stdout.decode()


@pytest.mark.parametrize('name', SCRIPTS)
def test_help_names_every_option(name):
  text = script(name, '--help')
  assert text.startswith('Usage: ')
  code = (FOLDER / name).read_text().partition('while (($#))')[2]
  options = re.findall(r'^ +(--[a-z-]+)(?:=\S*)?\)', code, re.M)
  assert '--dry-run' in options
  assert not [o for o in options if o != '--help' and o not in text]


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['gpu.sh', '--gpu=0'], 'unknown argument --gpu=0'),
    (['gpu.sh', '--gpus=all'], 'takes numbers such as 0,1, got all'),
    (['gpu.sh', '--each'], '--each needs --gpus=LIST'),
    (['slurm.sh', '--config=x'], 'unknown argument --config=x'),
    (['slurm.sh'], 'this is no job: start it with sbatch'),
    (['tpu_vm.sh', '--name=a'], 'expected start, tail or stop'),
    (['tpu_vm.sh', 'tail', '--zone=b'], 'expected --name=NAME'),
    (['tpu_vm.sh', 'tail', '--name=a'], 'expected --zone=ZONE'),
    (['tpu_vm.sh', 'stop', '--name='], 'unknown argument --name='),
    ([*TPU[:-1], '--workdir=runs/a'], 'start needs --workdir=gs://'),
    ([*TPU, '--archive=DIR'], 'unknown argument --archive=DIR'),
  ],
)
def test_mistakes(arguments, message):
  text = script(*arguments, code=2, SLURM_JOB_ID='')
  assert message in text and '--help' in text and text.count('\n') == 1


# Dry runs.


def dry(name, *arguments, **env):
  """The commands that a script would run, as words."""
  text = script(name, '--dry-run', *arguments, PATH='/usr/bin:/bin', **env)
  return [shlex.split(line) for line in text.splitlines()]


def test_gpu():
  [words] = dry('gpu.sh', '--', '--config=configs/cascade.py:phantom')
  assert words[:3] == ['python', '-m', 'boneage_jax.main']
  assert check_main(words) == {'config': 'configs/cascade.py:phantom'}
  [words] = dry('gpu.sh', '--gpus=1,3', PYTHON='python3')
  assert words[:3] == ['env', 'CUDA_VISIBLE_DEVICES=1,3', 'python3']


def test_gpu_one_process_each():
  lines = dry(
    'gpu.sh', '--gpus=1,3', '--each', '--port=99', '--', '--workdir=a'
  )
  for index, (words, gpu) in enumerate(zip(lines, '13', strict=True)):
    assert words[1] == f'CUDA_VISIBLE_DEVICES={gpu}'
    assert check_main(words) == {
      'coordinator': 'localhost:99',
      'processes': '2',
      'process': str(index),
      'workdir': 'a',
    }


def test_slurm_one_process_per_node():
  jobs = {'SLURM_JOB_NUM_NODES': '2', 'SLURM_NTASKS': '2'}
  [words] = dry('slurm.sh', '--', "--config.stages=('prepare',)", **jobs)
  given = check_main(words)
  assert given.pop('config.stages') == "('prepare',)"
  assert given == {'coordinator': 'localhost:12321', 'processes': '2'}
  # Every task adds its own number; `echo` stands for Python here.
  start = words.index('python')
  done = subprocess.run(
    [*words[words.index('bash') : start], 'echo', *words[start + 1 :]],
    env={'SLURM_PROCID': '1'},
    capture_output=True,
    text=True,
    check=True,
  )
  assert check_main(done.stdout.split())['process'] == '1'


def test_slurm_one_process_per_gpu():
  jobs = {'SLURM_JOB_NUM_NODES': '2', 'SLURM_NTASKS': '8'}
  [words] = dry('slurm.sh', **jobs)
  assert words[0] == 'srun' and check_main(words) == {'distributed': ''}
  assert '--cpus-per-task=6' in dry('slurm.sh', SLURM_CPUS_PER_TASK='6')[0]


def test_slurm_asks_to_be_warned_and_queued_again():
  text = (FOLDER / 'slurm.sh').read_text()
  head = text.partition('\nset ')[0]  # sbatch stops at the first command
  assert '\n#SBATCH --signal=B:TERM@120\n' in head
  assert '\n#SBATCH --requeue\n' in head


def test_tpu():
  lines = dry(*TPU, '--archive=gs://b/films', '--', '--config.seed=3')
  assert [words[:5] for words in lines] == [
    ['gcloud', 'compute', 'tpus', 'queued-resources', 'list'],
    ['gcloud', 'compute', 'tpus', 'queued-resources', 'create'],
    ['tar', '-czf', lines[2][2], '-C', str(ROOT)],
    ['gcloud', 'compute', 'tpus', 'tpu-vm', 'scp'],
    ['gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh'],
  ]
  assert all((ROOT / name).exists() for name in lines[2][6:])
  create = lines[1]
  assert {'--node-id=bone', '--zone=here', '--spot'} <= set(create)
  assert '--spot' not in dry(*TPU, '--on-demand')[1]
  assert check_main(lines[4]) == {
    'distributed': '',
    'workdir': 'gs://b/c',
    'config.seed': '3',
    'config.manual_dir': '~/archive',
  }
  assert lines[2][2] in lines[3] and '--worker=all' in lines[4]


def commands(text):
  """The commands of a Markdown text's shell blocks."""
  for block in re.findall(r'```sh\n(.*?)```', text, re.S):
    yield from block.replace('\\\n', ' ').splitlines()


PAGE = (ROOT / 'docs/how-to/launch.md').read_text(encoding='utf-8')


@pytest.mark.parametrize('command', list(commands(PAGE)))
def test_commands_of_the_page(command):
  words = shlex.split(command)
  [path] = [w for w in words if w.startswith('boneage_jax/launch/')]
  assert (ROOT / path).exists()
  if path.endswith('.sh'):
    arguments = words[words.index(path) + 1 :]
    for line in dry(pathlib.Path(path).name, *arguments):
      if 'boneage_jax.main' in ' '.join(line):
        check_main(line)


# The JobSet.


def job():
  """The job of the manifest that runs on every host."""
  manifest = yaml.safe_load((FOLDER / 'jobset.yaml').read_text())
  assert manifest['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert manifest['kind'] == 'JobSet'
  assert manifest['spec']['failurePolicy']['maxRestarts'] > 0
  [jobs] = manifest['spec']['replicatedJobs']
  return jobs['template']['spec']


def test_jobset_fills_its_slice():
  spec = job()
  assert spec['parallelism'] == spec['completions'] and not spec['backoffLimit']
  pod = spec['template']['spec']
  x, y = pod['nodeSelector']['cloud.google.com/gke-tpu-topology'].split('x')
  [container] = pod['containers']
  chips = container['resources']['limits']['google.com/tpu']
  assert int(x) * int(y) == chips * spec['parallelism']
  check_main(['boneage_jax.main', *container['args']])
  assert '--distributed' in container['args']
  assert {v['name'] for v in pod['volumes']} == {
    v['name'] for v in container['volumeMounts']
  }
