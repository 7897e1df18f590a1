"""MobileNetV3-Large: Keras' sizes; equality is tested in weights/."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models.backbones import mobilenet_v3
from boneage_jax.models.weights import keras as keras_names


def test_parameters_and_maps():
  net = nnx.eval_shape(lambda: mobilenet_v3.MobileNetV3(rngs=nnx.Rngs(0)))
  size = lambda kind: sum(
    leaf.size
    for leaf in jax.tree.leaves(nnx.to_pure_dict(nnx.state(net, kind)))
  )
  assert size(nnx.Param) + size(nnx.BatchStat) == 2_996_352  # Keras', no top
  assert size(nnx.BatchStat) == 24_400
  image = jax.ShapeDtypeStruct((1, 224, 300, 3), jnp.float32)
  found = nnx.eval_shape(lambda net, x: net(x), net, image)
  assert found.shape == (1, 7, 10, 960)
  assert {
    norm.momentum
    for _, norm in nnx.iter_modules(net)
    if isinstance(norm, nnx.BatchNorm)
  } == {0.999}


@pytest.mark.parametrize(
  ('old', 'new'),
  [
    ('Conv/Conv/kernel:0', 'conv/kernel'),
    ('Conv_1/BatchNorm/Conv_1/BatchNorm/gamma:0', 'conv_1_bn/gamma'),
    (
      'expanded_conv_2/depthwise/expanded_conv_2/depthwise/depthwise_kernel:0',
      'expanded_conv_2_depthwise/kernel',
    ),
    (
      'expanded_conv_3/squeeze_excite/Conv_1/'
      'expanded_conv_3/squeeze_excite/Conv_1/bias:0',
      'expanded_conv_3_squeeze_excite_conv_1/bias',
    ),
    (
      'expanded_conv/project/BatchNorm/expanded_conv/project/BatchNorm/beta:0',
      'expanded_conv_project_bn/beta',
    ),
  ],
)
def test_older_names_are_read_as_todays(old, new):
  found, _ = keras_names.clean(old, np.zeros((3, 3, 8, 1)))
  assert found == new
  table = keras_names.table('mobilenet_v3', ())
  assert new.split('/')[0] in table
