"""Two processes with two devices each do what one does with four."""

import csv
import os
import signal
import subprocess
import sys
import time

import cascade_command
import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from benchmarks import dicom_node
from boneage_jax.core import distributed
from boneage_jax.imaging import boxes
from boneage_jax.runs import metric_writer

ROOT = cascade_command.ROOT
# A rule without Adam's square root keeps differences of rounding small.
CHANGES = {
  'stages': "('prepare','localizer','regions')",
  'localizer.optimizer.name': 'sgd',
  'localizer.optimizer.learning_rate': '1e-3',
  'localizer.epochs': '5',
  'localizer.checkpoint_steps': '8',
}
STEPS = 20  # 5 epochs of 36 films
LAUNCHERS = ('SLURM_', 'OMPI_', 'KUBERNETES_', 'TPU_')


def environment(devices):
  """This one's without any launcher, and with so many devices."""
  kept = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHERS)}
  return kept | {
    'PYTHONPATH': str(ROOT),
    'JAX_NUM_CPU_DEVICES': str(devices),
  }


@pytest.fixture
def start(archive, prepared, tmp_path):
  """Function that starts a run; what is left of it is killed in the end."""
  port = dicom_node.free_port()
  started = []

  def go(folder, count):
    changes = [f'--config.{name}={value}' for name, value in CHANGES.items()]
    command = cascade_command.command(archive, prepared, folder, *changes)
    workers = []
    for index in range(count):
      log = tmp_path / f'{len(started)}.log'
      join = [f'--coordinator=localhost:{port}', '--processes=2']
      with log.open('w') as output:
        worker = subprocess.Popen(
          command + ([*join, f'--process={index}'] if count > 1 else []),
          cwd=tmp_path,
          env=environment(4 // count),
          stdout=output,
          stderr=subprocess.STDOUT,
        )
      worker.log = log
      workers.append(worker)
      started.append(worker)
    return workers

  yield go
  for worker in started:
    worker.kill()
    worker.wait()


def texts(workers):
  return [worker.log.read_text() for worker in workers]


def finish(workers):
  """What each printed; all of it is shown when one fails or hangs."""
  end = time.monotonic() + 240
  try:
    for worker in workers:
      worker.wait(max(end - time.monotonic(), 0))
  except subprocess.TimeoutExpired:
    pytest.fail('\n--- hangs ---\n'.join(texts(workers)))
  codes = [worker.returncode for worker in workers]
  assert codes == [0] * len(workers), '\n--- other ---\n'.join(texts(workers))
  return texts(workers)


def rows(folder):
  return metric_writer.read_metrics(str(folder / 'localizer' / 'metrics.jsonl'))


def terminate(workers, folder, after):
  """Tell the last process to stop once step `after` is done."""
  while not (done := rows(folder)) or done[-1]['step'] < after:
    codes = [worker.poll() for worker in workers]
    assert codes == [None] * len(workers), texts(workers)
    time.sleep(0.01)
  workers[-1].send_signal(signal.SIGTERM)
  printed = finish(workers)
  step = rows(folder)[-1]['step']
  assert after < step < STEPS, 'came too late'
  assert f'saved step {step} of {STEPS} in' in printed[0]
  return printed


def arrays(folder):
  """Step and arrays of the net that was kept, whichever devices it is from."""
  path = folder / 'localizer' / 'checkpoints' / 'best'
  handler = ocp.StandardCheckpointHandler()
  with ocp.CheckpointManager(path, item_handlers=handler) as manager:
    step = manager.latest_step()
    like = jax.tree.map(
      lambda x: np.zeros(x.shape, x.dtype), manager.item_metadata(step)
    )
    tree = manager.restore(step, args=ocp.args.StandardRestore(like))
  return step, jax.tree.leaves(tree)


def table(path):
  with path.open() as file:
    return list(csv.DictReader(file))


def close(found, expected, slack=0):
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=slack)


def same_regions(two, one):
  """Boxes are a pixel of the net's input apart at most, crops of equal boxes
  the same bytes, and both of all films in order."""
  found, expected = (
    boxes.read_regions(str(f / 'regions.csv')) for f in (two, one)
  )
  crops = [
    list(grain.sources.ArrayRecordDataSource([str(f / 'crops.array_record')]))
    for f in (two, one)
  ]
  assert list(found) == list(expected) and len(found) == len(crops[0])
  equal = 0
  for wanted, mine, crop, other in zip(
    expected.values(), found.values(), *crops, strict=True
  ):
    assert mine.keys() == wanted.keys()
    for name, region in wanted.items():
      close(mine[name].box, region.box, 1 / 32)
      close(mine[name].score, region.score, 1e-3)
    if all(mine[n].box == wanted[n].box for n in wanted):
      assert crop == other
      equal += 1
  assert equal > len(found) / 2
  assert not list(two.glob('crops.array_record.*'))
  maps = [np.load(f / 'maps.npz') for f in (two, one)]
  np.testing.assert_array_equal(maps[0]['id'], maps[1]['id'])
  close(maps[0]['maps'].astype(float), maps[1]['maps'], 0.01)


@pytest.mark.ci
def test_two_processes_end_like_one(start, tmp_path):
  one, two = tmp_path / 'one', tmp_path / 'two'
  finish(start(one, 1))

  printed = terminate(start(two, 2), two, after=2)
  assert 'on 4 cpu device(s) of 2 processes' in printed[0]
  assert 'saved' not in printed[1]  # process 0 speaks for all
  printed = terminate(start(two, 1), two, after=9)
  assert 'going on from step' in printed[0]
  printed = finish(start(two, 2))
  assert 'going on from step' in printed[0]

  assert len(rows(two)) == len(rows(one)) == STEPS
  for found, expected in zip(rows(two), rows(one), strict=True):
    assert found.keys() == expected.keys()
    close(list(found.values()), list(expected.values()))
  (step, found), (expected_step, expected) = arrays(two), arrays(one)
  assert step == expected_step
  for value, wanted in zip(found, expected, strict=True):
    close(value, wanted, 1e-4 * np.abs(wanted).max())
  tables = [table(f / 'localizer' / 'predictions.csv') for f in (two, one)]
  for found, expected in zip(*tables, strict=True):
    close(
      float(found.pop('age_predicted')),
      float(expected.pop('age_predicted')),
      2e-4,
    )
    assert found == expected
  same_regions(two / 'regions', one / 'regions')


def test_one_process_waits_for_nobody():
  vote = distributed.StopConsensus(distributed.make_mesh())
  assert [vote(False), vote(True), vote(False)] == [False, True, False]
  assert distributed.shard(range(5)) == range(5)
  assert distributed.all_gather_objects([1, 2]) == [1, 2]
  assert distributed.on_main_process(lambda: 3) == 3
  with pytest.raises(KeyError):
    distributed.run_everywhere({}.popitem)


@pytest.mark.parametrize(
  'flags', [('h:1', 2, None), (None, None, 0), ('host', 2, 0)]
)
def test_flags_that_do_not_fit(flags):
  with pytest.raises(
    ValueError, match='Expected --coordinator=HOST:PORT, --pr'
  ):
    distributed.join(*flags)


@pytest.mark.ci
def test_nobody_to_join(tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      '-m',
      'boneage_jax.main',
      f'--config={ROOT / "configs" / "cascade.py"}',
      '--distributed',
      '--workdir=run',
    ],
    cwd=tmp_path,
    env=environment(1),
    capture_output=True,
    text=True,
    timeout=100,
    check=False,
  )
  assert done.returncode == 1 and not (tmp_path / 'run').exists()
  assert '--distributed found no TPU slice and no SLURM' in done.stderr
