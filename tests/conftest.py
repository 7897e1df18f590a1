"""What all tests share: workers, virtual devices, archives and runs."""

import fcntl
import os
import pathlib
import shutil

WORKER = os.environ.get('PYTEST_XDIST_WORKER')
os.environ['JAX_NUM_CPU_DEVICES'] = '4'
if WORKER:  # workers share the cores
  os.environ.setdefault('NPROC', '1')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('KERAS_BACKEND', 'jax')
# Compiled programs are kept: a second run of the tests takes half the time.
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR', os.path.expanduser('~/.cache/boneage_jax/tests')
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.1')

from absl import flags  # noqa: E402
import cv2  # noqa: E402
import pytest  # noqa: E402

from boneage_jax.core import startup  # noqa: E402

startup.trace_quickly()

FILMS = 48
TESTS = pathlib.Path(__file__).parent
# Files and folders that are more than units, the longest first.
MARKERS = {
  'launch': (
    'launch/buckets',
    'launch/scripts',
    'launch/launchers',
    'launch/processes',
    'launch/killed_runs',
    'core/startup',
    'tfds_rsna/build',
    'data/input_pipeline',
    'main',
  ),
  'run': (
    'end_to_end/attention_ldl',
    'imaging/sharpness',
    'evaluation/saliency',
    'evaluation/heat_maps',
    'workflow/folds',
    'imaging/borders',
    'end_to_end/guided',
    'predict',
    'predict_dicom',
    'inference/ensemble',
    'report/write',
    'evaluation/robustness',
    'train_compile/programs',
    'training/loop',
    'training/init_from',
    'end_to_end/orientation',
    'end_to_end/hand_geometry',
    'training/prediction',
    'training/step',
    'data/device_augment',
    'phantom/phantom',
    'phantom/drawn',
    'workflow/validate',
    'report/page',
    'report/hands',
    'results/results',
    'evaluation/calibrate',
    'end_to_end/segmentation',
    'end_to_end/transfer',
    'end_to_end/registration',
    'regions/mine',
    'inference/registering',
    'regions/register_run',
  ),
  'parity': ('models',),
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
  """Two where there are two cores, none for the tests of one file."""
  one = len(config.args) == 1 and '.py' in config.args[0]
  return 2 if os.cpu_count() > 1 and not one else 0


def pytest_configure():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  cv2.setNumThreads(0)


def pytest_collection_modifyitems(items):
  """Marks tests by their files, but `ci` and `large`; long files come first."""
  kinds = {name: kind for kind, names in MARKERS.items() for name in names}

  def kind(item):
    place = str(item.path.relative_to(TESTS).with_suffix(''))
    room = place.partition('/')[0]
    return kinds.get(place.replace('test_', ''), kinds.get(room, 'unit'))

  for item in items:
    if not (item.get_closest_marker('ci') or item.get_closest_marker('large')):
      item.add_marker(kind(item))
  order = [*MARKERS, 'unit']
  items.sort(key=lambda item: order.index(kind(item)))


@pytest.fixture(scope='session')
def once(tmp_path_factory):
  """Function that makes a folder for all workers: the first one makes it."""
  root = tmp_path_factory.getbasetemp()
  root = root.parent if WORKER else root

  def make_once(name, make):
    folder, done = root / name, root / f'{name}.done'
    with open(root / f'{name}.lock', 'w') as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        done.write_text(str(make(folder)))
    return done.read_text()

  return make_once


@pytest.fixture(scope='session')
def archive(once):
  """Folder of an archive of 48 phantoms of 64 pixels."""
  from boneage_jax.phantom import archive as phantom

  def make(folder):
    path = str(folder / 'phantoms')
    phantom.write_archive(path, FILMS, 0, long_side=64, workers=1)
    return path

  return once('archive', make)


@pytest.fixture(scope='session')
def prepared(archive, once):
  """Folder of the prepared data set of `archive`."""
  from tfds_rsna import build

  return once('data', lambda folder: build.build(archive, str(folder)))


@pytest.fixture(scope='session')
def large_archive(once):
  """Folder of an archive of 24 phantoms of 560 pixels."""
  import untrained_run

  return once('large_archive', untrained_run.write_archive)


@pytest.fixture(scope='session')
def untrained(large_archive, once):
  """Folder of `untrained_run.create`."""
  import untrained_run

  make = lambda folder: untrained_run.create(folder, large_archive)
  return pathlib.Path(once('untrained', make))


@pytest.fixture(scope='session')
def combined(large_archive, once):
  """Folder of `untrained_run.create` with an ensemble and several views."""
  import untrained_run

  make = lambda folder: untrained_run.create(
    folder, large_archive, untrained_run.combine_views
  )
  return pathlib.Path(once('combined', make))


@pytest.fixture(scope='session')
def mined(prepared, once):
  """Folder of a run with the stages segmenter and mine."""
  import mined_run

  make = lambda folder: mined_run.create(folder, prepared)
  return pathlib.Path(once('mined', make))


@pytest.fixture(scope='session')
def registered(archive, prepared, mined, once):
  """Folder of `registered_run.create`."""
  import registered_run

  make = lambda folder: registered_run.create(folder, archive, prepared, mined)
  return pathlib.Path(once('registered', make))


@pytest.fixture(scope='session')
def trained(archive, prepared, once):
  """Folder in which the tiny cascade ran from one end to the other: `run`."""
  import cascade_command

  def make(folder):
    cascade_command.finish(cascade_command.start(folder, archive, prepared))
    return folder

  return pathlib.Path(once('trained', make))
