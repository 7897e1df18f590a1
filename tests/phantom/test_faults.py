"""What each planted fault does to a film."""

import csv

import cv2
import numpy as np
import pytest

from boneage_jax.imaging import polarity
from boneage_jax.imaging import silhouette
from boneage_jax.phantom import __main__ as command
from boneage_jax.phantom import faults

H, W = 240, 200
HAND = faults.Hand((0.25, 0.125, 0.75, 1.0), 0.75)


@pytest.fixture(scope='module')
def film():
  """A palm with four fingers on a forearm, thumb at its right."""
  picture = np.full((H, W), 20, np.uint8)
  for x in (60, 80, 100, 120):
    cv2.line(picture, (x, 38), (x, 120), 150, 12)
  cv2.rectangle(picture, (54, 110), (126, 165), 150, -1)
  cv2.line(picture, (126, 150), (146, 110), 150, 8)
  cv2.rectangle(picture, (75, 165), (105, 239), 150, -1)
  return picture


def of(kind, film, seeds=range(8)):
  return [faults.plant(kind, film, seed, HAND) for seed in seeds]


def bodies(film):
  count, _, found, _ = cv2.connectedComponentsWithStats(np.uint8(film > 100))
  return int(np.sum(found[1:count, cv2.CC_STAT_AREA] > 0.05 * H * W))


def test_every_kind_changes_the_film_and_is_drawn_by_its_seed(film):
  for kind in faults.KINDS:
    first, again, other = of(kind, film, (3, 3, 4))
    assert first.dtype == np.uint8 and first.ndim == 2
    np.testing.assert_array_equal(first, again)
    assert first.shape != film.shape or np.any(first != film)
    if kind not in ('inverted', 'mirrored', 'saturated'):
      assert first.shape != other.shape or np.any(first != other)
  with pytest.raises(ValueError, match=r"among two_hands.* got 'ghost'"):
    faults.plant('ghost', film, 0)


def test_two_hands_are_two(film):
  assert bodies(film) == 1
  assert [bodies(pair) for pair in of('two_hands', film)] == [2] * 8


def test_cuts_take_what_they_say(film):
  wrist = 0.75 * H
  for cut in of('cut_wrist', film):
    rows = len(cut)  # 6 to 18 % of 0.625 * H above the wrist
    assert wrist - 0.18 * 150 - 1 <= rows <= wrist - 0.06 * 150 + 1
    np.testing.assert_array_equal(cut, film[:rows])
  for cut in of('cut_tips', film):
    gone = H - len(cut)
    assert 30 + 0.08 * 150 - 1 <= gone <= 30 + 0.2 * 150 + 1
    np.testing.assert_array_equal(cut, film[gone:])
  # From the far edge of the film to 45 to 60 % of the hand.
  for kind, far, length in (
    *(('half_left', 0.25, 0.5), ('half_right', 0.25, 0.5)),
    *(('half_top', 0.25, 0.625), ('half_bottom', 0.125, 0.625)),
  ):
    sideways = kind in ('half_left', 'half_right')
    for cut in of(kind, film):
      kept = cut.shape[sideways] / film.shape[sideways]
      assert far + 0.4 * length - 0.01 <= kept <= far + 0.55 * length + 0.01
      first = kind in ('half_right', 'half_bottom')
      size = [slice(n) if first else slice(-n, None) for n in cut.shape]
      np.testing.assert_array_equal(cut, film[tuple(size)])


def test_turns_keep_the_hand_in_the_film(film):
  assert polarity.score(of('inverted', film)[0]) == pytest.approx(
    -polarity.score(film), abs=1e-4
  )
  np.testing.assert_array_equal(of('mirrored', film)[0], film[:, ::-1])
  bright = np.sum(film > 100)
  for turned in of('rotated', film):
    assert np.sum(turned > 100) == pytest.approx(bright, rel=0.06)


def test_what_is_lost_cannot_be_seen(film):
  for empty in of('blank', film):
    smooth = cv2.GaussianBlur(empty.astype(np.float32), (0, 0), 4)
    assert empty.std() < 15 and np.ptp(smooth) < 60
  for burnt in of('saturated', film):
    inside = burnt[film > 100]
    assert np.mean((inside == 0) | (inside == 255)) > 0.95
  for few in of('few_pixels', film):
    assert 40 <= max(few.shape) <= 60
  edge = lambda f: np.abs(np.diff(f.astype(float))).max()
  assert max(edge(soft) for soft in of('blurred', film)) < 0.5 * edge(film)
  for grainy in of('noise', film):
    assert 15 < np.std(grainy[film > 100].astype(float)) < 65
  ramp = np.broadcast_to(np.linspace(40, 200, W).astype(np.uint8), (H, W))
  for blocks in of('jpeg', ramp):
    steps = np.abs(np.diff(blocks.astype(float), axis=1)).mean(0)
    at = np.arange(1, W) % 8 == 0
    assert steps[at].mean() > 1.5 * steps[~at].mean()


def test_metal_and_casts_are_brighter(film):
  for plate in of('metal', film):
    bright = plate >= 248
    assert 0.001 < np.mean(bright) < 0.2
    # Bones keep darker greys, and no grey lies between them and metal.
    assert plate[~bright].max() <= 0.85 * film.max() + 1
  for cast in of('cast', film):
    changed = cast != film
    assert not changed[: round(0.35 * H)].any()
    assert cast[-20:].mean() > film[-20:].mean() + 10


def test_other_parts_are_not_the_hand(film):
  for other in of('not_a_hand', film):
    assert other.shape == film.shape and other.std() > 8
    same = np.corrcoef(other.ravel(), film.ravel())[0, 1]
    assert same < 0.8


def test_hands_are_guessed_where_nobody_says_where_they_are(film):
  guessed = faults.find_hand(film)
  np.testing.assert_allclose(guessed.box, (0.26, 0.13, 0.75, 1), atol=0.04)
  assert 0.65 < guessed.wrist < 0.9
  darker = silhouette.find(film // 2).mask
  assert np.mean(silhouette.find(film).mask != darker) < 0.01


def test_an_archive_says_which_fault_a_film_has(tmp_path):
  arguments = ['--films=3', '--long_side=64', '--workers=1']
  command.main([f'--out={tmp_path}', *arguments, '--faults=inverted,blank'])
  with open(tmp_path / 'faults.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['fault'] for row in rows] == ['inverted', 'blank', 'inverted']
  command.main([f'--out={tmp_path}', *arguments])
  assert not (tmp_path / 'faults.csv').exists()
  with pytest.raises(SystemExit, match="got 'ghost': change --faults"):
    command.main([f'--out={tmp_path}', *arguments, '--faults=ghost'])
