"""Fuzzing, for a short time, and that it sees what it looks for."""

import numpy as np
import pytest

from benchmarks import fuzz_films


@pytest.mark.ci
@pytest.mark.parametrize('kind', fuzz_films.KINDS)
def test_changed_films_are_read_or_refused(kind, tmp_path):
  if kind == 'dicom':
    pytest.importorskip('pydicom')
  row = fuzz_films.fuzz(kind, 8, seed=1, keep=tmp_path)
  assert row['films'] == row['read'] + row['refused'] > 0
  assert not row['broken'], sorted(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('error', 'outcome'),
  [
    (None, 'read'),
    (ValueError('Truncated PNG.'), 'refused'),
    (ValueError('two\nlines'), 'broken'),
    (ValueError(''), 'broken'),
    (KeyError('x'), 'broken'),
    (ValueError(f'{fuzz_films.codec_pool.ENDED} (SIGSEGV).'), 'workers_ended'),
  ],
)
def test_outcomes(error, outcome):
  def read(data):
    if error:
      raise error

  assert fuzz_films._outcome(b'film', read) == outcome


def test_films_are_changed():
  seeds = [b'a' * 300, bytes(range(256))]
  rng = np.random.default_rng(0)
  found = [fuzz_films.changed(rng, seeds) for _ in range(50)]
  assert len(set(found)) > 45
