"""One step of the loop against closed forms, and short whole runs."""

import json

from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest
import tiny_cascade

from boneage_jax import checkpoints
from boneage_jax import data
from boneage_jax import evaluate
from boneage_jax import input_pipeline
from boneage_jax import losses
from boneage_jax import metric_writer
from boneage_jax import models
from boneage_jax import train
from configs import common

SIZE = 32
RATE = 0.1


class Linear(nnx.Module):
  """Age linear in the mean grey; BatchNorm apart, to see its statistics."""

  def __init__(self, penalty=0.0):
    self.kernel = nnx.Param(jnp.array(2.0))
    self.bias = nnx.Param(jnp.array(100.0))
    self.norm = models.layers.BatchNorm(1, eps=1e-5, momentum=0.9)
    self.penalty = penalty

  def __call__(self, batch, rngs=None):
    del rngs
    grey = jnp.mean(batch['image'].astype(jnp.float32), axis=(1, 2, 3)) / 255
    self.norm(grey[:, None, None, None])
    outputs = {'age': self.kernel[...] * grey + self.bias[...]}
    if self.penalty:
      outputs['penalty'] = self.penalty * jnp.abs(self.kernel[...])
    return outputs


def films(count=8, size=4, seed=0):
  rng = np.random.default_rng(seed)
  return {
    'image': rng.integers(0, 256, (count, size, size, 1), dtype=np.uint8),
    'male': rng.integers(0, 2, count).astype(np.float32),
    'age': rng.uniform(1, 228, count).astype(np.float32),
    'id': np.arange(count, dtype=np.int32),
    'valid': np.ones(count, np.float32),
  }


def mesh(devices=8):
  return jax.sharding.Mesh(
    np.array(jax.devices()[:devices]),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
  )


def stepper(
  monkeypatch=None,
  net=None,
  *,
  devices=8,
  rule=None,
  loss='mse',
  ema=0.0,
  freeze=False,
  config=None,
):
  """State and step of a net given as a function, or as a config."""
  if net is not None:
    monkeypatch.setattr(models, 'create', lambda *_, **__: net())
  where = mesh(devices)
  rule = rule or optax.sgd(RATE)
  graph, state, tx = train.create_state(
    config, SIZE, 0, lambda _: rule, ema, where
  )
  step = train.make_train_step(
    graph,
    losses.LOSSES[loss],
    tx,
    ema=ema,
    seed=0,
    freeze_statistics=freeze,
    mesh=where,
  )
  put = lambda batch: input_pipeline.to_device(batch, where)
  return state, lambda state, batch: step(state, put(batch)), graph


def grey(batch):
  return batch['image'].astype(np.float64).mean((1, 2, 3)) / 255


def closed_form(batch, kernel=2.0, bias=100.0):
  """Loss, mean absolute error and one gradient step of least squares."""
  x, keep = grey(batch), batch['valid'] > 0
  error = (kernel * x + bias - batch['age'])[keep]
  return {
    'loss': np.mean(error**2),
    'mae': np.mean(np.abs(error)),
    'kernel': kernel - RATE * np.mean(2 * error * x[keep]),
    'bias': bias - RATE * np.mean(2 * error),
  }


def test_a_step_is_the_closed_form(monkeypatch):
  state, step, _ = stepper(monkeypatch, Linear)
  kernel, bias = 2.0, 100.0
  for seed in range(3):
    batch = films(seed=seed)
    expected = closed_form(batch, kernel, bias)
    state, scalars = step(state, batch)
    kernel, bias = expected['kernel'], expected['bias']
    for name in ('loss', 'mae'):
      assert float(scalars[name]) == pytest.approx(expected[name], rel=1e-5)
    for name in ('kernel', 'bias'):
      assert float(state.params[name]) == pytest.approx(
        expected[name], rel=1e-5
      )
  assert int(state.step) == 3


def test_padding_changes_neither_loss_nor_update(monkeypatch):
  batch = films()
  batch['valid'][5:] = 0
  batch['age'][5:] = 1e6
  state, step, _ = stepper(monkeypatch, Linear)
  state, scalars = step(state, batch)
  expected = closed_form(batch)
  assert float(scalars['loss']) == pytest.approx(expected['loss'], rel=1e-5)
  assert float(state.params['bias']) == pytest.approx(
    expected['bias'], rel=1e-5
  )


def test_a_batch_of_padding_only_moves_nothing(monkeypatch):
  batch = films() | {'valid': np.zeros(8, np.float32)}
  state, step, _ = stepper(monkeypatch, Linear)
  state, scalars = step(state, batch)
  assert float(scalars['loss']) == 0 and float(state.params['bias']) == 100


def test_the_penalty_is_added_with_its_gradient(monkeypatch):
  batch = films()
  expected = closed_form(batch)
  state, step, _ = stepper(monkeypatch, lambda: Linear(penalty=3.0))
  state, scalars = step(state, batch)
  assert float(scalars['loss']) == pytest.approx(expected['loss'] + 6, rel=1e-5)
  assert float(state.params['kernel']) == pytest.approx(
    expected['kernel'] - RATE * 3, rel=1e-4
  )


def test_the_average_of_the_parameters(monkeypatch):
  state, step, _ = stepper(monkeypatch, Linear, ema=0.9)
  average = None
  for t in range(15):
    state, _ = step(state, films(seed=t))
    rate = max(0.1, 1 / (t + 1))
    bias = float(state.params['bias'])
    average = bias if t == 0 else (1 - rate) * average + rate * bias
    assert float(state.ema['bias']) == pytest.approx(average, rel=1e-5)
  assert state.variables['params'] is state.ema
  assert state.variables['batch_stats'] is state.batch_stats


def test_statistics_move_unless_frozen(monkeypatch):
  batch = films()
  for freeze in (False, True):
    state, step, _ = stepper(monkeypatch, Linear, freeze=freeze)
    state, _ = step(state, batch)
    mean = 0.0 if freeze else 0.1 * grey(batch).mean()
    np.testing.assert_allclose(state.batch_stats['norm']['mean'], mean, 1e-5)


def test_dropout_is_drawn_from_seed_and_step():
  config = ConfigDict(tiny_cascade.get_config().localizer.net)
  config.dropout = 0.5
  batch = films(size=SIZE)
  seen = []
  for start in (0, 0, 1):  # with the statistics frozen, so is not dropout
    state, step, _ = stepper(
      config=config, loss='soft_label', rule=optax.sgd(0.0), freeze=True
    )
    state = state.replace(step=jnp.asarray(start, jnp.int32))
    seen.append(float(step(state, batch)[1]['loss']))
  assert seen[0] == seen[1] != seen[2]


def test_device_count_does_not_matter():
  config = ConfigDict(tiny_cascade.get_config().assessor.net)
  rng = np.random.default_rng(0)
  batch = films(16)
  del batch['image']
  batch['regions'] = rng.integers(
    0, 256, (16, 2, SIZE, SIZE, 1), dtype=np.uint8
  )
  results = []
  for devices in (1, 8):
    state, step, _ = stepper(
      config=config,
      devices=devices,
      loss='label_distribution',
      rule=optax.sgd(1e-4),
    )
    before = jax.device_get(state.params)
    state, scalars = step(state, batch)
    results.append(jax.device_get((scalars, state.batch_stats)))
    after = jax.device_get(state.params)
    results[-1] += (jax.tree.map(np.subtract, after, before),)
  one, eight = results
  assert one[0].keys() >= {'loss', 'mae', 'kl'}
  for name, (a, b) in zip(
    ('scalars', 'statistics', 'update'),
    zip(one, eight, strict=True),
    strict=True,
  ):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
      scale = np.abs(x).max()
      np.testing.assert_allclose(x, y, 2e-3, 1e-6 + 2e-3 * scale, err_msg=name)


def test_prediction_does_not_depend_on_the_batch():
  config = ConfigDict(tiny_cascade.get_config().localizer.net)
  state, _, graph = stepper(config=config)
  predict = evaluate.make_predict(graph)
  batch = films(size=SIZE)
  whole = predict(state.variables, batch)
  assert whole['probability'].shape == (8, 240)
  np.testing.assert_allclose(whole['probability'].sum(-1), 1, rtol=1e-5)
  other = films(size=SIZE, seed=1)
  for name in ('image', 'male'):
    other[name][:3] = batch[name][:3]
  found = predict(state.variables, other)
  np.testing.assert_allclose(found['age'][:3], whole['age'][:3], 1e-5)


# Whole runs on prepared phantoms.


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
    train.train_and_evaluate(config, 'localizer', str(tmp_path))
    return tmp_path / 'localizer'

  return go


def test_files_of_a_run(run, prepared):
  folder = run(epochs=2, ema=0.5, log_steps=2)
  done = json.loads((folder / 'done.json').read_text())
  rows = metric_writer.read(str(folder / 'metrics.jsonl'))
  count = {n: len(f['id']) for n, f in split_films(prepared).items()}
  assert done['step'] == rows[-1]['step'] == 2 * (count['train'] // 8)
  measured = {
    r['step']: r['validation_mae'] for r in rows if 'validation_mae' in r
  }
  assert len(measured) == 2
  assert measured[done['best_step']] == min(measured.values())
  assert {'epoch', 'learning_rate', 'train_loss', 'train_mae'} <= rows[0].keys()
  table = (folder / 'predictions.csv').read_text().splitlines()
  assert table[0] == 'id,split,male,age,prediction'
  cells = [line.split(',') for line in table[1:]]
  for name in ('validation', 'test'):
    assert sum(c[1] == name for c in cells) == count[name]
  error = [abs(float(c[4]) - float(c[3])) for c in cells if c[1] == 'validation']
  assert np.mean(error) == pytest.approx(min(measured.values()), abs=1e-3)
  stored = np.load(folder / 'distributions.npz')
  assert stored['id'].tolist() == [int(c[0]) for c in cells]
  assert stored['probability'].shape == (len(cells), 240)


def split_films(prepared):
  config = tiny_cascade.get_config()
  films = input_pipeline.load_films(prepared)
  films = {**films, 'split': data.assign(config, films)[0]}
  return {n: data.select(films, n) for n in ('train', 'validation', 'test')}


def test_overfits_eight_phantoms(prepared):
  few = {n: v[:8] for n, v in split_films(prepared)['train'].items()}
  settings = ConfigDict(common.image_input(size=SIZE))
  batch = input_pipeline.eval_batches(
    input_pipeline.film_source(prepared, few), settings, 8
  )[0]
  config = ConfigDict(tiny_cascade.get_config().localizer.net)
  config.update(output='scalar', attention='none', sex_features=4)
  rule = optax.adam(optax.cosine_decay_schedule(0.03, 300))
  state, step, graph = stepper(config=config, rule=rule, devices=1)
  for _ in range(300):
    state, scalars = step(state, batch)
  assert float(scalars['mae']) < 1
  age = evaluate.make_predict(graph)(state.variables, batch)['age']
  assert np.mean(np.abs(age - batch['age'])) < 1


def test_a_loss_that_is_not_finite_names_step_films_and_checkpoint(
  run, prepared, monkeypatch
):
  real = losses.mae
  films = split_films(prepared)['train']['id'].tolist()

  def bad(outputs, batch):
    loss, scalars = real(outputs, batch)
    return jnp.where(batch['id'] == films[0], jnp.nan, loss), scalars

  monkeypatch.setitem(losses.LOSSES, 'mae', bad)
  with pytest.raises(ValueError) as error:
    run(loss=ConfigDict({'name': 'mae'}))
  text = str(error.value)
  assert text.startswith('localizer: the loss is nan at step ')
  assert str(films[0]) in text.split('on films ')[1].split('.')[0].split(', ')
  step = int(text.split('at step ')[1].split(',')[0])
  good = 'none yet' if step == 1 else f'step {step - 1}'
  assert f'Last good checkpoint: {good}. Lower --config.localizer.' in text


def test_an_exploding_rate_is_an_error(run):
  with pytest.raises(ValueError, match='the loss is (nan|inf) at step'):
    run(optimizer=ConfigDict(common.optimizer(learning_rate=1e30)))


def test_unknown_loss(run):
  with pytest.raises(ValueError, match=r"loss.name='l1' is unknown; .*'mse'"):
    run(loss=ConfigDict({'name': 'l1'}))


def test_checkpoints_keep_the_newest_and_the_best(tmp_path):
  tree = lambda x: {'a': jnp.full(3, x)}
  store = checkpoints.Checkpoints(str(tmp_path / 'c'))
  assert store.latest_step() is None and store.best_mae == float('inf')
  with pytest.raises(ValueError, match='run the stage that trains it first'):
    store.restore_best(tree(0.0))
  for step, mae in enumerate((30.0, 10.0, 20.0), 1):
    if mae < store.best_mae:
      store.save_best(step, tree(float(step)), mae)
    store.save(step, tree(10.0 * step))
  store.wait()
  store.close()
  again = checkpoints.Checkpoints(str(tmp_path / 'c'))
  assert (again.latest_step(), again.best_step()) == (3, 2)
  assert again.best_mae == 10.0
  np.testing.assert_array_equal(again.restore(tree(0.0))['a'], 30.0)
  np.testing.assert_array_equal(again.restore_best(tree(0.0))['a'], 2.0)
  again.close()


def test_rows_behind_the_checkpoint_are_dropped(tmp_path):
  writer = metric_writer.MetricWriter(str(tmp_path), 0)
  for step in (1, 2, 3):
    writer.write(step, loss=step / 7)
  writer.close()
  path = tmp_path / 'metrics.jsonl'
  path.write_text(path.read_text() + '{"step": 4, "lo')  # cut by a kill
  assert [r['step'] for r in metric_writer.read(str(path))] == [1, 2, 3]
  metric_writer.MetricWriter(str(tmp_path), 2).close()
  assert metric_writer.read(str(path)) == [
    {'step': 1, 'loss': 1 / 7},
    {'step': 2, 'loss': 2 / 7},
  ]
