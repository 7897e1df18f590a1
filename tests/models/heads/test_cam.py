"""Maps that the net pools by itself."""

import draw
from flax import nnx
import jax
from jax import numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import age_net
from boneage_jax.models.heads import cam as cam_head
from boneage_jax.regions import gradcam

BACKBONE = {'name': 'resnet', 'depth': 18, 'width': 0.125, 'endpoint': 'stage2'}
SEX = jnp.array([-1.0, 1.0, 0.0])
INPUTS = {'sex': SEX}


def head(channels=6, **changes):
  return cam_head.CamHead(channels, rngs=nnx.Rngs(0), **changes)


def features(seed=1, shape=(3, 4, 5, 6)):
  return draw.normal(shape, seed)


def net(**changes):
  arguments = dict(backbone=BACKBONE, sex_features=0) | changes
  built = age_net.AgeNet(size=48, rngs=nnx.Rngs(0), **arguments)
  built.eval()
  return built


def image(seed=0, count=3):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, 48, 48, 1), dtype=np.uint8)


@pytest.mark.parametrize('output', ['bins', 'scalar', 'classes'])
@pytest.mark.parametrize('weighted', [True, False])
def test_outputs_are_the_published_sums(output, weighted):
  layer = head(output=output, weighted=weighted, classes=4, readout='argmax')
  x = np.asarray(features(), np.float64)
  outputs = layer(jnp.asarray(x, jnp.float32), INPUTS)
  kernel, bias = (np.asarray(v[...]) for v in (layer.fc.kernel, layer.fc.bias))
  maps = x @ kernel + bias
  np.testing.assert_allclose(outputs['maps'], maps, 1e-4, 1e-4)
  weights = np.full(maps.shape, 1 / 20)
  if weighted:
    weights = np.exp(maps - maps.max((1, 2), keepdims=True))
    weights /= weights.sum((1, 2), keepdims=True)
  expected = (weights * maps).sum((1, 2))
  if output == 'scalar':
    assert set(outputs) == {'age', 'maps', 'attention'}
    np.testing.assert_allclose(outputs['age'], expected[:, 0], 1e-4)
  else:
    np.testing.assert_allclose(outputs['logits'], expected, 1e-3, 1e-4)
    assert ('age' in outputs) == (output == 'bins')
  if output == 'bins':
    np.testing.assert_array_equal(outputs['age'], expected.argmax(-1))
  assert outputs['attention'].shape == (3, 4, 5)
  np.testing.assert_allclose(outputs['attention'].sum((1, 2)), 1, rtol=1e-5)


def test_a_constant_map_pools_to_itself():
  """H8: attention is uniform, and weighing changes nothing."""
  x = jnp.broadcast_to(features()[:, :1, :1], (3, 4, 5, 6))
  logits = {}
  for weighted in (True, False):
    outputs = head(output='classes', classes=4, weighted=weighted)(x, INPUTS)
    np.testing.assert_allclose(outputs['attention'], 1 / 20, rtol=1e-5)
    logits[weighted] = outputs['logits']
    np.testing.assert_allclose(logits[weighted], outputs['maps'][:, 2, 3], 1e-4)
  np.testing.assert_allclose(logits[True], logits[False], rtol=1e-5)


def test_attention_is_that_of_the_answer():
  maps = np.zeros((2, 3, 3, 240), np.float32)
  maps[0, 1, 2, 57] = 22.0  # in the window of 60 months
  maps[0, 0, 0, 20] = 99.0  # not in it
  maps[1, 2, 0, 0] = 22.0
  outputs = {'maps': jnp.asarray(maps), 'age': jnp.array([60.4, -3.0])}
  found = cam_head.attention(outputs)
  assert found[0].argmax() == 5 and found[1].argmax() == 6
  for film, bins in ((0, 10), (1, 5)):  # the second is cut at 0
    expected = np.exp(22 / bins) / (np.exp(22 / bins) + 8)
    assert found[film].max() == pytest.approx(expected, rel=1e-5)
  outputs = {
    'maps': jnp.asarray(maps[..., :58]),
    'logits': jnp.asarray(np.eye(58, dtype=np.float32)[[20, 0]]),
  }
  found = cam_head.attention(outputs)
  assert found[0].argmax() == 0 and found[1].argmax() == 6


def test_the_window_has_the_ten_bins_of_chen():
  ages = np.array([60.4, 59.6, 2.0, 0.0, 239.0, -3.0, 300.0], np.float32)
  found = np.asarray(cam_head.near_age(jnp.asarray(ages), 240))
  expected = [
    (55, 65),
    (55, 65),
    (0, 7),
    (0, 5),
    (234, 240),
    (0, 5),
    (234, 240),
  ]
  for row, (first, end) in zip(found, expected, strict=True):
    assert np.flatnonzero(row).tolist() == list(range(first, end))


def test_sex_adds_a_linear_term():
  layer = head(output='scalar', sex_features=8)
  x = jnp.broadcast_to(features()[:1], (3, 4, 5, 6))
  girl, boy, unknown = np.asarray(layer(x, INPUTS)['age'])
  assert girl != boy
  assert unknown == pytest.approx((girl + boy) / 2, rel=1e-6)
  assert np.ptp(head(output='scalar')(x, INPUTS)['age']) == 0


def test_a_scalar_starts_near_the_mean_age():
  age = head(output='scalar')(jnp.zeros((3, 4, 5, 6)), INPUTS)['age']
  np.testing.assert_allclose(age, 127.3, rtol=1e-6)


def test_wrong_settings():
  with pytest.raises(ValueError, match="'scalar' or 'classes'"):
    head(output='age')
  with pytest.raises(ValueError, match='needs net'):
    head(output='classes')


# In a net.


def test_the_mean_of_the_maps_is_the_logit_behind_average_pooling_only():
  """H5: for maximum pooling this must fail."""
  for pool, holds in (('gap', True), ('cam_mean', True), ('gmp', False)):
    outputs = net(pool=pool)({'image': image(), 'sex': SEX})
    close = np.allclose(
      outputs['maps'].mean((1, 2)), outputs['logits'], 1e-3, 1e-4
    )
    assert close == holds, pool


def test_the_maps_leave_out_the_sex_and_nothing_else():
  built = net(pool='gap', sex_features=16)
  outputs = built({'image': image(), 'sex': SEX})
  left = outputs['logits'] - outputs['maps'].mean((1, 2))
  e = built.age_head.sex(SEX[:, None])
  kernel = built.age_head.fc.kernel[...][-16:]
  np.testing.assert_allclose(left, e @ kernel, 1e-3, 1e-3)


def test_grad_cam_of_the_mean_is_the_relu_of_the_map():
  """G1: grad-CAM == relu(CAM) / (h w), the constant bias left aside."""
  built = net(pool='cam_mean', output='scalar')
  built.age_head.fc.bias[...] = jnp.zeros(1)
  batch = {'image': image(), 'sex': SEX}
  maps, outputs = gradcam.grad_cam(built, batch, target='age')
  positions = maps.shape[1] * maps.shape[2]
  expected = np.maximum(outputs['maps'][..., 0], 0) / positions
  assert expected.max() > 0
  np.testing.assert_allclose(maps, expected, 1e-3, 1e-6)


def test_both_pools_share_their_parameters():
  trees = [
    jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.state(net(pool=p), nnx.Param)))
    for p in cam_head.POOLS
  ]
  assert trees[0] == trees[1]


def test_classes_have_no_age_and_a_convolution_has_no_maps():
  outputs = net(pool='cam', output='classes', classes=4)(
    {'image': image(), 'sex': SEX}
  )
  seen = {'maps', 'attention', 'grid', 'embedding'}
  assert set(outputs) == {'logits'} | seen
  assert outputs['logits'].shape == (3, 4)
  assert outputs['maps'].shape == (3, 6, 6, 4)
  outputs = net(pool='conv_pool', output='scalar')(
    {'image': image(), 'sex': SEX}
  )
  assert set(outputs) == {'age', 'embedding'}
  with pytest.raises(ValueError, match=r"choose one of .'bins', 'scalar'"):
    net(pool='gap', output='classes', classes=4)
