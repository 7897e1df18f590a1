"""Short runs of the loop: what they write, and how they fail."""

import json
import shutil

import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_cascade

from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.runs import checkpoints
from boneage_jax.runs import metric_writer
from boneage_jax.training import loop
from boneage_jax.training import losses
from boneage_jax.training.losses import age as age_losses
from boneage_jax.training.tasks import age as age_task
from configs import common


def split_films(prepared):
  config = tiny_cascade.get_config()
  films = sources.load_films(prepared)
  films = {**films, 'split': selection.assign(config, films)[0]}
  return {
    n: selection.select_split(films, n) for n in ('train', 'validation', 'test')
  }


@pytest.fixture
def run(prepared, tmp_path):
  """Function that trains the tiny localizer; gives its folder."""
  (tmp_path / 'prepare').mkdir()
  (tmp_path / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )

  def go(**changes):
    config = tiny_cascade.get_config()
    config.localizer.update(changes)
    loop.train_and_evaluate(config, 'localizer', str(tmp_path))
    return tmp_path / 'localizer'

  return go


def test_files_of_a_run(run, prepared):
  folder = run(epochs=2, ema=0.5, log_steps=2)
  done = json.loads((folder / 'done.json').read_text())
  rows = metric_writer.read_metrics(str(folder / 'metrics.jsonl'))
  count = {n: len(f['id']) for n, f in split_films(prepared).items()}
  assert done['step'] == rows[-1]['step'] == 2 * (count['train'] // 8)
  measured = {
    r['step']: r['validation_mae'] for r in rows if 'validation_mae' in r
  }
  assert len(measured) == 2
  assert measured[done['best_step']] == min(measured.values())
  assert {'epoch', 'learning_rate', 'train_loss', 'train_mae'} <= rows[0].keys()
  times = metric_writer.read_metrics(str(folder / 'speed.jsonl'))
  assert [row['step'] for row in times] == [row['step'] for row in rows]
  assert sum(row['films'] for row in times) == 8 * done['step']
  assert all(row['seconds'] > 0 for row in times)
  for one, row in zip(times, rows, strict=True):
    assert (one['validation_seconds'] > 0) == ('validation_mae' in row)
  table = (folder / 'predictions.csv').read_text().splitlines()
  assert (
    table[0]
    == 'id,split,sex,age_true,age_predicted,lo90,hi90,status,quality_flags'
  )
  cells = [line.split(',') for line in table[1:]]
  for name in ('validation', 'test'):
    assert sum(c[1] == name for c in cells) == count[name]
  error = [
    abs(float(c[4]) - float(c[3])) for c in cells if c[1] == 'validation'
  ]
  assert np.mean(error) == pytest.approx(min(measured.values()), abs=1e-3)
  stored = np.load(folder / 'distributions.npz')
  assert stored['id'].tolist() == [c[0] for c in cells]
  assert stored['probability'].shape == (len(cells), 240)


def test_the_last_net_is_kept_where_no_film_may_choose(run, monkeypatch):
  # Errors that grow: the first net would be the best on validation.
  errors = iter(range(10, 99))
  monkeypatch.setattr(
    age_task, 'error', lambda outputs, films: float(next(errors))
  )
  done = json.loads(
    (run(checkpoint_selection='last', epochs=2) / 'done.json').read_text()
  )
  assert done['best_step'] == done['step']


def test_it_stops_where_the_net_gets_no_better(run, monkeypatch):
  errors = iter([9.0, 7.0, 8.0, 7.5, 6.0, 1.0])  # of validations
  monkeypatch.setattr(age_task, 'error', lambda *_: next(errors))
  folder = run(steps=6, eval_steps=1, early_stopping=dict(patience=2))
  done = json.loads((folder / 'done.json').read_text())
  assert (done['step'], done['best_step']) == (4, 2)
  rows = metric_writer.read_metrics(str(folder / 'metrics.jsonl'))
  assert rows[-1]['step'] == 4


def test_the_seed_of_a_stage_changes_films_and_net(run):
  first = []
  for seed in (0, 0, 1):
    folder = run(steps=1, log_steps=1, seed=seed)
    first.append(metric_writer.read_metrics(str(folder / 'metrics.jsonl'))[0])
    shutil.rmtree(folder)
  assert first[0]['train_loss'] == first[1]['train_loss']
  assert first[0]['train_loss'] != first[2]['train_loss']


def test_a_loss_that_is_not_finite_names_step_films_and_checkpoint(
  run, prepared, monkeypatch
):
  real = age_losses.mae
  films = split_films(prepared)['train']

  def bad(outputs, batch):
    loss, scalars = real(outputs, batch)
    return jnp.where(
      batch['id'] == films['position'][0], jnp.nan, loss
    ), scalars

  monkeypatch.setitem(losses.LOSSES, 'mae', bad)
  with pytest.raises(ValueError) as error:
    run(loss=ConfigDict({'name': 'mae'}))
  text = str(error.value)
  assert text.startswith('localizer: the loss is nan at step ')
  assert films['id'][0] in text.split('on films ')[1].split('.', maxsplit=1)[
    0
  ].split(', ')
  step = int(text.split('at step ')[1].split(',', maxsplit=1)[0])
  good = 'none yet' if step == 1 else f'step {step - 1}'
  assert f'Last good checkpoint: {good}. Lower --config.localizer.' in text


def test_a_gradient_that_is_not_finite_is_never_saved(run, monkeypatch):
  def bad(outputs, batch):
    age = outputs['age']
    root = jnp.sqrt(age - jax.lax.stop_gradient(age))  # 0, with slope infinity
    return jnp.where(batch['valid'] > 0, root, age), {}

  monkeypatch.setitem(losses.LOSSES, 'mae', bad)
  with pytest.raises(ValueError, match=r'norm is (nan|inf) at step 1,'):
    run(loss=ConfigDict({'name': 'mae'}))


def test_an_exploding_rate_is_an_error(run):
  with pytest.raises(ValueError, match=r'is (nan|inf) at step'):
    run(optimizer=ConfigDict(common.optimizer(learning_rate=1e30)))


def test_unknown_loss(run):
  with pytest.raises(
    ValueError, match=r"Expected a loss among .*'mse'.*got loss.name='l1'"
  ):
    run(loss=ConfigDict({'name': 'l1'}))


def test_checkpoints_keep_the_newest_and_the_best(tmp_path):
  tree = lambda x: {'a': jnp.full(3, x)}
  store = checkpoints.Checkpoints(str(tmp_path / 'c'))
  assert store.latest_step() is None and store.best_error == float('inf')
  with pytest.raises(ValueError, match='run the stage that trains it first'):
    store.restore_best(tree(0.0))
  for step, mae in enumerate((30.0, 10.0, 20.0), 1):
    if mae < store.best_error:
      store.save_best(step, tree(float(step)), mae)
    store.save(step, tree(10.0 * step))
  store.wait()
  store.close()
  again = checkpoints.Checkpoints(str(tmp_path / 'c'))
  assert (again.latest_step(), again.best_step()) == (3, 2)
  assert again.best_error == 10.0
  state = again.go_on(tree(0.0), tree(0.0))
  np.testing.assert_array_equal(state['a'], 30.0)
  np.testing.assert_array_equal(again.restore_best(tree(0.0))['a'], 2.0)
  again.close()


def test_rows_behind_the_checkpoint_are_dropped(tmp_path):
  writer = metric_writer.MetricWriter(str(tmp_path), 0)
  for step in (1, 2, 3):
    writer.write(step, loss=step / 7)
  writer.close()
  path = tmp_path / 'metrics.jsonl'
  path.write_text(path.read_text() + '{"step": 4, "lo')  # cut by a kill
  assert [r['step'] for r in metric_writer.read_metrics(str(path))] == [1, 2, 3]
  metric_writer.MetricWriter(str(tmp_path), 2).close()
  assert metric_writer.read_metrics(str(path)) == [
    {'step': 1, 'loss': 1 / 7},
    {'step': 2, 'loss': 2 / 7},
  ]
