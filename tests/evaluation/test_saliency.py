"""Deletion, insertion and the pointing game, on planted maps and real nets."""

import json
import types

import cv2
import matplotlib.image
import numpy as np
import pytest

from boneage_jax import evaluate
from boneage_jax.data import input_pipeline
from boneage_jax.data import selection
from boneage_jax.evaluation import deletion_insertion
from boneage_jax.evaluation import saliency
from boneage_jax.imaging import boxes as boxes_lib
from boneage_jax.runs import run as run_lib
from boneage_jax.training import forward
from boneage_jax.training import restore

STEPS = deletion_insertion.STEPS


@pytest.fixture(scope='module')
def judge(untrained):
  return deletion_insertion.Judge(
    run_lib.read_run(f'{untrained}/run:assessor'), 4
  )


def test_ranks_are_shares_of_hotter_pixels():
  rng = np.random.default_rng(0)
  heat = rng.random((6, 6)).astype(np.float32)
  found = deletion_insertion.ranks(heat, (6, 6), rng)
  hotter = (heat[None, None] > heat[..., None, None]).sum((2, 3)) / 36
  np.testing.assert_allclose(found, hotter, atol=1e-6)
  flat = [
    deletion_insertion.ranks(np.ones((3, 3)), (8, 8), rng) for _ in range(2)
  ]
  assert (flat[0] != flat[1]).any()  # ties are drawn, not read from the top
  for one in flat:
    np.testing.assert_allclose(
      np.sort(one, axis=None), np.arange(64) / 64, atol=1e-6
    )


def test_what_stands_for_nothing():
  image = np.random.default_rng(1).integers(0, 256, (40, 40), np.uint8)
  assert (deletion_insertion.fill(image, 'median') == np.median(image)).all()
  blurred = cv2.GaussianBlur(image, (0, 0), 4)
  np.testing.assert_array_equal(deletion_insertion.fill(image, 'blur'), blurred)


def planted(size=32):
  """A judge whose net reads the mean grey of the upper left quarter."""

  def ages(variables, image, fill, ranks, sex):
    del variables, sex
    steps = np.arange(STEPS + 1)[:, None, None, None, None] / STEPS
    shown = np.where(ranks[None, ..., None] < steps, fill, image)
    return shown[:, :, : size // 2, : size // 2].mean((2, 3, 4))

  return types.SimpleNamespace(
    _ages=ages, _variables=None, input=types.SimpleNamespace(size=size)
  )


def test_a_map_of_what_is_read_is_faithful_and_others_are_not():
  rng = np.random.default_rng(0)
  image = np.full((40, 32, 32, 1), 40, np.uint8)
  image[:, :16, :16] = 200 + rng.integers(0, 20, (40, 16, 16, 1))
  batch = {'image': image, 'sex': np.ones(40, np.float32)}
  right = np.zeros((40, 8, 8), np.float32)
  right[:, :4, :4] = 1
  maps = {
    'grad_cam': right,
    'hires_cam': right[:, ::-1, ::-1],
    'random': rng.random((40, 8, 8)),
    'centre': np.ones((40, 8, 8)),
  }
  curves = {
    name: deletion_insertion.Judge.curves(planted(), batch, heat, 'median')
    for name, heat in maps.items()
  }
  whole = image[:, :16, :16].mean((1, 2, 3)) - 40
  for found in curves.values():
    assert found.shape == (2, 40, STEPS + 1)
    np.testing.assert_allclose(found[0, :, 0], 0)
    np.testing.assert_allclose(found[0, :, -1], whole, rtol=1e-5)
    np.testing.assert_allclose(found[1, :, 0], whole, rtol=1e-5)
    np.testing.assert_allclose(found[1, :, -1], 0, atol=1e-9)
  # All is in a quarter of the pixels. The wrong map takes another quarter
  # first, and then what is left in random order.
  areas = saliency.areas({'blur': curves, 'median': curves})['median']
  mean = whole.mean()
  for curve, shares in (
    ('deletion', (7 / 8, 3 / 8)),
    ('insertion', (1 / 8, 5 / 8)),
  ):
    row = areas[curve]
    for name, share in zip(('grad_cam', 'hires_cam'), shares, strict=True):
      assert row[name]['area'] == pytest.approx(share * mean, rel=0.1)
      less = row[name]['area'] - row['random']['area']
      assert row[name]['less_random'] == pytest.approx(less)
      low, high = row[name]['less_random_ci95']
      assert low <= less <= high
    assert row['random']['area'] == pytest.approx(mean / 2, rel=0.1)
    assert 'less_random' not in row['random']


def test_the_localizer_of_a_cascade_is_judged_on_its_own_input(judge):
  assert judge.run.name == 'run:localizer'
  section = judge.run.config.regions
  assert (judge.target, judge.mirror) == (section.target, section.mirror)
  films, source = judge.source(['test'], 3)
  assert set(films['split']) == {'test'} and len(source) <= 3
  records = [source[i] for i in range(len(source))]
  batch, maps = judge.look(records)
  plain = input_pipeline.eval_batches(source, judge.input, 4)[0]
  n = len(records)
  np.testing.assert_array_equal(batch['image'][:n], plain['image'][:n])
  assert set(maps) == set(deletion_insertion.MAPS)
  assert len({heat.shape for heat in maps.values()}) == 1
  peak = np.unravel_index(maps['centre'][0].argmax(), maps['centre'][0].shape)
  assert np.abs(np.array(peak) - (len(maps['centre'][0]) - 1) / 2).max() <= 0.5
  again = judge.look(records[1:2])[1]['random'][0]
  np.testing.assert_array_equal(again, maps['random'][1])


def test_curves_are_those_of_painted_films(judge):
  _, source = judge.source(['test'], 2)
  batch, maps = judge.look([source[i] for i in range(len(source))])
  found = judge.curves(batch, maps['hires_cam'], 'median')
  run = judge.run
  graph, variables = restore.load_net(run.config, 'localizer', judge.workdir)
  net = forward.make_predict(graph)
  age = lambda image: np.asarray(
    net(variables, {'image': image[None], 'sex': batch['sex'][:1]})['age']
  )
  image = batch['image'][0]
  rank = deletion_insertion.ranks(
    maps['hires_cam'][0], image.shape[:2], np.random.default_rng(0)
  )
  grey = np.full_like(image, np.median(image))
  for step in (0, 3, STEPS):
    hot = rank[..., None] < step / STEPS
    for row, pair in enumerate(((grey, image), (image, grey))):
      change = age(np.where(hot, *pair)) - age(image)
      assert found[row, 0, step] == pytest.approx(abs(change[0]), abs=2e-3)


def test_pointing_at_the_wrist(judge, monkeypatch):
  """A hot pixel in the middle of the wrist box, in letterboxed geometry."""
  _, source = judge.source(['test', 'validation'])
  size = judge.input.size

  def look(records):
    heat = np.zeros((len(records), size, size), np.float32)
    for k, record in enumerate(records):
      height, width = cv2.imdecode(
        np.frombuffer(record['image'], np.uint8), cv2.IMREAD_GRAYSCALE
      ).shape
      boxes = boxes_lib.annotated_boxes(json.loads(record['annotations']))
      middle = boxes['Wrist'][0].reshape(2, 2).mean(0) * (width, height)
      scale = size / max(height, width)
      x, y = size / 2 + scale * (middle - np.array([width, height]) / 2)
      heat[k, int(y), int(x)] = 1
    corner = np.zeros_like(heat)
    corner[:, -1, size // 2] = 1  # the forearm's end
    maps = dict.fromkeys(deletion_insertion.MAPS, corner)
    return {}, maps | {'hires_cam': heat}

  monkeypatch.setattr(judge, 'look', look)
  assert judge.input.resize == 'letterbox'
  found = saliency.pointing(judge, source)
  for key in ('any', 'wrist'):
    assert found['hires_cam'][key]['n'] == len(source)
    assert found['hires_cam'][key]['share'] == 1
    assert found['grad_cam'][key]['share'] == 0


def test_films_without_ossification_boxes_do_not_count(judge):
  """As those of which only a broken bone is marked."""
  broken = {'fracture': {'boxes': [[0.1, 0.1, 0.2, 0.2]]}}
  _, source = judge.source(['test'], 2)
  plain = [source[i] for i in range(len(source))]
  marked = [{**r, 'annotations': json.dumps(broken)} for r in plain]
  found = saliency.pointing(judge, plain + marked)
  assert found == saliency.pointing(judge, plain)
  assert saliency.pointing(judge, marked) == {}


def test_films_come_as_the_net_saw_them(judge, monkeypatch):
  """With the regions painted over that `input.erase_from` names."""
  called = []
  monkeypatch.setattr(
    selection, 'stage_source', lambda *args, **_: called.append(args)
  )
  films, _ = judge.source(['test'], 2)
  ((_, stage, _, asked),) = called
  assert stage == 'localizer' and asked['id'].tolist() == films['id'].tolist()


@pytest.mark.parametrize('count', [0, -1])
def test_too_few_films_are_refused(untrained, count):
  name = f'{untrained}/run:whole_image'
  with pytest.raises(SystemExit, match=f'Error: .*--films.* got {count}'):
    evaluate.main(['saliency', name, f'--films={count}'])


def test_command(untrained, tmp_path, capsys):
  name = f'{untrained}/run:whole_image'
  evaluate.main(
    ['saliency', name, '--films=2', '--batch_size=4', f'--out={tmp_path}']
  )
  printed = capsys.readouterr().out
  assert 'run:whole_image: phantoms: 24 films' in printed
  assert "2 test films; maps of the target 'age'" in printed
  assert 'in the wrist box' in printed
  result = json.loads((tmp_path / 'saliency.json').read_text())
  assert len(result['films']) == 2 and not result['mirror']
  for kind in saliency.FILLS:
    for curve in deletion_insertion.CURVES:
      means = result['curves'][kind][curve]['random']
      area = np.trapezoid(means, dx=1 / STEPS)
      found = result['areas'][kind][curve]['random']['area']
      assert found == pytest.approx(area)
  assert matplotlib.image.imread(tmp_path / 'saliency.png').std() > 0.05


def test_an_ensemble_has_no_map(untrained, tmp_path):
  names = [f'{untrained}/run:assessor', f'{untrained}/run:whole_image']
  evaluate.main(['ensemble', *names, f'--out={tmp_path}'])
  with pytest.raises(SystemExit, match='of one net, got the ensemble'):
    evaluate.main(['saliency', str(tmp_path)])
