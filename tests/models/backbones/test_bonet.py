"""BoNet: maps, the deformation layer, a larger film piece by piece."""

import draw
from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from boneage_jax import models
from boneage_jax.models.backbones import bonet


def age_net(size, **backbone):
  config = ConfigDict(
    {
      'name': 'age_net',
      'backbone': {'name': 'bonet', **backbone},
      'pool': 'fc_map',
      'output': 'standardized',
      'sex_features': 0,
      'bn_momentum': 0.0,
      'hidden': 2048,
    }
  )
  return models.create(config, size=size)


def test_layers_and_maps():
  net = nnx.eval_shape(lambda: age_net(224))
  assert net.backbone.stages[3:] == ('conv4', 'deform', 'conv5')
  assert net.pool.fc1.kernel.shape == (8, 8, 256, 2048)
  assert net.age_head.fc.kernel.shape == (2048, 1)
  image = jax.ShapeDtypeStruct((2, 256, 300, 1), jnp.uint8)
  run = lambda net, x: net({'image': x})
  outputs = nnx.eval_shape(run, net, image)
  assert outputs['age'].shape == (2,)
  assert outputs['age_map'].shape == (2, 3, 6)
  plain = nnx.eval_shape(
    lambda: bonet.BoNet(deformation=False, rngs=nnx.Rngs(0))
  )
  assert 'deform' not in plain.stages


def test_each_place_of_a_large_film_is_what_its_crop_gives():
  """With the deformation layer at its start, too."""
  net = age_net(112, width=0.02)
  net.eval()
  run = nnx.jit(lambda net, x: net({'image': x}))
  film = draw.greys((1, 128, 144, 1))
  whole = run(net, film)
  assert whole['age_map'].shape == (1, 2, 3)
  step = 16  # of the map of conv5, in pixels
  crops = [
    film[0, step * i : step * i + 112, step * j : step * j + 112]
    for i in range(2)
    for j in range(3)
  ]
  crops = np.stack(crops)
  ages = run(net, jnp.asarray(crops))
  assert ages['age_map'].shape == (6, 1, 1)
  assert np.ptp(np.asarray(ages['age'])) > 1e-3  # months
  found = np.asarray(whole['age_map']).ravel()
  np.testing.assert_allclose(found, ages['age'], rtol=1e-5)
  np.testing.assert_allclose(whole['age'][0], found.mean(), rtol=1e-6)
  identity = np.eye(2, 3)[None]
  np.testing.assert_array_equal(whole['deformation'], identity)

  # A place sees the first 99 pixels of its crop, as what is left over at the
  # ends of maps is not read: so its middle is at 49.5.
  changed = crops.copy()
  changed[0, :, 99:] ^= 255
  changed[1, :, 98] ^= 255
  changed[2, 99:] ^= 255
  changed[3, 98] ^= 255
  same = run(net, jnp.asarray(changed))['age'] == ages['age']
  assert same.tolist() == [True, False, True, False, True, True]
  grid, box = net.age_places((128, 144))
  assert grid == ((step, 49.5), (step, 49.5))
  # It is the middle of five positions of conv4, of which there are 10 x 8.
  start = 49.5 - 2.5 * 8
  assert box == (start, start, start + 10 * 8, start + 8 * 8)


def test_the_deformation_is_what_the_map_was_sampled_by():
  net = age_net(112, width=0.02)
  net.eval()
  shift = 2 / 6  # a position of the map of 6 x 6
  net.backbone.deform.fc2.bias[...] = jnp.array([1, 0, shift, 0, 1, 0.0])
  film = draw.greys((1, 112, 112, 1))

  @nnx.jit
  def run(net, film):
    outputs = net({'image': film})
    backbone = net.backbone
    before = backbone.run(net._input({'image': film}), stop=4)
    after = jnp.pad(before[:, :, 1:], [(0, 0), (0, 0), (0, 1), (0, 0)])
    return outputs, net.head(backbone.run(after, start=5), {})

  outputs, wanted = run(net, film)
  np.testing.assert_allclose(
    outputs['deformation'], [[[1, 0, shift], [0, 1, 0]]], rtol=1e-6
  )
  np.testing.assert_allclose(outputs['age'], wanted['age'], rtol=1e-5)
