"""Runs in gs:// and s3://, against servers on this host."""

import contextlib
import os
import tarfile

import fake_bucket
import jax
import jax.numpy as jnp
import pytest
import tiny_cascade

from boneage_jax.core import distributed
from boneage_jax.core import storage
from boneage_jax.runs import checkpoints
from boneage_jax.runs import metric_writer
from boneage_jax.workflow import run as workflow_run


@contextlib.contextmanager
def google():
  pytest.importorskip('gcsfs', reason="pip install -e '.[gs]'")
  with fake_bucket.serving() as url, pytest.MonkeyPatch.context() as patch:
    patch.setenv('STORAGE_EMULATOR_HOST', url)  # gcsfs
    patch.setenv('TENSORSTORE_GCS_HTTP_URL', url)  # Orbax
    patch.setenv('GOOGLE_AUTH_TOKEN_FOR_TESTING', 'none')
    yield 'gs://bone'


@contextlib.contextmanager
def amazon():
  s3fs = pytest.importorskip('s3fs', reason="pip install -e '.[s3]'")
  moto = pytest.importorskip('moto.server', reason="pip install -e '.[test]'")
  server = moto.ThreadedMotoServer(port=0, verbose=False)
  server.start()
  host, port = server.get_host_and_port()
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('AWS_ENDPOINT_URL', f'http://{host}:{port}')
    for name in ('ACCESS_KEY_ID', 'SECRET_ACCESS_KEY'):
      patch.setenv(f'AWS_{name}', 'none')
    patch.setenv('AWS_DEFAULT_REGION', 'us-east-1')
    s3fs.S3FileSystem().mkdir('bone')
    yield 's3://bone'
  server.stop()


@pytest.fixture(scope='module', params=[google, amazon])
def bucket(request):
  """A bucket that all tests here share."""
  with request.param() as url:
    yield url


@pytest.fixture
def folder(request, bucket, tmp_path, monkeypatch):
  """A folder of the bucket for one test."""
  monkeypatch.setattr(storage, 'CACHE', str(tmp_path))
  return f'{bucket}/{request.node.originalname}'


def test_files(folder):
  path = f'{folder}/a/films.csv'
  assert not storage.exists(path) and not storage.exists(folder)
  with storage.replacing(path) as file:
    file.write('id,é\r\n')
  with pytest.raises(KeyError), storage.replacing(path) as file:
    file.write('half of')
    raise KeyError
  assert storage.exists(path) and storage.exists(folder)
  assert storage.reading(path).read() == 'id,é\r\n'
  storage.write_json(f'{folder}/b/films.csv', {})
  both = [path, f'{folder}/b/films.csv']
  assert storage.glob(folder, '*', 'films.csv') == both
  storage.remove(path)
  assert not storage.exists(path)
  for reader in (storage.reading, storage.local):
    with pytest.raises(FileNotFoundError):
      reader(path)
  assert storage.absolute(f'{folder}/') == folder


def test_copies_follow_the_bucket(folder):
  path = f'{folder}/a/films.csv'
  copies = []
  for text in ('one', 'two', 'two'):
    if not copies or storage.reading(path).read() != text:
      with storage.replacing(path) as file:
        file.write(text)
    copies.append(storage.local(path))
    for copy in (
      copies[-1],
      os.path.join(storage.local(folder), 'a/films.csv'),
    ):
      with open(copy) as file:
        assert file.read() == text
  assert copies[0] != copies[1] == copies[2]


def test_metrics_go_on(folder):
  writer = metric_writer.MetricWriter(folder, 0)
  for step in (1, 2):
    writer.write(step, loss=1.0)
  writer.publish()
  writer.write(3, loss=1.0)  # lost with this process
  path = f'{folder}/metrics.jsonl'
  assert [row['step'] for row in metric_writer.read_metrics(path)] == [1, 2]
  writer = metric_writer.MetricWriter(folder, 1)
  writer.write(2, loss=2.0)
  writer.close()
  rows = [
    (row['step'], row['loss']) for row in metric_writer.read_metrics(path)
  ]
  assert rows == [(1, 1.0), (2, 2.0)]
  assert storage.glob(folder, 'tensorboard', 'events*')


def test_checkpoints_go_on(folder, monkeypatch):
  unpack = tarfile.TarFile.extractall

  def takes_a_path_alone(tar, path):  # as that of Python 3.11.3
    return unpack(tar, path)

  monkeypatch.setattr(tarfile.TarFile, 'extractall', takes_a_path_alone)
  sharding = distributed.replicated(distributed.make_mesh())
  make = lambda step: jax.device_put(
    {'weight': jnp.arange(6.0) * step, 'step': jnp.int32(step)}, sharding
  )
  for step in (1, 2):
    store = checkpoints.Checkpoints(folder)
    assert (store.latest_step() or 0) == step - 1
    store.save_best(step, make(step), 10.0 + step)
    store.save(step, make(step))
    store.wait()
    store.close()
  store = checkpoints.Checkpoints(folder)
  assert (store.latest_step(), store.best_step(), store.best_error) == (
    2,
    1,
    11,
  )
  state = store.go_on(make(0), make(0))
  assert state['weight'].tolist() == [0, 2, 4, 6, 8, 10]
  assert store.restore_best(make(0))['step'] == 1
  store.close()


def run_twice(folder, stages, last, capsys):
  """A short run that is there the second time."""
  config = tiny_cascade.get_config()
  config.phantom.update(films=48, long_side=64)
  config.localizer.epochs = config.assessor.epochs = 1
  config.localizer.checkpoint_steps = config.assessor.checkpoint_steps = 100
  config.stages = stages
  workflow_run.run(config, folder)
  assert storage.exists(f'{folder}/{last}')
  capsys.readouterr()
  workflow_run.run(config, folder)
  done = set(stages) - {'report'}
  assert capsys.readouterr().out.count('already done.') == len(done)


def test_a_run_begins(folder, capsys):
  run_twice(folder, ('prepare', 'localizer'), 'localizer/done.json', capsys)


@pytest.mark.ci
@pytest.mark.parametrize('bucket', [google], indirect=True)
def test_a_whole_run(folder, capsys):
  stages = tiny_cascade.get_config().stages
  run_twice(folder, stages, 'report/report.html', capsys)
