"""Broken hands: labels, masks that lie on the break, several views."""

import csv
import json

import cv2
import numpy as np
import pytest

from boneage_jax import phantom
from boneage_jax.imaging import annotations
from boneage_jax.imaging import masks
from boneage_jax.phantom import fractures
from boneage_jax.phantom import skeleton

SMALL = {'long_side': 96}


def test_findings_are_drawn_alike():
  bones = skeleton.pose(np.random.default_rng(0)).bones
  rng = np.random.default_rng(1)
  drawn = [fractures.sample(rng, bones, 0.75) for _ in range(1200)]
  findings = [f.finding if f else 'none' for f in drawn]
  for finding in fractures.FINDINGS:
    assert findings.count(finding) == pytest.approx(300, abs=60), finding
  centres = {f.centre for f in drawn if f}
  assert centres == {c for names in fractures.BONES.values() for c in names}
  assert all(f.centre in fractures.BONES[f.finding] for f in drawn if f)


def test_a_bone_is_whole_but_for_the_line():
  fracture = fractures.Fracture('radius', 'radius', 20, 0, 0, 0, 0.8, 0.9, 2.0)
  u = np.arange(0, 40, 0.5, dtype=np.float32)[None]
  v = np.zeros((1, u.size), np.float32)
  moved, left = fracture.displace(u, v)
  np.testing.assert_array_equal(moved, np.where(u > 20, 2.0, 0.0))
  assert left[u == 20] == pytest.approx(0.1, abs=1e-6)
  assert left[np.abs(u - 20) > 3].min() > 0.999


def test_a_fracture_changes_the_film_at_its_mask_and_no_label():
  seen = 0
  for index in range(10):
    whole = phantom.make_film(index, 2, {'long_side': 256})
    broken = phantom.make_film(index, 2, {'long_side': 256, 'fractures': 0.7})
    assert (whole['age'], whole['male']) == (broken['age'], broken['male'])
    changed = np.abs(whole['image'].astype(int) - broken['image'].astype(int))
    if broken['finding'] == 'none':
      assert broken['fracture'] is None and not changed.any()
      continue
    seen += 1
    parts = [
      masks.draw(broken, (kind,), changed.shape) > 0
      for kind in ('fracture_boxes', 'fracture_polygons', 'fracture_strokes')
    ]
    areas = [part.mean() for part in parts]
    assert areas[0] >= areas[1] > 0 and 0 < areas[2] < 0.02
    near = cv2.dilate(parts[2].astype(np.uint8), np.ones((3, 3))) > 0
    away = cv2.dilate(parts[0].astype(np.uint8), np.ones((9, 9))) == 0
    assert changed[near].mean() > 4 * changed[away].mean()
  assert 4 <= seen <= 9


def test_views_show_one_hand_in_another_pose():
  films = [
    phantom.make_film(i, 4, SMALL | {'fractures': 1.0, 'views': 3})
    for i in range(6)
  ]
  assert [film['study'] for film in films] == [1, 1, 1, 2, 2, 2]
  for first in (0, 3):
    views = films[first : first + 3]
    assert len({(v['age'], v['male'], v['finding']) for v in views}) == 1
    shapes = {tuple(np.round(v['keypoints'][0], 4)) for v in views}
    assert len(shapes) == 3
  assert len({film['id'] for film in films}) == 6


def test_one_view_is_the_film_it_was():
  plain = phantom.make_film(3, 4, SMALL)
  viewed = phantom.make_film(3, 4, SMALL | {'views': 1, 'fractures': 0.0})
  np.testing.assert_array_equal(plain['image'], viewed['image'])
  assert plain['finding'] == 'none' and plain['study'] == plain['id'] == 4


def test_the_archive_says_what_is_broken(tmp_path):
  out = tmp_path / 'archive'
  phantom.write_archive(
    str(out), 6, 3, long_side=96, fractures=0.6, views=2, workers=1
  )
  with open(out / 'annotations' / 'fracture_labels.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [int(row['study']) for row in rows] == [1, 1, 2, 2, 3, 3]
  films = annotations.load(out / 'annotations')
  broken = [i for i in films if films[i]['finding'] != 'none']
  assert broken and len(broken) < 6
  for number, film in films.items():
    assert ('fracture' in film) == (number in broken)
    for kind in ('fracture_polygons', 'fracture_boxes', 'fracture_strokes'):
      assert masks.has(film, (kind,)) == (number in broken)
  made_from = json.loads((out / 'phantom.json').read_text())
  assert (made_from['fractures'], made_from['views']) == (0.6, 2)


def test_whole_hands_in_one_view_need_no_such_files(tmp_path):
  phantom.write_archive(str(tmp_path / 'a'), 2, 0, long_side=64, workers=1)
  names = {p.name for p in (tmp_path / 'a' / 'annotations').iterdir()}
  assert not any(name.startswith('fracture') for name in names)
  with pytest.raises(ValueError, match='in at least 1 view'):
    phantom.write_archive(str(tmp_path / 'b'), 2, 0, views=0)


def test_visits_are_of_one_hand_at_later_ages(tmp_path):
  options = SMALL | {'visits': 3, 'views': 2}
  films = [phantom.make_film(k, 5, options) for k in range(12)]
  assert [film['study'] for film in films] == [1] * 6 + [2] * 6
  ages = [film['true_age'] for film in films]
  assert ages[0] == phantom.make_film(0, 5, SMALL)['true_age']  # as without
  for hand in (ages[:6], ages[6:]):
    assert hand[0::2] == hand[1::2]  # views of one visit
    steps = np.diff(hand[::2])
    assert ((steps >= 3) & (steps <= 12)).all()
  assert len({film['male'] for film in films[:6]}) == 1
  out = tmp_path / 'archive'
  phantom.write_archive(str(out), 4, 5, long_side=64, visits=2, workers=1)
  with open(out / 'films.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['group'] for row in rows] == ['hand1'] * 2 + ['hand2'] * 2
  assert rows[0]['file'].endswith('.zip/boneage-training-dataset/1.png')
  assert json.loads((out / 'phantom.json').read_text())['visits'] == 2
