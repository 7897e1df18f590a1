"""The loss of two tasks, and losses that leave an output untrained."""

import functools

from jax import numpy as jnp
import numpy as np
import pytest

from boneage_jax.training import losses
from boneage_jax.training.losses import age as age_losses

LOGITS = np.random.default_rng(0).normal(size=(4, 240)).astype(np.float32)
RAW = np.array([2.0, -1.0, 0.5, 80.0], np.float32)
SEX = np.array([1.0, 1.0, 0.0, -1.0], np.float32)
OUTPUTS = {'logits': jnp.array(LOGITS), 'raw': {'p_male': jnp.array(RAW)}}
BATCH = {'age': jnp.array([10.0, 50.0, 99.0, 200.0]), 'sex': jnp.array(SEX)}


def test_the_cross_entropy_of_the_sex_is_added_where_it_is_known():
  plain, _ = age_losses.label_distribution(OUTPUTS, BATCH, 10.0, 1.0)
  total, scalars = age_losses.age_and_sex(OUTPUTS, BATCH, 10.0, 1.0, 3.0)
  # -log of the probability of the true sex; 80 of a girl, without overflow.
  entropy = np.array([np.log1p(np.exp(-2)), np.log1p(np.exp(1)), 0, 80])
  np.testing.assert_allclose(total, plain + 3 * entropy, rtol=1e-5)
  np.testing.assert_allclose(scalars['sex_loss'], entropy, rtol=1e-5)
  np.testing.assert_array_equal(scalars['sex_error'], [0, 1, 0, 1])


def test_a_loss_that_leaves_an_output_untrained_is_refused():
  losses.check_reads(age_losses.age_and_sex, OUTPUTS, BATCH)
  plain = functools.partial(age_losses.label_distribution, delta=5.0)
  with pytest.raises(ValueError, match='a loss that trains p_male of'):
    losses.check_reads(plain, OUTPUTS, BATCH)
  without = {'logits': OUTPUTS['logits']}
  losses.check_reads(plain, without, BATCH)
  with pytest.raises(ValueError, match='needs `raw` in the outputs'):
    losses.check_reads(age_losses.age_and_sex, without, BATCH)
