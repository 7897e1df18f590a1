"""Losses against closed forms and SciPy."""

import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
from scipy import stats

from boneage_jax.training import losses
from boneage_jax.training.losses import age as age_losses

AGE_LOSSES = sorted(set(age_losses.LOSSES) - {'cross_entropy'})


def batch_of(*ages):
  return {'age': jnp.asarray(ages, jnp.float32)}


def test_expectation_of_one_hot_is_its_month():
  ages = np.array([0, 1, 127, 239])
  logits = 1e4 * jax.nn.one_hot(ages, 240)
  np.testing.assert_allclose(age_losses.expectation(logits), ages, atol=1e-4)


def test_expectation_is_float32_under_bfloat16():
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(4, 240)), jnp.bfloat16)
  value = age_losses.expectation(logits)
  exact = np.asarray(logits, np.float64)
  exact = np.exp(exact) / np.exp(exact).sum(-1, keepdims=True)
  assert value.dtype == jnp.float32
  np.testing.assert_allclose(value, exact @ np.arange(240), atol=1e-3)


def test_mae_in_units_is_the_l1_of_scaled_ages():
  outputs = {'age': jnp.array([100.0, 131.0])}
  loss, scalars = age_losses.mae(outputs, batch_of(112.0, 125.0), unit=120.0)
  scaled = np.abs(np.array([100 - 120, 131 - 120]) / 120 - [-8 / 120, 5 / 120])
  np.testing.assert_allclose(loss, scaled, rtol=1e-6)
  np.testing.assert_allclose(scalars['mae'], [12, 6])


def test_mse_in_units_is_that_of_standardized_ages():
  outputs = {'age': jnp.array([100.0, 131.0])}
  loss, scalars = age_losses.mse(outputs, batch_of(112.0, 125.0), unit=41.2)
  standardized = lambda *ages: (np.array(ages) - 127.3) / 41.2
  wanted = (standardized(100, 131) - standardized(112, 125)) ** 2
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)
  np.testing.assert_allclose(scalars['mae'], [12, 6])


def test_auxiliary_heads_count_three_tenths_each():
  section = ConfigDict({'loss': {'name': 'mae'}})
  outputs = {'age': jnp.array([100.0, 131.0])}
  outputs['aux'] = {
    'aux1': {'age': jnp.array([110.0, 120.0])},
    'aux2': {'age': jnp.array([102.0, 125.0])},
  }
  loss, scalars = losses.create(section)(outputs, batch_of(112.0, 125.0))
  np.testing.assert_allclose(loss, [12 + 0.6 + 3, 6 + 1.5], rtol=1e-6)
  np.testing.assert_allclose(scalars['mae'], [12, 6])
  np.testing.assert_allclose(scalars['aux2_loss'], [10, 0])


def test_triangular_label():
  label = np.asarray(age_losses.triangular_label(jnp.array([120.0]), 240, 50))[
    0
  ]
  assert label[120] == 1
  np.testing.assert_allclose(label[[95, 145]], 0.5, atol=1e-6)
  assert label[70] == label[170] == 0 == label[:70].sum() == label[171:].sum()
  np.testing.assert_allclose(label.sum(), 50, rtol=1e-6)


def test_gaussian_label_is_the_renormalised_density():
  label = np.asarray(age_losses.gaussian_label(jnp.array([30.5, 127.0, 239.0])))
  for row, age in zip(label, (30.5, 127.0, 239.0), strict=True):
    density = stats.norm.pdf(np.arange(240), age, 15)
    np.testing.assert_allclose(row, density / density.sum(), atol=1e-7)


def test_gaussian_label_at_the_end_has_a_mean_inside():
  label = np.asarray(age_losses.gaussian_label(jnp.array([1.0])))[0]
  assert label @ np.arange(240) > 1.5


@pytest.mark.parametrize('delta', [5.0, 15.0])
def test_label_distribution_is_zero_at_the_label(delta):
  batch = batch_of(127.0)
  logits = jnp.log(age_losses.gaussian_label(batch['age'], 240, delta) + 1e-30)
  loss, scalars = age_losses.label_distribution(
    {'logits': logits}, batch, delta
  )
  np.testing.assert_allclose(scalars['kl'], 0, atol=1e-5)
  np.testing.assert_allclose(age_losses.expectation(logits), 127, atol=1e-3)
  np.testing.assert_allclose(loss, 0, atol=2e-3)


def test_kl_is_positive_and_its_gradient_is_p_minus_label():
  rng = np.random.default_rng(1)
  batch = batch_of(3.0, 80.0, 235.0)
  logits = jnp.asarray(rng.normal(size=(3, 240)), jnp.float32)

  def kl(logits):
    return age_losses.label_distribution({'logits': logits}, batch)[1]['kl']

  assert (np.asarray(kl(logits)) > 0.1).all()
  gradient = jax.grad(lambda logits: kl(logits).sum())(logits)
  expected = jax.nn.softmax(logits) - age_losses.gaussian_label(batch['age'])
  np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_kl_weight_zero_is_pure_expectation_l1():
  rng = np.random.default_rng(2)
  batch = batch_of(10.0, 200.0)
  logits = jnp.asarray(rng.normal(size=(2, 240)), jnp.float32)
  loss, _ = age_losses.label_distribution(
    {'logits': logits}, batch, kl_weight=0.0
  )
  expected = np.abs(np.asarray(age_losses.expectation(logits)) - [10, 200])
  np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_label_distribution_is_finite_at_extreme_logits():
  batch = batch_of(0.0, 240.0)
  logits = jnp.zeros((2, 240)).at[:, 120].set(3e4)
  loss = lambda x: age_losses.label_distribution({'logits': x}, batch)[0].sum()
  value, gradient = jax.value_and_grad(loss)(logits)
  assert np.isfinite(value) and np.isfinite(gradient).all()


def test_soft_label_is_the_mean_absolute_error_over_bins():
  rng = np.random.default_rng(3)
  logits = rng.normal(size=(2, 240)).astype(np.float32)
  loss, _ = age_losses.soft_label({'logits': logits}, batch_of(60, 130))
  for row, age, value in zip(logits, (60, 130), loss, strict=True):
    label = np.clip(1 - np.abs(np.arange(240) - age) / 50, 0, None)
    np.testing.assert_allclose(value, np.abs(row - label).mean(), rtol=1e-5)


def test_scalar_losses_against_numbers():
  outputs, batch = {'age': jnp.array([10.0, 20.0])}, batch_of(9.0, 26.0)
  np.testing.assert_allclose(age_losses.mse(outputs, batch)[0], [1, 36])
  np.testing.assert_allclose(age_losses.mae(outputs, batch)[0], [1, 6])
  smooth = age_losses.smooth_l1(outputs, batch, beta=3.0)[0]
  np.testing.assert_allclose(smooth, [1 / 6, 4.5], rtol=1e-6)


@pytest.mark.parametrize('name', AGE_LOSSES)
def test_every_loss_gives_float32_per_example(name):
  outputs = {
    'age': jnp.array([3.0, 4.0, 5.0], jnp.bfloat16),
    'logits': jnp.zeros((3, 240), jnp.bfloat16),
    'raw': {'p_male': jnp.zeros(3, jnp.bfloat16)},
  }
  batch = batch_of(1, 2, 3) | {'sex': jnp.array([1.0, -1.0, 0.0])}
  loss, scalars = age_losses.LOSSES[name](outputs, batch)
  assert loss.shape == (3,) and loss.dtype == jnp.float32
  assert 'mae' in scalars
  assert all(v.shape == (3,) for v in scalars.values())


@pytest.mark.parametrize('name', AGE_LOSSES)
def test_a_trailing_axis_is_an_error(name):
  outputs = {'age': jnp.zeros((3, 1)), 'logits': jnp.zeros((3, 1, 240))}
  with pytest.raises(ValueError, match='shape'):
    age_losses.LOSSES[name](outputs, batch_of(1, 2, 3))


def test_a_missing_output_is_named():
  with pytest.raises(ValueError, match='`logits`'):
    age_losses.soft_label({'age': jnp.zeros(1)}, batch_of(1))


def test_cross_entropy_is_the_mean_over_labelled_films():
  rng = np.random.default_rng(4)
  logits = rng.normal(size=(5, 3)).astype(np.float32)
  label = np.array([2, -1, 0, 1, 1], np.int32)
  valid = np.array([1, 1, 1, 1, 0], np.float32)  # padding may have any label
  batch = {'label': jnp.asarray(label), 'valid': jnp.asarray(valid)}
  loss, scalars = age_losses.cross_entropy({'logits': logits}, batch)
  mean = lambda x: (np.asarray(x) * valid).sum() / valid.sum()
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  kept = [0, 2, 3]
  expected = -np.log(p[kept, label[kept]]).mean()
  np.testing.assert_allclose(mean(loss), expected, rtol=1e-5)
  wrong = (logits.argmax(-1) != label)[kept].mean()
  np.testing.assert_allclose(mean(scalars['error']), wrong, rtol=1e-6)


def test_cross_entropy_without_labels_is_nothing():
  batch = {'label': jnp.array([-1, -1]), 'valid': jnp.ones(2)}
  total = lambda x: age_losses.cross_entropy({'logits': x}, batch)[0].sum()
  value, gradient = jax.value_and_grad(total)(jnp.ones((2, 3)))
  assert value == 0 and not np.asarray(gradient).any()
