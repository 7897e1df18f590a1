"""The examples of docs/how-to/more_inputs.md, as they stand there."""

import pathlib
import re

from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import own_modules
import pytest
import tiny_nets

from boneage_jax.core import extend
from boneage_jax.core import scalars
from boneage_jax.models.heads import age as age_head
from boneage_jax.training import check_own
from boneage_jax.training import losses
from boneage_jax.training import shapes
from boneage_jax.training import validate
from configs import whole_image

PAGE = pathlib.Path(__file__).parents[2] / 'docs/how-to/more_inputs.md'


@pytest.fixture
def example(tmp_path, monkeypatch):
  """Run the page's Python; what it registers is gone afterwards."""
  blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
  assert len(blocks) == 2
  for table in (scalars.SCALARS, age_head.EXTRA_OUTPUTS):
    monkeypatch.setitem(table, 'height', None)  # put back as it was
    monkeypatch.delitem(table, 'height')
  (tmp_path / 'my_numbers.py').write_text('\n'.join(blocks))
  with own_modules.folder(tmp_path, monkeypatch):
    extend.load('my_numbers')
    yield


def test_a_number_and_an_output_of_ones_own(example):
  net = age_head.AgeHead(
    4,
    extra_inputs=('height',),
    extra_outputs=('height',),
    rngs=nnx.Rngs(0),
  )
  z, sex = jnp.ones((2, 4)), jnp.array([1.0, -1.0])
  heights = jnp.array([110.0, 150.0])
  outputs = net(z, {'sex': sex, 'height': heights})
  told = outputs['extra']['height']
  np.testing.assert_allclose(told, 130 + 25 * outputs['raw']['height'], 1e-5)
  section = ConfigDict({'loss': {'name': 'age_and_height', 'weight': 2.0}})
  batch = {'age': jnp.array([90.0, 120.0]), 'height': heights}
  total, _ = losses.create(section)(outputs, batch)
  plain = losses.LOSSES['label_distribution'](outputs, batch, delta=10.0)[0]
  np.testing.assert_allclose(total, plain + 2 * abs(told - heights), 1e-5)
  losses.check_reads(losses.LOSSES['age_and_height'], outputs, batch)
  gradient = jax.grad(lambda x: jnp.sum(net(x, batch | {'sex': sex})['age']))
  assert np.isfinite(gradient(z)).all()


def test_a_run_may_have_them(example):
  config = whole_image.get_config('phantom').unlock()
  stage = config.whole_image
  stage.net.backbone = tiny_nets.TINY
  stage.net.update(extra_inputs=('height',), extra_outputs=('height',))
  stage.loss = ConfigDict({'name': 'age_and_height', 'weight': 0.5})
  validate.check_stage(config, 'whole_image', '')
  check_own.check(config, 'whole_image')
  assert 'height' in shapes.batch(config, 'whole_image', 2)


def test_a_loss_may_read_a_number_that_the_net_does_not(example):
  config = whole_image.get_config('phantom').unlock()
  stage = config.whole_image
  stage.net.backbone = tiny_nets.TINY
  stage.net.extra_outputs = ('height',)
  stage.loss = ConfigDict({'name': 'age_and_height'})
  check_own.check(config, 'whole_image')
  check_own.check(config, 'whole_image', ['height'])
  lacks = r'films with the number height, .* \(cm\) in the column height of'
  with pytest.raises(ValueError, match=lacks):
    check_own.check(config, 'whole_image', ['chronological_age'])
