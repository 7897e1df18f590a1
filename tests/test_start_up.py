"""Memory that is freed stays with the process."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys
import numpy as np
from boneage_jax import start_up

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
