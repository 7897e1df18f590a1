"""Memory that is freed stays with the process; libtpu alone is quiet."""

import os
import subprocess
import sys

import pytest

from boneage_jax.core import startup

PROGRAM = """
import resource
import sys
import numpy as np
from boneage_jax.core import startup

if sys.argv[1] == 'keep':
  startup.keep_freed_memory()
faults = []
for _ in range(3):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.ones(2**26, np.uint8)
  faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc only')
def test_memory_is_not_cleared_again():
  faults = [
    int(subprocess.check_output([sys.executable, '-c', PROGRAM, mode]))
    for mode in ('keep', 'give_back')
  ]
  assert faults[0] < 10 < faults[1]


def test_libtpu_without_a_tpu_asks_for_nothing(monkeypatch):
  """JAX sets TPU_SKIP_MDS_QUERY where it finds no chip on the host."""
  asked = ('TPU_ACCELERATOR_TYPE', 'TPU_WORKER_HOSTNAMES')
  for name in (*asked, 'TPU_SKIP_MDS_QUERY'):
    monkeypatch.setenv(name, '')  # what is set below goes with the test
    monkeypatch.delenv(name)
  startup.quiet_libtpu()
  assert not set(asked) & os.environ.keys()  # there may be chips
  monkeypatch.setenv('TPU_SKIP_MDS_QUERY', '1')
  monkeypatch.setenv('TPU_ACCELERATOR_TYPE', 'v4-8')
  startup.quiet_libtpu()
  assert os.environ['TPU_ACCELERATOR_TYPE'] == 'v4-8'
  assert os.environ['TPU_WORKER_HOSTNAMES'] == 'localhost'


@pytest.mark.parametrize(
  'error', [RuntimeError("Unknown backend 'x'\nand a list"), AssertionError()]
)
def test_a_device_that_is_not_there_is_named(monkeypatch, error):
  def devices():
    raise error

  monkeypatch.setattr(startup.jax, 'devices', devices)
  monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
  with pytest.raises(ValueError, match='JAX_PLATFORMS=cuda, found none') as e:
    startup.check_device()
  assert len(str(e.value).splitlines()) == 1
