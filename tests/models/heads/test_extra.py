"""Heads that read and tell more than sex and age."""

import draw
from flax import nnx
import jax
from jax import numpy as jnp
import numpy as np
import pytest

from boneage_jax.models.heads import age as age_head

AGES = np.array([20.0, 127.3, 200.0], np.float32)
INPUTS = {'sex': jnp.array([-1.0, 1.0, 0.0]), 'chronological_age': AGES}
EXTRA = {'extra_inputs': ('chronological_age',), 'extra_outputs': ('p_male',)}


def head(**changes):
  return age_head.AgeHead(6, rngs=nnx.Rngs(0), **changes)


def test_a_number_joins_standardized_as_the_sex_does():
  net = head(output='scalar', extra_inputs=('chronological_age',))
  net.scalars.bias[...] = jnp.linspace(-1, 1, 32)
  z, kernel = draw.normal((3, 6), 1), np.asarray(net.fc.kernel[...])
  standard = (AGES - 127.3) / 41.2
  dense = standard[:, None] @ np.asarray(net.scalars.kernel[...])
  dense += np.linspace(-1, 1, 32)
  sex = np.asarray(net.sex(INPUTS['sex'][:, None]))
  joined = np.concatenate([z, sex, dense], 1)
  expected = joined @ kernel[:, 0] + np.asarray(net.fc.bias[...])
  np.testing.assert_allclose(net(z, INPUTS)['age'], expected, 1e-5)


def test_the_sex_is_told_of_the_image_alone():
  net, z = head(**EXTRA), draw.normal((3, 6), 2)
  told = net(z, INPUTS)
  raw = z @ np.asarray(net.extra_fc.kernel[...])[:, 0]
  np.testing.assert_allclose(told['raw']['p_male'], raw, 1e-5, 1e-6)
  np.testing.assert_allclose(
    told['extra']['p_male'], 1 / (1 + np.exp(-raw)), rtol=1e-5
  )
  others = {'sex': -INPUTS['sex'], 'chronological_age': AGES + 30}
  again = net(z, others)
  np.testing.assert_array_equal(again['raw']['p_male'], told['raw']['p_male'])
  assert np.abs(again['age'] - told['age']).min() > 0


def test_a_head_begins_as_it_does_without_further_outputs():
  plain, both = (
    nnx.state(head(**e)) for e in ({}, {'extra_outputs': ['p_male']})
  )
  with_extra = nnx.to_pure_dict(both)
  assert set(with_extra.pop('extra_fc')) == {'kernel', 'bias'}
  jax.tree.map(
    np.testing.assert_array_equal, nnx.to_pure_dict(plain), with_extra
  )


@pytest.mark.parametrize(
  'wrong', [{'extra_inputs': ('height',)}, {'extra_outputs': ('p_male',) * 2}]
)
def test_unknown_names_and_names_that_stand_twice_are_refused(wrong):
  with pytest.raises(ValueError, match=f'Expected net.{next(iter(wrong))} to'):
    head(**wrong)
