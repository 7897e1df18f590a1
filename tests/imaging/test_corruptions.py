"""Disturbances of films against closed forms."""

import cv2
import numpy as np
import pytest

from boneage_jax.imaging import corruptions


@pytest.fixture
def film():
  noise = np.random.default_rng(0).uniform(0, 255, (240, 160))
  return cv2.GaussianBlur(noise.astype(np.uint8), (0, 0), 2)


@pytest.mark.parametrize('case', corruptions.CASES, ids=lambda c: c.name)
def test_every_case_changes_the_film_and_alike_each_time(case, film):
  before = film.copy()
  changed = case(film, '7')
  assert changed.dtype == np.uint8 and changed.ndim == 2
  assert changed.shape != film.shape or (changed != film).any()
  np.testing.assert_array_equal(film, before)
  np.testing.assert_array_equal(case(film, '7'), changed)


def test_cases_have_their_own_names_and_films_their_own_draws(film):
  names = [(case.name, case.severity) for case in corruptions.CASES]
  assert len(set(names)) == len(names)
  drawn = {case.name for case in corruptions.CASES if case.drawn}
  assert drawn == {'lead marker', 'noise'}
  for case in corruptions.CASES:
    if case.drawn:
      seen = {case(film, i).tobytes() for i in '01234567'}
      assert len(seen) > 2


def test_quarter_turns_are_exact_and_other_turns_about_the_centre(film):
  np.testing.assert_array_equal(corruptions.rotate(film, 90), np.rot90(film))
  np.testing.assert_array_equal(corruptions.rotate(film, 180), film[::-1, ::-1])
  dot = np.zeros((101, 101), np.uint8)
  dot[50 - 1 : 50 + 2, 90 - 1 : 90 + 2] = 255  # to the right of the centre
  turned = corruptions.rotate(dot, 30)  # counter-clockwise: up
  rows, columns = np.mgrid[:101, :101]
  x, y = ((turned * axis).sum() / turned.sum() for axis in (columns, rows))
  np.testing.assert_allclose(
    (x - 50, 50 - y), 40 * np.array([np.cos(np.pi / 6), 0.5]), atol=0.1
  )
  assert not corruptions.rotate(np.full((50, 50), 200, np.uint8), 20)[0, 0]


def test_tone_is_the_closed_form(film):
  changed = corruptions.tone(film, gamma=0.7, contrast=1.3, brightness=0.9)
  v = ((film / 255) ** 0.7 - 0.5) * 1.3 + 0.5
  expected = np.rint(255 * np.clip(0.9 * v, 0, 1))
  np.testing.assert_array_equal(changed, expected)
  np.testing.assert_array_equal(corruptions.tone(film), film)


def test_mirror_and_inversion_undo_themselves(film):
  np.testing.assert_array_equal(corruptions.mirror(film), film[:, ::-1])
  np.testing.assert_array_equal(corruptions.invert(film), 255 - film)


def test_lengths_are_shares_of_the_film():
  for scale in (1, 3):
    film = np.zeros((201 * scale, 101 * scale), np.uint8)
    film[90 * scale : 111 * scale, 40 * scale : 61 * scale] = 255
    blurred = corruptions.blur(film, 0.02)
    rows = np.mgrid[: len(film)] - (len(film) - 1) / 2
    variance = (blurred.sum(1) * rows**2).sum() / blurred.sum()
    variance -= (21 * scale) ** 2 / 12  # of the square
    assert variance == pytest.approx((0.02 * 201 * scale) ** 2, rel=0.1)
  dot = film[:201, :101]
  framed = corruptions.border(dot, 0.1, 255)
  assert framed.shape == (241, 121)
  np.testing.assert_array_equal(framed[20:-20, 10:-10], dot)
  assert (framed[:20] == 255).all() and (framed[:, -10:] == 255).all()


def test_shrinking_averages_blocks():
  film = np.random.default_rng(1).integers(0, 256, (40, 40), np.uint8)
  small = film.reshape(5, 8, 5, 8).mean((1, 3))
  changed = corruptions.shrink(film, 8)
  centres = changed[3::8, 3::8].astype(float)  # half a pixel off the centres
  assert np.abs(centres - small).max() < np.ptp(small) / 8 + 1
  assert changed.std() < film.std() / 4


def test_a_marker_is_white_and_small_and_in_a_corner():
  film = np.zeros((300, 200), np.uint8)
  corners = set()
  for i in range(40):
    marked = corruptions.marker(film, 0.16, np.random.default_rng(i))
    rows, columns = np.nonzero(marked)
    assert (marked[rows, columns] == 255).all() and len(rows) < 0.5 * 32 * 19
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (32, 19)
    assert rows.max() < 60 or rows.min() > 240
    assert columns.max() < 60 or columns.min() > 140
    corners.add((rows.min() > 150, columns.min() > 100))
  assert len(corners) == 4


def test_noise_has_its_deviation_and_jpeg_its_loss(film):
  grey = np.full((200, 200), 128, np.uint8)
  noisy = corruptions.noise(grey, 10, np.random.default_rng(0)).astype(float)
  assert noisy.mean() == pytest.approx(128, abs=0.3)
  assert noisy.std() == pytest.approx(10, rel=0.02)
  losses = [
    np.abs(corruptions.jpeg(film, q).astype(float) - film).mean()
    for q in (95, 5)
  ]
  assert losses[0] < 2 < losses[1]


def test_spoilt_films_are_those_of_the_suite_and_stay_in_place():
  film = np.zeros((120, 80), np.uint8)
  film[30:50, 50:70] = 200
  place = np.array([39.5, 59.5])  # the middle of the square
  shapes, moved = set(), 0
  for seed in range(200):
    changed = corruptions.corrupt(film, np.random.default_rng(seed))
    again = corruptions.corrupt(film, np.random.default_rng(seed))
    np.testing.assert_array_equal(changed, again)
    assert changed.dtype == np.uint8 and changed.any()
    shapes.add(changed.shape == film.shape)
    kept = corruptions.corrupt(film, np.random.default_rng(seed), moved=False)
    assert kept.shape == film.shape
    weight = np.clip(kept.astype(float) - 60, 0, None)
    if weight.sum():  # far down in resolution nothing is that bright
      centre = [
        np.average(np.arange(n), weights=weight.sum(axis))
        for axis, n in ((1, 120), (0, 80))
      ]
      moved = max(moved, np.abs(centre - place).max())
  assert shapes == {True, False} and moved < 8


def test_crops_are_corrupted_alike_and_each_by_itself():
  """Lengths are shares of the side of a crop."""
  side, rng = 48, np.random.default_rng(5)
  crops = rng.integers(60, 200, (3, side, side)).astype(np.uint8)
  seen = set()
  for seed in range(30):
    rng = np.random.default_rng(seed)
    kind, much = rng.integers(5), np.sqrt(rng.random())
    seen.add(int(kind))
    rng = np.random.default_rng(seed)
    made = np.stack(corruptions.corrupt(list(crops), rng, moved=False))
    assert made.shape == crops.shape and made.dtype == np.uint8
    if kind == 2:  # of one severity, but each with a noise of its own
      noise = (made.astype(float) - crops).reshape(3, -1)
      np.testing.assert_allclose(noise.std(1), 25 * much, rtol=0.1, atol=0.3)
      if much > 0.1:
        assert np.abs(np.corrcoef(noise) - np.eye(3)).max() < 0.1
      continue
    if kind == 4:  # one table for all
      before, where = np.unique(crops, return_index=True)
      table = np.zeros(256, np.uint8)
      table[before] = made.ravel()[where]
      np.testing.assert_array_equal(table[crops], made)
      continue
    for crop, one in zip(crops, made, strict=True):  # each as if it were alone
      again = np.random.default_rng(seed)
      (alone,) = corruptions.corrupt([crop], again, moved=False)
      np.testing.assert_array_equal(alone, one)
      edges = lambda image: np.abs(np.diff(image.astype(float))).mean()
      assert kind == 3 or edges(one) < edges(crop)  # blurred, or shrunk
  assert seen == set(range(5))
