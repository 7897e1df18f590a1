"""The pool of decoding processes: crashes, hangs, memory, plain scripts."""

import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import odd_worker
import pytest

from boneage_jax.imaging import codec_pool
from boneage_jax.imaging import limits

HELPERS = str(pathlib.Path(odd_worker.__file__).parent)


@pytest.fixture
def pool(monkeypatch):
  codec_pool.close()
  monkeypatch.setattr(codec_pool, 'MODULE', 'odd_worker')
  monkeypatch.setenv('PYTHONPATH', HELPERS)
  yield codec_pool
  codec_pool.close()


def test_a_crash_refuses_the_film_and_the_next_is_read(pool):
  first = pool.read(b'film')
  np.testing.assert_array_equal(first.image, odd_worker.GREY)
  assert (first.plain, first.notes) == (b'film', ('window',))
  assert pool.read(b'other').header == first.header  # of the same process
  with pytest.raises(ValueError, match=r"KeyError: 'two\\nlines'"):
    pool.read(b'error')
  assert pool.read(b'film').header == first.header
  with pytest.raises(ValueError, match=r'ended the process.*SIGABRT.*PNG'):
    pool.read(b'abort')
  again = pool.read(b'film')
  np.testing.assert_array_equal(again.image, odd_worker.GREY)
  assert again.header['pid'] != first.header['pid']


def test_a_film_above_a_limit_is_told_from_a_damaged_one(pool):
  first = pool.read(b'film')
  small = limits.Limits(megapixels=1)
  with pytest.raises(
    limits.TooLargeError, match='--max_megapixels=25'
  ) as found:
    pool.read(b'large', small)
  assert found.value.fact.endswith('5000 x 5000 (25 megapixels).')
  assert pool.read(b'film').header == first.header  # of the same process


@pytest.mark.ci
def test_time_and_memory_of_a_film_are_bounded(pool, monkeypatch):
  monkeypatch.setattr(codec_pool, 'SECONDS', 1)
  for film, patience in ((b'hang', 60), (b'sleep', 2)):
    monkeypatch.setattr(codec_pool, 'PATIENCE', patience)
    start = time.monotonic()
    with pytest.raises(ValueError, match='took more than 1 seconds'):
      pool.read(film)
    assert time.monotonic() - start < 30
  with pytest.raises(ValueError, match=r'more than 1 GiB.*--max_megabytes'):
    pool.read(b'much')
  # One that died while it waited costs no film.
  codec_pool._idle[0]._process.kill()
  codec_pool._idle[0]._process.wait()
  np.testing.assert_array_equal(pool.read(b'film').image, odd_worker.GREY)


@pytest.mark.ci
def test_large_films_wait_for_each_other(pool):
  found = []
  with limits.admit() as admission:
    admission.pixels(6000, 6000)
    other = threading.Thread(target=lambda: found.append(pool.read(b'large')))
    other.start()
    pool.read(b'film')  # a small one does not wait
    time.sleep(1)
    assert not found
  other.join(60)
  assert len(found) == 1


@pytest.mark.ci
def test_a_plain_script_is_not_run_again(tmp_path):
  """As `multiprocessing` would, where a script has no `__main__` guard."""
  (tmp_path / 'json.py').write_text('raise SystemExit("of the folder")')
  script = tmp_path / 'script.py'
  script.write_text(
    'import sys\n'
    'print("once")\n'
    'sys.path.pop(0)\n'
    'from boneage_jax.imaging import codec_pool\n'
    'for film in (b"II*\\0", b"II*\\0"):\n'
    '  try:\n'
    '    codec_pool.read(film)\n'
    '  except ValueError as error:\n'
    '    print(error)\n'
  )
  done = subprocess.run(
    [sys.executable, str(script)],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    env={'PYTHONPATH': str(pathlib.Path(codec_pool.__file__).parents[2])},
    check=True,
  )
  once, *others = done.stdout.splitlines()
  assert once == 'once'
  assert len(others) == 2 and all('0 pages' in line for line in others)


def test_a_worker_may_start_before_the_first_film(pool):
  pool.start()
  first = pool._idle[0]
  assert pool.read(b'film').header['pid'] == first._process.pid
  assert pool.read(b'other').header['pid'] == first._process.pid
  pool.close()
  pool.start()
  pool._idle[0].end()  # before anybody needed it
  assert pool.read(b'film').header['pid'] != first._process.pid
