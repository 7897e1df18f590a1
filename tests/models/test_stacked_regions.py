"""Regions as channels: the shapes of Chen 2020 and the order of channels."""

import draw
from flax import nnx
import jax
from jax import numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import stacked_regions
from configs import attention_ldl

TINY = {'name': 'inception_v3', 'width': 0.125, 'endpoint': 'stem'}
SIDE = 48
SEX = jnp.array([0.0, 1.0])


def net(**changes):
  arguments = dict(size=SIDE, backbone=TINY, pool='gap', rngs=nnx.Rngs(0))
  made = stacked_regions.RegionChannels(**arguments | changes)
  made.eval()
  return made


@nnx.jit
def call(made, batch):
  return made(batch)


def crops(count):
  shape = (2, count, SIDE, SIDE, 1)
  return draw.greys(shape, 1)


def test_the_papers_net_has_6400_features_and_32_of_sex():
  config = attention_ldl.get_config().assessor
  arguments = config.net.to_dict()
  del arguments['name'], arguments['bn_momentum']
  made = nnx.eval_shape(
    lambda: stacked_regions.RegionChannels(
      size=config.input.size, rngs=nnx.Rngs(0), **arguments
    )
  )
  assert made.age_head.fc.kernel.shape == (6400 + 32, 240)
  shape = jax.ShapeDtypeStruct((1, 3, 560, 560, 1), jnp.uint8)
  maps = nnx.eval_shape(lambda m, x: m.features({'regions': x}), made, shape)
  assert maps.shape == (1, 18, 18, 2048)


@pytest.mark.parametrize(
  ('name', 'endpoint'),
  [
    ('resnet', 'stage2'),
    ('vgg16', 'block3'),
    ('efficientnet', 'block2'),
    ('convnext', 'stage2'),
  ],
)
def test_six_regions_fit_every_backbone(name, endpoint):
  backbone = {'name': name, 'endpoint': endpoint, 'width': 0.125}
  made = nnx.eval_shape(lambda: net(backbone=backbone | {'in_channels': 6}))
  shape = jax.ShapeDtypeStruct((2, 6, SIDE, SIDE, 1), jnp.uint8)
  maps = nnx.eval_shape(lambda m, x: m.features({'regions': x}), made, shape)
  assert maps.shape[0] == 2


def test_regions_are_the_channels_in_their_order():
  made, three = net(), crops(3)
  seen = []
  real = made.backbone.features
  made.backbone.features = lambda x, rngs: seen.append(x) or real(x, rngs)
  made.features({'regions': three})
  np.testing.assert_allclose(
    seen[0], np.moveaxis(three[..., 0], 1, -1) / 127.5 - 1, atol=1e-6
  )


def test_fewer_regions_take_turns():
  made = net()
  one, two = crops(1), crops(2)
  ages = lambda regions: call(made, {'regions': regions, 'sex': SEX})['age']
  np.testing.assert_array_equal(ages(one), ages(jnp.repeat(one, 3, 1)))
  np.testing.assert_array_equal(
    ages(two), ages(jnp.concatenate([two, two[:, :1]], 1))
  )
  assert (ages(two) != ages(two[:, ::-1])).all()
  with pytest.raises(ValueError, match='in_channels=4'):
    ages(crops(4))
  wide = net(backbone=TINY | {'in_channels': 4})
  outputs = call(wide, {'regions': crops(4), 'sex': SEX})
  assert outputs['age'].shape == (2,)


def test_a_film_is_a_single_region():
  made, one = net(), crops(1)
  np.testing.assert_array_equal(
    call(made, {'image': one[:, 0], 'sex': SEX})['age'],
    call(made, {'regions': one, 'sex': SEX})['age'],
  )


def test_one_number_has_no_bins():
  batch = {'regions': crops(3), 'sex': SEX}
  outputs = call(net(output='scalar'), batch)
  seen = {'maps', 'attention', 'grid', 'embedding'}
  assert set(outputs) == {'age'} | seen
  assert np.abs(np.asarray(outputs['age']) - 127.3).max() < 60


def test_sex_matters_and_gradients_reach_the_backbone():
  made = net()
  batch = {'regions': jnp.repeat(crops(3)[:1], 2, 0), 'sex': SEX}
  assert np.ptp(call(made, batch)['age']) > 0
  gradients = nnx.jit(nnx.grad(lambda m: m(batch)['age'].sum()))(made)
  assert all(
    np.isfinite(g).all() and np.asarray(g).any()
    for g in jax.tree.leaves(gradients['backbone'])
  )


@pytest.mark.parametrize(
  ('backbone', 'size', 'wanted'),
  [
    (dict(name='googlenet', auxiliary=True, endpoint='inception4b'), 64, 'aux'),
    (dict(name='bonet'), 112, 'deformation'),
  ],
)
def test_what_a_backbone_says_beside_its_map_is_of_regions(
  backbone, size, wanted
):
  made = nnx.eval_shape(
    lambda: stacked_regions.RegionChannels(
      size=size,
      backbone={'width': 0.05, **backbone},
      pool='gap_map',
      output='standardized',
      sex_features=0,
      rngs=nnx.Rngs(0),
    )
  )
  made.train()
  batch = {'regions': jax.ShapeDtypeStruct((2, 1, size, size, 1), jnp.uint8)}
  outputs = nnx.eval_shape(lambda m, b: m(b, nnx.Rngs(0)), made, batch)
  assert wanted in outputs and outputs['age'].shape == (2,)
