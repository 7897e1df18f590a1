"""Phantoms: layout, determinism, anatomy, and what must not give the age."""

import csv
import hashlib
import json
import pathlib
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest

from boneage_jax import phantom
from boneage_jax.imaging import annotations
from boneage_jax.phantom import anatomy
from boneage_jax.phantom import render
from boneage_jax.phantom import shapes
from boneage_jax.phantom import skeleton

NAME = 'boneage-training-dataset'
SMALL = {'long_side': 96}


def digest(folder):
  """Hash every file of an archive, names included."""
  total = hashlib.sha256()
  for path in sorted(pathlib.Path(folder).rglob('*')):
    if path.is_file():
      total.update(str(path.relative_to(folder)).encode())
      total.update(path.read_bytes())
  return total.hexdigest()


def rows(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def archive(tmp_path_factory):
  out = tmp_path_factory.mktemp('phantom') / 'archive'
  phantom.write_archive(str(out), 6, 3, long_side=128, workers=1)
  return out


def test_archive_does_not_depend_on_workers(archive, tmp_path):
  phantom.write_archive(str(tmp_path), 6, 3, long_side=128, workers=2)
  assert digest(tmp_path) == digest(archive)
  phantom.write_archive(str(tmp_path), 6, 4, long_side=128, workers=1)
  assert digest(tmp_path) != digest(archive)


def test_phantoms_of_other_settings_are_refused(archive):
  same = dict(films=6, seed=3, long_side=128, visits=1, label_noise_sd=0.0)
  phantom.check_drawn(str(archive), **same)
  for change in (dict(films=7), dict(seed=4), dict(turn=3.0), dict(visits=2)):
    (name,) = change
    with pytest.raises(ValueError, match=f'some of other phantom.{name}: rem'):
      phantom.check_drawn(str(archive), **same | change)


def test_film_does_not_depend_on_its_neighbours(archive):
  with zipfile.ZipFile(archive / f'{NAME}.zip') as films:
    data = films.read(f'{NAME}/5.png')
  stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  film = phantom.make_film(4, 3, {'long_side': 128})
  assert film['id'] == 5
  np.testing.assert_array_equal(stored, film['image'])


def test_layout(archive):
  labels = rows(archive / f'{NAME}.csv')
  assert list(labels[0]) == ['id', 'boneage', 'male']
  assert {row['male'] for row in labels} <= {'True', 'False'}
  assert all(1 <= int(row['boneage']) <= 228 for row in labels)
  with zipfile.ZipFile(archive / f'{NAME}.zip') as films:
    names = films.namelist()
  assert names == [f'{NAME}/{row["id"]}.png' for row in labels]
  side = archive / 'annotations'
  assert list(rows(side / 'hand_boxes.csv')[0]) == [
    'id', 'x0', 'y0', 'x1', 'y1',
  ]  # fmt: skip
  points = rows(side / 'hand_keypoints.csv')
  assert [row['point'] for row in points[:22]] == list(annotations.POINTS)
  assert len(points) == 6 * 22
  polygons = json.loads((side / 'hand_polygons.json').read_text())
  assert list(polygons) == [row['id'] for row in labels]
  assert set(polygons['1'][0]) == {'exterior', 'interior'}
  boxes = rows(side / 'ossification_boxes.csv')
  assert {row['rater'] for row in boxes} == {'train'}
  first = [row['label'] for row in boxes if row['id'] == '1']
  count = {label: first.count(label) for label in set(first)}
  assert count == {
    'DIP': 4, 'PIP': 5, 'MCP': 5, 'Radius': 1, 'Ulna': 1, 'Wrist': 1,
  }  # fmt: skip


def test_an_archive_says_what_it_was_made_from(archive):
  made_from = json.loads((archive / 'phantom.json').read_text())
  assert made_from == {
    'films': 6, 'seed': 3, 'long_side': 128, 'label_noise_sd': 0.0,
    'inverted': 0.0, 'fractures': 0.0, 'views': 1, 'turn': 0.0, 'shift': 0.0,
  }  # fmt: skip


def test_a_failed_run_leaves_nothing(tmp_path, monkeypatch):
  def fail(*_):
    raise RuntimeError('killed')

  monkeypatch.setattr(render, 'make_film', fail)
  with pytest.raises(RuntimeError):
    phantom.write_archive(str(tmp_path / 'a'), 2, 0, workers=1)
  assert list(tmp_path.iterdir()) == []


def test_labels_follow_the_rsna_distribution():
  rng = np.random.default_rng(0)
  age, male = np.array([anatomy.sample_label(rng) for _ in range(2000)]).T
  male = male.astype(bool)
  assert male.mean() == pytest.approx(0.542, abs=0.03)
  assert age.min() >= 1
  assert age.max() <= 228
  for sex, mean, sd in ((male, 135.3, 42.1), (~male, 117.9, 37.9)):
    assert age[sex].mean() == pytest.approx(mean, abs=5)
    assert age[sex].std() == pytest.approx(sd, abs=4)
  assert age.mean() == pytest.approx(127.3, abs=4)
  assert np.median(age) == pytest.approx(132, abs=5)


@pytest.mark.parametrize('male', [True, False])
def test_ossification_only_advances(male):
  counts = [anatomy.carpal_count(age, male) for age in range(229)]
  assert counts[0] == 0
  assert counts[-1] == 8
  assert (np.diff(counts) >= 0).all()
  for centre in anatomy.EPIPHYSES:
    states = [anatomy.stage(centre, age, male) for age in range(229)]
    for field in ('visible', 'growth', 'cap', 'fusion'):
      values = [float(getattr(state, field)) for state in states]
      assert (np.diff(values) >= 0).all(), (centre, field)
    assert states[0].fusion == 0
    assert states[-1].fusion == 1, centre


def test_girls_are_ahead_of_boys():
  for age in (24, 60, 90, 130, 180):
    boys = anatomy.hand_stages(age, True)
    girls = anatomy.hand_stages(age, False)
    total = lambda hand: sum(s.growth + s.cap + s.fusion for s in hand.values())
    assert total(girls) > total(boys)


def test_the_ulna_appears_between_the_published_percentiles():
  """Boys: 5th, 50th and 95th percentile at 63, 85 and 109 months (Garn)."""
  rng = np.random.default_rng(0)
  for age, share in ((63, 0.05), (85, 0.5), (109, 0.95)):
    hands = [anatomy.hand_stages(age, True, rng) for _ in range(1000)]
    seen = np.mean([hand['ulna'].visible for hand in hands])
    assert seen == pytest.approx(share, abs=0.08)


def test_only_the_ulna_varies_that_much():
  rng = np.random.default_rng(0)
  hands = [anatomy.hand_stages(100, True, rng) for _ in range(600)]
  spread = {}
  for centre in ('radius', 'ulna', 'mc3'):
    appears, wide = anatomy.EPIPHYSES[centre][0][:2]
    growth = np.array([hand[centre].growth for hand in hands])
    spread[centre] = growth.std() * (wide - appears) / 100
  assert spread['radius'] == pytest.approx(0.06, rel=0.15)
  assert spread['mc3'] == pytest.approx(0.06, rel=0.15)
  assert spread['ulna'] > 0.1  # growth stops at 0, so not the whole 0.17


def test_bone_fills_the_carpus_with_age():
  """The same hand in the same pose holds more bone as it ripens."""
  hand = skeleton.pose(np.random.default_rng(0))
  frame = shapes.Frame(2.0, 0.0, (150, 400))
  carpus = np.s_[360:460, 80:240]
  areas = []
  for age in (2, 40, 80, 120, 160, 200):
    canvas = shapes.Canvas((500, 300), frame, np.random.default_rng(1))
    skeleton.draw(canvas, hand, anatomy.hand_stages(age, male=True))
    assert np.isfinite(canvas.bone).all()
    areas.append((canvas.bone[carpus] > 0.05).mean())
  assert (np.diff(areas) > 0).all(), areas


def test_reader_noise_changes_labels_only():
  plain = [phantom.make_film(i, 6, SMALL) for i in range(8)]
  noisy = [
    phantom.make_film(i, 6, SMALL | {'label_noise_sd': 12.0}) for i in range(8)
  ]
  assert [f['age'] for f in plain] == [f['true_age'] for f in plain]
  assert [f['true_age'] for f in noisy] == [f['true_age'] for f in plain]
  assert [f['age'] for f in noisy] != [f['age'] for f in plain]
  for a, b in zip(plain, noisy, strict=True):
    np.testing.assert_array_equal(a['image'], b['image'])


def test_inverted_films():
  film = phantom.make_film(0, 6, SMALL)
  turned = phantom.make_film(0, 6, SMALL | {'inverted': 1.0})
  np.testing.assert_array_equal(turned['image'], 255 - film['image'])


def test_unknown_option_names_the_known_ones():
  with pytest.raises(ValueError, match='long_side'):
    phantom.make_film(0, 0, {'size': 512})


def test_size_brightness_and_markers_do_not_give_the_age():
  """Best ridge on 16 x 16 films plus sex stays 18 months off."""
  thumbs, ages, sexes = [], [], []
  for index in range(420):
    film = phantom.make_film(index, 11, SMALL)
    small = cv2.resize(film['image'], (16, 16), interpolation=cv2.INTER_AREA)
    thumbs.append(small.ravel())
    ages.append(film['age'])
    sexes.append(film['male'])
  x = np.array(thumbs, np.float64)
  y, n = np.array(ages, np.float64), 300
  x = (x - x[:n].mean(0)) / (x[:n].std(0) + 1e-6)
  x = np.c_[x, np.array(sexes) - np.mean(sexes[:n])]
  gram = x @ x[:n].T
  errors = []
  for alpha in 10.0 ** np.arange(-1, 6):
    weights = np.linalg.solve(
      gram[:n] + alpha * np.eye(n), y[:n] - y[:n].mean()
    )
    guess = gram[n:] @ weights + y[:n].mean()
    errors.append(np.abs(guess - y[n:]).mean())
  assert min(errors) >= 18


def test_command(tmp_path):
  out = tmp_path / 'archive'
  subprocess.run(
    [
      sys.executable, '-m', 'boneage_jax.phantom', f'--out={out}',
      '--films=2', '--seed=1', '--long_side=96', '--workers=1',
    ],
    check=True,
    cwd=pathlib.Path(__file__).parents[2],
  )  # fmt: skip
  assert len(rows(out / f'{NAME}.csv')) == 2


def test_chronological_ages_change_no_film(archive, tmp_path):
  phantom.write_archive(
    str(tmp_path), 6, 3, long_side=128, workers=1, chronological_sd=12.0
  )
  names = [f'{NAME}.zip', f'{NAME}.csv', 'annotations/hand_boxes.csv']
  for name in names:
    assert (tmp_path / name).read_bytes() == (archive / name).read_bytes()
  assert not (archive / 'annotations/scalars.csv').exists()
  assert 'chronological_sd' not in json.loads(
    (archive / 'phantom.json').read_text()
  )
  known = annotations.load(tmp_path / 'annotations')
  for row in rows(tmp_path / 'films.csv'):
    film = row['file'].rpartition('/')[2].removesuffix('.png')
    months = float(row['chronological_age'])
    assert known[film]['chronological_age'] == months >= 0
  assert 'chronological_age' not in rows(archive / 'films.csv')[0]


def test_a_child_is_as_far_ahead_of_its_age_on_all_of_its_films():
  options = {'long_side': 64, 'views': 2, 'visits': 2, 'chronological_sd': 12.0}
  films = [phantom.make_film(k, 5, options) for k in range(8)]
  ahead = [film['true_age'] - film['chronological_age'] for film in films]
  for child in (ahead[:4], ahead[4:]):
    np.testing.assert_allclose(child, child[0], atol=1e-9)
  assert ahead[0] != ahead[4]
  many = [
    phantom.make_film(k, 5, SMALL | {'chronological_sd': 12.0, 'age': 99})
    for k in range(40)
  ]
  spread = np.std([99 - film['chronological_age'] for film in many])
  assert 8 < spread < 16
