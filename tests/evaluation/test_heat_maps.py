"""Shares of two nets' heat maps inside boxes, on planted maps and real nets."""

import json

import matplotlib.image
import numpy as np
import pytest

from boneage_jax import evaluate
from boneage_jax.data import preprocess
from boneage_jax.evaluation import deletion_insertion
from boneage_jax.evaluation import heat_maps
from boneage_jax.runs import run as run_lib


@pytest.fixture(scope='module')
def judges(untrained):
  a = deletion_insertion.Judge(run_lib.read_run(f'{untrained}/run:assessor'), 4)
  other = run_lib.read_run(f'{untrained}/run:whole_image')
  return a, deletion_insertion.Judge(other, 4, a)


def test_share_inside_counts_each_place_once():
  heat = np.zeros((8, 4))
  heat[:2] = 3  # 24 of 32
  heat[6:] = 1
  top = [0, 0, 1, 0.25]
  assert heat_maps.share_inside(heat, [top]) == pytest.approx(0.75)
  assert heat_maps.share_inside(heat, [top, top]) == pytest.approx(0.75)
  left = [0, 0, 0.5, 1]  # half of all
  both = heat_maps.share_inside(heat, [top, left])
  assert both == pytest.approx(0.75 + 0.25 / 2)
  assert heat_maps.share_inside(heat, [[0, 0, 1, 1]]) == 1
  assert np.isnan(heat_maps.share_inside(0 * heat, [top]))


def test_boxes_are_those_of_the_first_rater():
  box = lambda x: [x, 0, x + 0.1, 0.1]
  rows = [['expert', 'DIP', box(0.1)], ['nonexpert', 'DIP', box(0.2)]]
  rows += [['expert', 'MCP', box(0.3)], ['expert', 'Ulna', box(0.4)]]
  found = heat_maps.film_boxes({'boxes': rows})
  assert list(found) == ['MCP', 'DIP', heat_maps.ALL]
  np.testing.assert_array_equal(found['DIP'], [box(0.1)])
  assert len(found[heat_maps.ALL]) == 2
  assert heat_maps.film_boxes({'boxes': rows[3:]}) == {}


def test_films_are_resampled_in_pairs():
  rng = np.random.default_rng(0)
  b = rng.uniform(0, 0.8, 60)
  found = np.stack([b + 0.1, b, np.full(60, 0.2)], axis=1)
  found[3, 1] = np.nan
  out = heat_maps.paired(found)
  assert (out['n'], out['without_heat']) == (59, 1)
  np.testing.assert_allclose(out['difference_ci95'], 0.1)
  assert np.ptp(out['a_ci95']) > 0.05
  kept = np.delete(b, 3).mean()
  assert out['b'] == pytest.approx(kept) and out['film'] == pytest.approx(0.2)
  assert heat_maps.paired(np.full((2, 3), np.nan)) == {
    'n': 0,
    'without_heat': 2,
  }


def test_a_map_of_the_wrist_and_one_of_everything(judges, monkeypatch):
  a, b = judges
  assert (b.target, b.mirror, b.method) == (a.target, a.mirror, a.method)
  size = a.input.size
  assert (a.input.resize, b.input.resize) == ('letterbox', 'squash')

  def wrist(records):
    """The wrist box in letterboxed geometry, all within it."""
    heat = np.zeros((len(records), size, size), np.float32)
    for k, record in enumerate(records):
      boxes = json.loads(record['annotations'])['boxes']
      (x0, y0, x1, y1) = next(
        box for _, label, box in boxes if label == 'Wrist'
      )
      film = preprocess.decode(record)
      height, width = film.shape
      scale = size / max(height, width)
      left, top = (size - scale * width) / 2, (size - scale * height) / 2
      x = np.array([x0, x1]) * width * scale + left
      y = np.array([y0, y1]) * height * scale + top
      heat[k, round(y.mean()), round(x.mean())] = 1
    return {}, dict.fromkeys(deletion_insertion.MAPS, heat)

  def everything(records):
    flat = np.ones((len(records), size, size), np.float32)
    return {}, dict.fromkeys(deletion_insertion.MAPS, flat)

  monkeypatch.setattr(a, 'look', wrist)
  monkeypatch.setattr(b, 'look', everything)
  names = ('test', 'validation')
  result, picture = heat_maps.compare_maps(a, b, names, None)
  films, _ = a.source(names)
  assert sorted(result['films']) == sorted(films['id'].tolist())
  for of in result['shares'].values():
    assert list(of) == [*heat_maps.LABELS, heat_maps.ALL]
    assert of['Wrist']['a'] > 0.9 and of['DIP']['a'] == 0
    for row in of.values():
      assert row['b'] == pytest.approx(row['film'], abs=0.02)
      assert row['difference'] == pytest.approx(row['a'] - row['b'])
  assert picture.dtype == np.uint8 and picture.std() > 10
  text = heat_maps.heat_maps_table(result)
  assert 'run:localizer' in text and 'run:whole_image' in text


def test_command(untrained, tmp_path, capsys):
  names = [f'{untrained}/run:localizer', f'{untrained}/run:whole_image']
  options = ['--films=3', '--batch_size=4', '--split=all', f'--out={tmp_path}']
  evaluate.main(['heat-maps', *names, *options])
  printed = capsys.readouterr().out
  assert 'A  run:localizer: phantoms: 24 films' in printed
  assert (
    '3 films with boxes (train, validation, test)' in printed
    and 'HiResCAM' in printed
  )
  result = json.loads((tmp_path / 'heat_maps.json').read_text())
  assert len(result['films']) == 3
  assert 0 < result['shares']['hires_cam']['Wrist']['film'] < 0.3
  picture = matplotlib.image.imread(tmp_path / 'heat_maps.jpg')
  assert picture.shape[0] >= 440 and picture.std() > 10


def test_films_without_boxes_are_said(judges, monkeypatch):
  a, b = judges
  films, source = a.source(['test'])
  bare = [{**source[k], 'annotations': ''} for k in range(len(source))]
  monkeypatch.setattr(a, 'source', lambda names: (films, bare))
  with pytest.raises(ValueError, match=r'got none\. Put annotations/oss'):
    heat_maps.films_of_both(a, b, ['test'], None)


def test_runs_of_other_films_are_refused(judges, monkeypatch):
  a, b = judges
  films, source = b.source(['test'])
  older = films | {'age': films['age'] + 1}
  monkeypatch.setattr(b, 'source', lambda names: (older, source))
  with pytest.raises(ValueError, match='nets of one archive'):
    heat_maps.films_of_both(a, b, ['test'], None)


def test_films_without_boxes_in_the_other_run_are_left_out(judges, monkeypatch):
  a, b = judges
  films, source = b.source(['test'])
  before = heat_maps.films_of_both(a, b, ['test'], None)[0]['id'].tolist()
  k = films['id'].tolist().index(before[0])
  rows = [source[i] for i in range(len(source))]
  rows[k] = {**rows[k], 'annotations': ''}
  monkeypatch.setattr(b, 'source', lambda names: (films, rows))
  found, *_ = heat_maps.films_of_both(a, b, ['test'], None)
  assert found['id'].tolist() == before[1:]
