"""Shards: the same bytes whoever writes them, with or without Beam."""

import hashlib
import pathlib
import subprocess
import sys

import dummy_archive
import pytest
from tensorflow_datasets.core import shuffle

from tfds_rsna import build
from tfds_rsna import shards


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
  monkeypatch.setattr(shards, 'FILMS', 3)


@pytest.fixture
def manual_dir(tmp_path):
  return dummy_archive.create(tmp_path)


@pytest.fixture
def beam_options(monkeypatch):
  reason = "needs pip install -e '.[beam]'"
  pytest.importorskip('apache_beam', reason=reason)
  from apache_beam.runners.portability import prism_runner

  def fetch(*unused):
    raise OSError('no network')

  # The DirectRunner fetches a binary, and does without where it cannot.
  monkeypatch.setattr(prism_runner.PrismRunner, 'run_pipeline', fetch)
  return ['runner=DirectRunner']


def content(folder):
  """The bytes of every file, by its name."""
  return {p.name: p.read_bytes() for p in pathlib.Path(folder).iterdir()}


def spoil(manual_dir, film):
  path = manual_dir / dummy_archive.TRAIN / f'{film}.png'
  path.write_bytes(path.read_bytes()[:-20])


def test_bytes_do_not_depend_on_workers_or_process(tmp_path):
  folders = [
    build.build(dummy_archive.DUMMY, tmp_path / str(workers), workers=workers)
    for workers in (1, 5)
  ]
  code = (
    'import sys\n'
    'from tfds_rsna import build, shards\n'
    'shards.FILMS = 3\n'
    'print(build.build(*sys.argv[1:], workers=2))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code, dummy_archive.DUMMY, tmp_path / 'other'],
    capture_output=True,
    text=True,
    check=True,
    cwd=dummy_archive.DUMMY.parents[1],
  )
  one, five, other = map(content, (*folders, done.stdout.strip()))
  assert one == five == other
  assert [name for name in sorted(one) if 'train' in name] == [
    'tfds_rsna-train.array_record-00000-of-00002',
    'tfds_rsna-train.array_record-00001-of-00002',
  ]


@pytest.mark.parametrize('split', ['train', 'validation'])
def test_films_come_in_the_order_of_their_hashes(tmp_path, split):
  folder = build.build(dummy_archive.DUMMY, tmp_path)
  ids = list(dummy_archive.read_back(folder, split))
  assert ids == sorted(
    ids, key=lambda i: hashlib.md5(f'{split}{i}'.encode()).hexdigest()
  )


def test_a_large_split_needs_no_tensorflow(monkeypatch, manual_dir, tmp_path):
  # Beyond this TFDS sorts in temporary files, which it opens by TensorFlow.
  monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', 1)
  folder = build.build(manual_dir, tmp_path / 'data')
  assert len(dummy_archive.read_back(folder)) == 4


def test_a_shard_of_bad_films_stays_empty(monkeypatch, manual_dir, tmp_path):
  monkeypatch.setattr(shards, 'FILMS', 1)
  spoil(manual_dir, 3)
  folder = build.build(manual_dir, tmp_path / 'data', allow_bad_films=1)
  assert dummy_archive.read_back(folder).keys() == {'1', '2', '4'}


def test_beam_gives_the_same_bytes(beam_options, tmp_path):
  plain = build.build(dummy_archive.DUMMY, tmp_path / 'plain', 'px512')
  beam = build.build(
    dummy_archive.DUMMY, tmp_path / 'beam', 'px512', beam_options=beam_options
  )
  assert content(plain) == content(beam)


def test_beam_keeps_the_gate(beam_options, manual_dir, tmp_path):
  spoil(manual_dir, 2)
  spoil(manual_dir, 4)
  messages = []
  for options in ([], beam_options):
    with pytest.raises(ValueError, match='2 bad films, 1 allowed:') as e:
      build.build(
        manual_dir, tmp_path / 'data', allow_bad_films=1, beam_options=options
      )
    messages.append(str(e.value))
    assert not list((tmp_path / 'data').rglob('*2.1.0'))
  assert messages[0] == messages[1]
  assert '2.png: truncated PNG' in messages[0]
  folder = build.build(
    manual_dir, tmp_path / 'data', allow_bad_films=2, beam_options=beam_options
  )
  assert dummy_archive.read_back(folder).keys() == {1, 3}
  assert [film for film, _ in dummy_archive.info(folder)['bad']] == [2, 4]


def test_beam_is_asked_for_and_absent(monkeypatch, manual_dir, tmp_path):
  monkeypatch.setitem(sys.modules, 'apache_beam.options', None)
  with pytest.raises(ValueError, match=r"pip install -e '\.\[beam\]'"):
    build.build(manual_dir, tmp_path / 'data', beam_options=['runner=Any'])
