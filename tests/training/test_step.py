"""One step of the loop against closed forms."""

from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest
import tiny_cascade

from boneage_jax import models
from boneage_jax.data import film_table
from boneage_jax.data import input_pipeline
from boneage_jax.data import sources
from boneage_jax.training import forward
from boneage_jax.training import step as train_step
from boneage_jax.training.losses import age as age_losses
from configs import common

SIZE = 32
RATE = 0.1


class Linear(nnx.Module):
  """Age linear in the mean grey; BatchNorm apart, to see its statistics."""

  def __init__(self, penalty=0.0, norm=None):
    self.kernel = nnx.Param(jnp.array(2.0))
    self.bias = nnx.Param(jnp.array(100.0))
    self.norm = norm or models.layers.BatchNorm(1, eps=1e-5, momentum=0.9)
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
    'sex': rng.choice([-1, 1], count).astype(np.float32),
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
    train_step._abstract_net.cache_clear()  # nets of tests share a config
  where = mesh(devices)
  rule = rule or optax.sgd(RATE)
  graph, _, _ = train_step.abstract_net(config, SIZE)
  state = train_step.create_state(config, SIZE, 0, rule, ema, where)
  step = train_step.make_train_step(
    graph,
    age_losses.LOSSES[loss],
    rule,
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
  flax = lambda: Linear(norm=nnx.BatchNorm(1, momentum=0.9, rngs=nnx.Rngs(0)))
  for net, freeze in ((Linear, False), (Linear, True), (flax, True)):
    state, step, _ = stepper(monkeypatch, net, freeze=freeze)
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
  predict = forward.make_predict(graph)
  batch = films(size=SIZE)
  whole = predict(state.variables, batch)
  assert whole['probability'].shape == (8, 240)
  np.testing.assert_allclose(whole['probability'].sum(-1), 1, rtol=1e-5)
  other = films(size=SIZE, seed=1)
  for name in ('image', 'sex'):
    other[name][:3] = batch[name][:3]
  found = predict(state.variables, other)
  np.testing.assert_allclose(found['age'][:3], whole['age'][:3], 1e-5)


def test_overfits_eight_phantoms(prepared):
  films = sources.load_films(prepared)
  few = film_table.select(films, np.arange(8))
  settings = ConfigDict(common.image_input(size=SIZE))
  batch = input_pipeline.eval_batches(
    sources.film_source(prepared, few), settings, 8
  )[0]
  config = ConfigDict(tiny_cascade.get_config().localizer.net)
  config.update(output='standardized', attention='none', sex_features=4)
  config.backbone.width = 0.25  # half of that learns them by luck alone
  rule = optax.adam(optax.cosine_decay_schedule(0.01, 300))
  state, step, graph = stepper(config=config, rule=rule, devices=1)
  for _ in range(300):
    state, scalars = step(state, batch)
  assert float(scalars['mae']) < 1
  age = forward.make_predict(graph)(state.variables, batch)['age']
  assert np.mean(np.abs(age - batch['age'])) < 1
