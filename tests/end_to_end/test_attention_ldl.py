"""Chen 2020 whole: every row of the region table, on one run of phase I."""

import contextlib
import io
import json
import shutil

import cv2
import draw
from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_cascade

from boneage_jax import evaluate
from boneage_jax import models
from boneage_jax.core import stages
from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import boxes
from boneage_jax.inference import loading
from boneage_jax.regions import gradcam
from boneage_jax.regions import localize
from boneage_jax.runs import metric_writer
from boneage_jax.runs import predictions
from boneage_jax.training import loop
from boneage_jax.workflow import run as workflow_run
from boneage_jax.workflow import validate
from configs import attention_ldl

ROWS = list(attention_ldl.PUBLISHED)
TRAINED = ('o', 'h+r1+r2')  # no region, all
SIZE = 32


def tiny(variant):
  """A variant with nets of a few layers, few steps and small pictures."""
  config = attention_ldl.get_config(variant)
  config.data.update(validation_fraction=0.2, test_fraction=0.2)
  for name, section in stages.sections(config).items():
    if section.job == 'train':
      assessor = not name.endswith('_localizer')
      section.update(batch_size=8, eval_batch_size=8, log_steps=4)
      section.update(steps=16 if assessor else 4, eval_steps=8)
      section.input.update(size=SIZE, threads=1)
      section.net.backbone = ConfigDict(tiny_cascade.BACKBONE)
      section.net.pool = 'gap'
      section.optimizer.update(
        name='adamw', learning_rate=0.01, schedule='constant', warmup=0.0
      )
    elif section.job == 'locate':
      section.update(crop_size=SIZE, batch_size=8)
  return config


@pytest.fixture(scope='module')
def run(prepared, tmp_path_factory):
  """Folder of a run of two rows of the table, and what it printed."""
  workdir = tmp_path_factory.mktemp('table')
  (workdir / 'prepare').mkdir()
  (workdir / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  config = tiny('table,phantom')
  rows = [stage(row) for row in TRAINED]
  left_out = {stage(row) for row in ROWS}.difference(rows)
  config.stages = tuple(s for s in config.stages if s not in left_out)
  config.report.baselines = tuple(rows[:-1])
  config.report.published = tuple(
    row for row in config.report.published if row[0] in rows
  )
  with contextlib.redirect_stdout(io.StringIO()) as printed:
    workflow_run.run(config, str(workdir))
  return workdir, printed.getvalue()


def stage(row):
  return 'row_' + row.replace('+', '_')


def fell(folder):
  rows = metric_writer.read_metrics(str(folder / 'metrics.jsonl'))
  losses = [row['train_loss'] for row in rows]
  assert all(np.isfinite(losses))
  return min(losses[-2:]) < losses[0]


@pytest.mark.parametrize('row', TRAINED)
def test_a_row_learns(row, run):
  folder = run[0] / stage(row)
  assert fell(folder)
  predicted = predictions.read_predictions(str(folder / 'predictions.csv'))
  assert set(predicted['split']) == {'validation', 'test'}
  assert (folder / 'distributions.npz').exists()


def test_the_other_rows_differ_by_their_regions_alone(run):
  config = tiny('table,phantom')
  crops = json.loads((run[0] / 'r2' / 'done.json').read_text())['crops']
  trained = config[stage('h+r1+r2')].to_dict()
  for row in ROWS:
    if row in TRAINED:
      continue
    section = config[stage(row)]
    regions = section.input.regions
    assert len(regions) == row.count('+') + 1 and set(regions) <= set(crops)
    whole = section.to_dict()
    whole['input'] |= {'regions': trained['input']['regions']}
    assert whole == trained
    net = nnx.eval_shape(lambda net=section.net: models.create(net, size=SIZE))
    films = (2, len(regions), SIZE, SIZE, 1)
    batch = {
      'regions': jax.ShapeDtypeStruct(films, jnp.uint8),
      'sex': jax.ShapeDtypeStruct((2,), jnp.float32),
    }
    outputs = nnx.eval_shape(lambda net, batch: net(batch), net, batch)
    assert outputs['logits'].shape == (2, 240)


def test_the_table_stands_beside_the_papers(run):
  workdir, printed = run
  assert 'Chen 2020\n=========' in printed
  assert '500 films held out of its 12,611 training films' in printed
  rows = json.loads((workdir / 'report' / 'published.json').read_text())['rows']
  assert [row['row'] for row in rows] == list(TRAINED)
  for row in rows:
    own = predictions.read_predictions(
      str(workdir / stage(row['row']) / 'predictions.csv')
    )
    own = selection.select_split(own, 'test')
    mae = np.abs(own['prediction'] - own['age']).mean()
    assert row['test']['mae'] == pytest.approx(mae)
    lines = [x.split() for x in printed.splitlines()]
    line = next(x for x in lines if x[:1] == [row['row']])
    assert {f'{mae:.2f}', f'{row["figures"][0]["mae"]:.2f}'} <= set(line)
  first, last = ([f['mae'] for f in rows[k]['figures']] for k in (0, -1))
  assert first == [7.3] and last == [4.8, 4.3]


def test_phase_one_ran_once_and_its_regions_are_chained(run):
  workdir, printed = run
  for name in ('hand', 'r1', 'r2'):
    assert printed.count(f'\n{name}: found in') == 1
  found = boxes.read_regions(str(workdir / 'r2' / 'regions.csv'))
  assert all(list(of) == ['hand', 'r1', 'r2'] for of in found.values())
  first = boxes.read_regions(str(workdir / 'r1' / 'regions.csv'))
  assert all(of['r1'] == found[i]['r1'] for i, of in first.items())
  done = json.loads((workdir / 'r2' / 'done.json').read_text())
  assert done['crops'] == ['film', 'hand', 'r1', 'erased', 'r2']
  assert not (workdir / 'hand' / 'crops.array_record').exists()


def test_v1_learns_one_number(run, tmp_path):
  for name in ('prepare', 'r2'):
    shutil.copytree(run[0] / name, tmp_path / name)
  config = tiny('phantom,v1')
  loop.train_and_evaluate(config, 'assessor', str(tmp_path))
  assert config.assessor.loss.name == 'mae'
  assert fell(tmp_path / 'assessor')
  assert not (tmp_path / 'assessor' / 'distributions.npz').exists()


def test_r2_is_learnt_on_the_films_that_it_is_looked_for_in(run):
  workdir = str(run[0])
  config = tiny('phantom,table')
  films = selection.stage_films(config, 'r2_localizer', workdir)
  chosen = film_table.select(films, np.arange(8))
  source = selection.stage_source(config, 'r2_localizer', workdir, chosen)
  settings = config.r2_localizer.input
  trained = [preprocess.make_example(r, settings)['image'] for r in source]
  seen = []
  look = lambda image, inputs: seen.append(image) or np.zeros((8, 4, 4))
  before = selection.found_regions(workdir, 'r1')
  shown = [localize.load_film(record, settings) for record in source]
  for film in shown:
    film.regions |= before[film.id]
  localize.find_regions(look, shown, settings, config.r2)
  np.testing.assert_array_equal(seen[0], trained)
  plain = selection.stage_source(config, 'r1_localizer', workdir, chosen)
  whole = [preprocess.make_example(r, settings)['image'] for r in plain]
  assert all((a != b).any() for a, b in zip(whole, trained, strict=True))


def test_erased_films_differ_from_films_inside_r1_alone(run):
  workdir = str(run[0])
  config = tiny('phantom,table')
  config.row_o_h_r1.input.regions = ('film', 'erased')
  films = selection.stage_films(config, 'row_o_h_r1', workdir)
  source = selection.stage_source(config, 'row_o_h_r1', workdir, films)
  settings = config.row_o_h_r1.input
  settings.percentiles = ()
  found = selection.found_regions(workdir, 'r2')
  greys = []
  for record in source:
    film, erased = preprocess.make_example(record, settings)['regions'][..., 0]
    region = found[record['id']]['r1']
    if not region.found:
      np.testing.assert_array_equal(film, erased)
      continue
    x0, y0, x1, y1 = np.array(region.box) * SIZE
    outside = np.ones((SIZE, SIZE), bool)
    outside[
      max(int(y0) - 2, 0) : int(y1) + 3, max(int(x0) - 2, 0) : int(x1) + 3
    ] = False
    np.testing.assert_array_equal(film[outside], erased[outside])
    inside = erased[int(y0) + 2 : int(y1) - 1, int(x0) + 2 : int(x1) - 1]
    if inside.size:
      assert np.ptp(inside) <= 1
      greys.append(int(inside[0, 0]))
  assert len(set(greys)) > 5  # one for each film


def test_films_are_predicted_through_the_chain(run):
  workdir = str(run[0])
  predictor = loading.load(workdir, batch_size=8)
  config = tiny('phantom,table')
  films, _ = selection.split_films(config, workdir, 'original')
  films = film_table.select(selection.select_split(films, 'test'), np.arange(5))
  folder = sources.prepared_folder(workdir, 'original')
  outputs, found = predictor.outputs(list(sources.film_source(folder, films)))
  rows = predictions.read_predictions(f'{workdir}/row_h_r1_r2/predictions.csv')
  known = dict(zip(rows['id'].tolist(), rows['prediction'], strict=True))
  expected = [known[i] for i in films['id'].tolist()]
  np.testing.assert_allclose(outputs['age'], expected, atol=0.02)
  assert list(found[0].regions) == ['hand', 'r1', 'r2']
  with pytest.raises(ValueError, match='painted over'):
    loading.load(workdir, 'r2_localizer')


def test_the_sweep_of_thresholds(run, tmp_path, capsys):
  out = str(tmp_path / 'sweep.json')
  evaluate.main(['box-thresholds', f'{run[0]}:hand', f'--out={out}'])
  assert 'hand against hand_box, films: all' in capsys.readouterr().out
  with open(out) as file:
    levels = json.load(file)['levels']
  assert list(levels) == [str(v) for v in range(10, 101, 10)]
  assert all(row['n'] == 48 for row in levels.values())
  options = ['--truth=Wrist', '--split=test']
  evaluate.main(['box-thresholds', f'{run[0]}:r1', *options])
  assert 'r1 against Wrist, films: test' in capsys.readouterr().out
  for arguments, message in (
    ([f'{run[0]}:r2_localizer'], 'Expected a locate stage'),
    ([f'{run[0]}:hand', '--truth=Toe'], 'found none'),
    ([str(tmp_path)], 'Expected RUN:STAGE'),
  ):
    with pytest.raises(SystemExit, match=message):
      evaluate.main(['box-thresholds', *arguments])


def test_a_row_needs_what_was_cut(run):
  config = tiny('phantom,table')
  config.row_h.input.regions = ('thumb',)
  with pytest.raises(ValueError, match=r'crops of r2, film, hand.*; got thumb'):
    validate.check_films_of(stages.Stage(config, 'row_h', str(run[0])))


@pytest.mark.parametrize('pool', ['gap', 'gmp'])
def test_grad_cam_of_phase_one_is_its_cam(pool):
  """relu(CAM) / (h w), also behind global maximum pooling."""
  config = tiny('').hand_localizer.net
  config.pool = pool
  net = models.create(config, size=SIZE)
  net.eval()
  image = draw.greys((3, SIZE, SIZE, 1))
  batch = {'image': image, 'sex': jnp.ones(3)}
  maps, outputs = gradcam.grad_cam(net, batch, 'window')
  features = np.asarray(net.features(batch))
  kernel = np.asarray(net.age_head.fc.kernel[...])
  ages = np.argmax(outputs['logits'], -1)
  for film, age, one in zip(features, ages, maps, strict=True):
    window = kernel[:, max(0, age - 5) : age + 5].mean(1)
    expected = np.maximum(film @ window, 0) / np.prod(film.shape[:2])
    np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-7)
  sums = np.asarray(outputs['maps']).mean((1, 2))  # bias included
  equal = np.allclose(sums, outputs['logits'], rtol=1e-3, atol=1e-4)
  assert equal == (pool == 'gap')


def test_the_authors_threshold_is_37_of_255():
  """They threshold the grey of a JET picture at 40."""
  values = np.arange(256, dtype=np.uint8)[None]
  jet = cv2.applyColorMap(values, cv2.COLORMAP_JET)
  hot = np.flatnonzero(cv2.cvtColor(jet, cv2.COLOR_BGR2GRAY) > 40)
  assert (hot[0], hot[-1], len(hot)) == (37, 253, 253 - 37 + 1)
