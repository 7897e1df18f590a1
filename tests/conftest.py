"""What every test runs on: eight virtual devices and a small archive."""

import os
import pathlib
import sys

os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('KERAS_BACKEND', 'jax')
# Compiled programs are kept: a second run of the tests takes half the time.
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR', os.path.expanduser('~/.cache/boneage_jax/tests')
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.1')

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from absl import flags  # noqa: E402
import cv2  # noqa: E402
import pytest  # noqa: E402

from boneage_jax import phantom  # noqa: E402
from tfds_rsna import build  # noqa: E402

FILMS = 48


def pytest_configure():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  cv2.setNumThreads(0)


@pytest.fixture(scope='session')
def archive(tmp_path_factory):
  """Folder of an archive of 48 phantoms of 64 pixels."""
  path = str(tmp_path_factory.mktemp('archive') / 'phantoms')
  phantom.write_archive(path, FILMS, 0, long_side=64, workers=1)
  return path


@pytest.fixture(scope='session')
def prepared(archive, tmp_path_factory):
  """Folder of the prepared data set of `archive`."""
  return build.build(archive, str(tmp_path_factory.mktemp('data')))


@pytest.fixture(scope='session')
def untrained(tmp_path_factory):
  """Folder of `untrained_run.create`."""
  import untrained_run

  return untrained_run.create(tmp_path_factory.mktemp('untrained'))
