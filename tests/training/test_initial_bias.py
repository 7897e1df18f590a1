"""Where a net of bins starts, against films one by one."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
from scipy import stats

from boneage_jax.training import initial_bias
from configs import common

AGES = np.array([3.0, 100.2, 101.0, 130.0, 130.4, 228.0, 260.0])


def test_it_is_the_mean_of_the_films_bells():
  months, expected = np.arange(240), np.full(240, 1e-4)
  for age in np.minimum(np.round(AGES), 239):
    bell = stats.norm.pdf(months, age, 15)
    expected += bell / bell.sum() / len(AGES)
  found = initial_bias.log_histogram(AGES)
  np.testing.assert_allclose(found, np.log(expected), rtol=1e-9)


def test_it_is_finite_where_no_film_is():
  found = initial_bias.log_histogram(np.array([12.0]))
  assert np.isfinite(found).all()
  np.testing.assert_allclose(found[200:], np.log(1e-4))


def test_it_replaces_the_bias_of_the_last_layer_alone():
  fc = {'kernel': jnp.ones((3, 240)), 'bias': jnp.zeros(240)}
  params = {'backbone': {'w': jnp.ones(2)}, 'age_head': {'fc': fc, 'w': 1}}
  begun = initial_bias.begin(params, AGES)
  p = np.exp(np.asarray(begun['age_head']['fc']['bias'], np.float64))
  # Truncation at the ends and the floor move the mean a little inwards.
  mean = p @ np.arange(240) / p.sum()
  np.testing.assert_allclose(mean, AGES.mean(), atol=5)
  begun['age_head']['fc']['bias'] = fc['bias']
  assert jax.tree.all(jax.tree.map(np.array_equal, begun, params))


@pytest.mark.parametrize(
  ('kind', 'net', 'message'),
  [
    ('mean', {}, 'Expected init_bias to be one of'),
    ('age_histogram', {'output': 'unit'}, "got the output 'unit'"),
    ('age_histogram', {'readout': 'argmax'}, "the readout 'argmax'"),
  ],
)
def test_a_start_that_the_net_cannot_have_is_refused(kind, net, message):
  section = ConfigDict(common.train_stage(init_bias=kind))
  section.net.update(net)
  with pytest.raises(ValueError, match=message):
    initial_bias.check(section)
