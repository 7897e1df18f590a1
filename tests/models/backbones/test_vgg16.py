"""VGG-16: published size, maps, and films that are too small."""

from flax import nnx
import jax
import jax.numpy as jnp
import pytest

from boneage_jax.models.backbones import vgg16


def abstract(**arguments):
  return nnx.eval_shape(lambda: vgg16.VGG16(rngs=nnx.Rngs(0), **arguments))


def map_shape(net, side):
  image = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
  return nnx.eval_shape(lambda net, x: net(x), net, image).shape


def size(net):
  leaves = jax.tree.leaves(nnx.to_pure_dict(nnx.state(net, nnx.Param)))
  return sum(leaf.size for leaf in leaves)


def test_parameters_and_maps():
  net = abstract(endpoint='fc8')
  assert size(net) == 138_357_544  # Keras', with the top
  assert map_shape(net, 224) == (2, 1, 1, 1000)
  net = abstract()
  assert map_shape(net, 256) == (2, 2, 2, 4096)
  assert size(abstract(endpoint='block5')) == 14_714_688  # without it


def test_too_small_a_film_is_refused():
  with pytest.raises(ValueError, match=r'7 x 7 positions .* got 3 x 3'):
    map_shape(abstract(), 112)
  assert map_shape(abstract(endpoint='block5'), 112) == (2, 3, 3, 512)
