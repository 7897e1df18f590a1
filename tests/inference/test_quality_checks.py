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
  usual = quality_checks.fit_usual(np.eye(4) + np.arange(4))
  checks = made()._replace(usual=usual, answer_limits={'unusual': 2.0})
  quality_checks.save(str(tmp_path), checks)
  again = quality_checks.load(str(tmp_path))
  answers = {'embedding': np.arange(4.0), 'spread': np.float64(1)}
  unusual = again.measure(FILM, answers)['unusual']
  assert unusual.limit == 2
  assert unusual.value == usual.distances(np.arange(4.0)[None])[0]
  values = checks.weights @ descriptor.describe(FILM) + checks.offsets
  measured = again.measure(FILM)
  assert list(measured) == ['blank', 'cast']
  for one, value in zip(measured.values(), values, strict=True):
    assert one.value == pytest.approx(value, rel=1e-5, abs=1e-5)
    assert one.limit == 0.5 and one.fails == (value > 0.5)


def test_a_check_is_as_bad_as_its_worst_score():
  """And that is the one that is farthest above its own limit."""
  checks = made((0.5, 0.9))._replace(kinds=('blank', 'blank'))
  values = checks.scores(descriptor.describe(FILM)[None])[0]
  for over in ((0.1, 0.2), (0.2, 0.1), (-0.2, -0.1)):
    limits = values - over
    (found,) = checks._replace(limits=limits).measure(FILM).items()
    worst = int(np.argmax(over))
    assert found == ('blank', (values[worst], limits[worst]))


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


def test_the_distance_is_that_of_a_shrunk_covariance():
  """Against Ledoit and Wolf's covariance, inverted as a whole."""
  rng = np.random.default_rng(0)
  rows = rng.normal(size=(40, 6)) * [5, 3, 1, 1, 0.5, 0.1]
  usual = quality_checks.fit_usual(rows)
  off = rows - rows.mean(0)
  covariance = off.T @ off / 40
  middle = np.trace(covariance) / 6
  target = middle * np.eye(6)
  noise = sum(np.sum((np.outer(x, x) - covariance) ** 2) for x in off) / 40**2
  share = min(noise / np.sum((covariance - target) ** 2), 1)
  assert 0 < share < 1
  shrunk = (1 - share) * covariance + share * target
  expected = np.sqrt(
    np.einsum('ij,jk,ik->i', off, np.linalg.inv(shrunk), off) / 6
  )
  np.testing.assert_allclose(usual.distances(rows), expected, rtol=1e-4)


def test_directions_without_a_component_count_together():
  rng = np.random.default_rng(0)
  rows = rng.normal(size=(300, 100))
  usual = quality_checks.fit_usual(rows)
  assert usual.axes.shape == (64, 100)
  far = usual.mean + 9 * np.eye(100)[:2]
  assert usual.distances(rows).mean() == pytest.approx(1, abs=0.1)
  assert (usual.distances(far) > 0.8).all()
  assert np.isfinite(quality_checks.fit_usual(rows[:2]).distances(rows)).all()


def test_what_nets_answer_is_measured_where_it_has_a_limit():
  usual = quality_checks.fit_usual(np.eye(4) + np.arange(4))
  outputs = {'embedding': np.full(4, 99.0), 'spread': np.float64(7)}
  rows = {name: np.asarray(x)[None] for name, x in outputs.items()}
  found = quality_checks.answers(usual, rows)
  assert found['apart'].tolist() == [7] and found['unusual'][0] > 9
  assert quality_checks.answers(None, rows).keys() == {'apart'}
