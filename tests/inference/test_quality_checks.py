"""Checks of a run: what is stored, and what is measured."""

import numpy as np
import pytest

from boneage_jax.imaging import descriptor
from boneage_jax.inference import quality_checks

FILM = np.random.default_rng(0).integers(0, 256, (60, 40), dtype=np.uint8)


def made(limits=(0.5, 0.5)):
  count = len(descriptor.describe(FILM))
  weights = np.random.default_rng(1).normal(size=(2, count))
  return quality_checks.Checks(
    ('blank', 'cast'),
    weights.astype(np.float32),
    np.array([0.1, -0.2]),
    np.array(limits),
  )


def test_what_is_stored_is_what_is_measured(tmp_path):
  assert quality_checks.load(str(tmp_path)) is None
  checks = made()
  quality_checks.save(str(tmp_path), checks)
  again = quality_checks.load(str(tmp_path))
  values = checks.weights @ descriptor.describe(FILM) + checks.offsets
  measured = again.measure(FILM)
  assert list(measured) == ['blank', 'cast']
  for one, value in zip(measured.values(), values, strict=True):
    assert one.value == pytest.approx(value, rel=1e-5, abs=1e-5)
    assert one.limit == 0.5 and one.fails == (value > 0.5)


def test_damaged_and_foreign_files_are_refused(tmp_path):
  path = tmp_path / 'quality.npz'
  quality_checks.save(str(tmp_path), made())
  data = path.read_bytes()
  path.write_bytes(data[:-40])
  with pytest.raises(ValueError, match='again with `evaluate calibrate`'):
    quality_checks.load(str(tmp_path))
  quality_checks.save(str(tmp_path), made((0.5, 0.5, 0.5)))
  with pytest.raises(ValueError, match=r'Expected 2 checks of .* numbers in'):
    quality_checks.load(str(tmp_path))
