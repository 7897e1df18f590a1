"""A DICOM node that is killed at odd moments loses nothing."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import dicom_tools
import pytest

pydicom = pytest.importorskip('pydicom')
pytest.importorskip('highdicom')
pytest.importorskip('pynetdicom')
import dicom_peers  # noqa: E402

from benchmarks import dicom_node  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
FILMS = 4
ENDED = 'The process that predicts ended'
pytestmark = pytest.mark.ci


def children(process):
  """Ids of the processes that a process started."""
  path = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children')
  return [int(one) for one in path.read_text().split()]


def test_each_film_that_was_taken_is_answered_whatever_is_killed(
  untrained, tmp_path
):
  """Kills of the node and of the process that predicts, at seeded moments."""
  draw = random.Random(0)
  port = dicom_node.free_port()
  with dicom_peers.Receiver() as receiver:
    node = dicom_node.Node(
      (
        *(f'--workdir={untrained}/run', '--stage=whole_image'),
        *(f'--port={port}', f'--folder={tmp_path}/node'),
        *('--address=127.0.0.1', f'--send_to=127.0.0.1:{receiver.port}:PACS'),
      ),
      tmp_path / 'node.log',
    )
    try:
      node.start()
      for k in range(0, FILMS, 2):
        films = [
          dicom_tools.phantom(n, SOPInstanceUID=f'1.2.3.{n + 1}')
          for n in (k, k + 1)
        ]
        assert dicom_peers.store(port, films) == [0, 0]
        calls = receiver.calls
        more = lambda calls=calls: receiver.calls > calls
        dicom_node.wait_for('an object', more, 300)
        time.sleep(draw.uniform(0, 0.3))  # the next ones are on their way
        if k % 4:
          for one in children(node.process):  # the node starts another one
            os.kill(one, signal.SIGKILL)
          said = lambda: ENDED in (tmp_path / 'node.log').read_text()
          dicom_node.wait_for('its end', said, 60)
        else:
          node.kill()
          node.start()
      left = [tmp_path / 'node/films', tmp_path / 'node/sending']
      dicom_node.wait_for(
        'the end', lambda: not any(map(os.listdir, left)), 300
      )
      assert node.stop() == 0
    finally:
      node.kill()
  assert len(receiver.got) == 2 * FILMS
  films = set()
  for uid, copies in receiver.got.items():
    assert len(set(copies)) == 1
    one = pydicom.dcmread(tmp_path / 'node/objects' / f'{uid}.dcm')
    assert one.Modality in ('SR', 'OT')
    films.add(one.SOPInstanceUID)
  assert len(films) == 2 * FILMS
  assert not os.listdir(tmp_path / 'node/dead/films')


def test_ages_are_those_of_predict(untrained, tmp_path):
  """To the last digit that a report has, and under the same UIDs."""
  film = tmp_path / 'film.dcm'
  film.write_bytes(dicom_tools.phantom(0))
  port = dicom_node.free_port()
  flags = (f'--workdir={untrained}/run', '--stage=whole_image')
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'boneage_jax.predict', str(film), *flags),
      f'--dicom_out={tmp_path}/objects',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  with dicom_peers.Receiver() as receiver:
    node = dicom_node.Node(
      (
        *(*flags, f'--port={port}', f'--folder={tmp_path}/node'),
        f'--send_to=127.0.0.1:{receiver.port}:PACS',
      ),
      tmp_path / 'node.log',
    )
    try:
      node.start()
      assert dicom_peers.store(port, [film.read_bytes()]) == [0]
      dicom_node.wait_for('objects', lambda: len(receiver.got) == 2, 300)
    finally:
      node.kill()
  made = {
    path.stem: pydicom.dcmread(path) for path in tmp_path.glob('objects/*')
  }
  assert set(made) == set(receiver.got)
  for uid, one in made.items():
    other = pydicom.dcmread(tmp_path / 'node/objects' / f'{uid}.dcm')
    if one.Modality == 'SR':
      assert one.ContentSequence == other.ContentSequence
    else:
      assert one.PixelData == other.PixelData


def test_a_node_without_nets_ends_with_the_reason(tmp_path):
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'boneage_jax.serve.dicom'),
      *(f'--workdir={tmp_path}', f'--port={dicom_node.free_port()}'),
      *(f'--folder={tmp_path}/node', '--send_to=127.0.0.1:9:PACS'),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )
  assert done.returncode == 1
  assert f'Error: No run in {tmp_path}: there is no config.json.' in done.stderr
  assert 'did not start: see above' in done.stderr
  assert 'Traceback' not in done.stderr
