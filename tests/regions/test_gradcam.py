"""Grad-CAM against the closed form of linear heads."""

import draw
from flax import nnx
import jax
from jax import numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import net as net_lib
from boneage_jax.models import two_stream
from boneage_jax.regions import gradcam
from boneage_jax.training.losses import age as age_losses

BINS = 24


class TinyNet(net_lib.Net):
  """A convolution with BatchNorm, a pooling and a linear head."""

  def __init__(self, pool=jnp.mean, dtype=jnp.float32):
    rngs = nnx.Rngs(0)
    self.conv = nnx.Conv(1, 6, (3, 3), strides=2, dtype=dtype, rngs=rngs)
    self.norm = nnx.BatchNorm(6, rngs=rngs)
    self.dense = nnx.Linear(6, BINS, rngs=rngs)
    self.dense.bias[...] = jnp.linspace(-1, 1, BINS)
    self.drop = nnx.Dropout(0.5, rngs=rngs)
    self.pool = pool

  def features(self, batch, rngs=None):
    return jnp.tanh(self.norm(self.conv(batch['image'])))

  def head(self, features, inputs, rngs=None):
    pooled = self.pool(features, axis=(1, 2)) + 0 * inputs['sex'][:, None]
    logits = self.dense(self.drop(pooled))
    return {'logits': logits, 'age': jnp.argmax(logits, -1).astype(float)}


class ScalarNet(TinyNet):
  """The age is one linear output."""

  def head(self, features, inputs, rngs=None):
    return {'age': self.dense(self.pool(features, axis=(1, 2)))[:, 0]}


@pytest.fixture
def image():
  return draw.normal((3, 12, 10, 1), 1)


def films(image):
  return {'image': image, 'sex': jnp.ones(len(image))}


def evaluated(net):
  net.eval()
  return net


def test_average_pool_and_linear_head_is_cam_over_area(image):
  net = evaluated(TinyNet())
  maps, outputs = gradcam.grad_cam(net, films(image), half_window=2)
  features = np.asarray(net.features({'image': image}))
  kernel = np.asarray(net.dense.kernel[...])
  for i in range(3):
    centre = int(np.argmax(outputs['logits'][i]))
    columns = kernel[:, max(0, centre - 2) : centre + 2]
    expected = np.maximum(features[i] @ columns.mean(1), 0) / (6 * 5)
    np.testing.assert_allclose(maps[i], expected, atol=1e-6)
  assert maps.shape == (3, 6, 5) and maps.dtype == jnp.float32
  assert (maps >= 0).all() and (maps > 0).any()


def test_age_target_needs_no_bins(image):
  net = evaluated(ScalarNet())
  maps, outputs = gradcam.grad_cam(net, films(image), target='age')
  kernel = net.dense.kernel[...][:, 0]
  expected = (
    jax.nn.relu(gradcam.cam(net.features({'image': image}), kernel)) / 30
  )
  np.testing.assert_allclose(maps, expected, atol=1e-6)
  assert set(outputs) == {'age'}
  with pytest.raises(ValueError, match="target='age'"):
    gradcam.grad_cam(net, films(image))


def test_probability_target_is_the_closed_form(image):
  net = evaluated(TinyNet())
  maps, outputs = gradcam.grad_cam(
    net, films(image), 'probability', half_window=2
  )
  features = np.asarray(net.features({'image': image}), np.float64)
  kernel = np.asarray(net.dense.kernel[...], np.float64)
  for i in range(3):
    p = np.exp(np.asarray(outputs['logits'][i], np.float64))
    p /= p.sum()
    away = np.arange(BINS) - p.argmax()
    near = (away >= -2) & (away < 2)
    # d log(sum of p over the window) / d logits
    slope = np.where(near, p / p[near].sum(), 0) - p
    expected = np.maximum(features[i] @ kernel @ slope, 0) / (6 * 5)
    np.testing.assert_allclose(maps[i], expected, atol=1e-6)
  assert (maps > 0).any()


@pytest.mark.parametrize('pool, holds', [(jnp.mean, True), (jnp.max, False)])
def test_mean_of_cam_plus_bias_is_the_logit(image, pool, holds):
  net = evaluated(TinyNet(pool))
  features = net.features({'image': image})
  maps = gradcam.cam(features, net.dense.kernel[...])
  logits = net.head(features, {'sex': jnp.ones(3)})['logits']
  sums = maps.mean((1, 2)) + net.dense.bias[...]
  assert np.allclose(sums, logits, atol=1e-5) == holds


def test_a_film_has_the_same_map_alone_and_in_a_batch(image):
  net = evaluated(TinyNet())
  together, _ = gradcam.grad_cam(net, films(image))
  alone, _ = gradcam.grad_cam(net, films(image[1:2]))
  np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


def test_runs_under_jit_and_leaves_the_statistics_alone(image):
  net = evaluated(TinyNet(dtype=jnp.bfloat16))
  before = np.asarray(net.norm.mean[...])
  graphdef, state = nnx.split(net)

  @jax.jit
  def maps_of(state, image):
    return gradcam.grad_cam(nnx.merge(graphdef, state), films(image))

  maps, _ = maps_of(state, image)
  assert maps.dtype == jnp.float32 and np.isfinite(maps).all()
  np.testing.assert_array_equal(before, net.norm.mean[...])


def test_window_is_cut_at_both_ends():
  logits = jnp.arange(10.0)[None].repeat(3, 0)
  outputs = {'logits': logits, 'age': jnp.array([0.0, 4.0, 9.4])}
  score = gradcam.window_score(outputs, half_window=2)
  np.testing.assert_allclose(score, [0.5, 3.5, 8], rtol=1e-6)


def test_no_gradient_through_the_choice_of_the_window():
  def score(age):
    outputs = {'logits': jnp.arange(10.0)[None], 'age': age}
    return gradcam.window_score(outputs).sum()

  assert jax.grad(score)(jnp.array([4.2])) == 0


def test_wrong_kernel_and_target_are_errors(image):
  net = evaluated(TinyNet())
  with pytest.raises(ValueError, match='channels'):
    gradcam.cam(net.features({'image': image}), jnp.ones((7, 2)))
  with pytest.raises(ValueError, match='target'):
    gradcam.grad_cam(net, films(image), target='logit')


def test_hires_cam_is_grad_cam_behind_average_pooling_only():
  class Net(net_lib.Net):
    def __init__(self, reduce, rngs):
      self.reduce = reduce
      self.fc = nnx.Linear(6, 240, rngs=rngs)

    def features(self, batch, rngs=None):
      return batch['image']

    def head(self, features, inputs, rngs=None):
      logits = self.fc(self.reduce(features, axis=(1, 2)))
      return {'age': age_losses.expectation(logits), 'logits': logits}

  image = draw.normal((8, 4, 5, 6), 1)
  for reduce, agree in ((jnp.mean, True), (jnp.max, False)):
    net = Net(reduce, nnx.Rngs(0))
    a, b = (
      gradcam.grad_cam(net, films(image), 'age', method=m)[0]
      for m in gradcam.METHODS
    )
    assert np.asarray(a).any() and np.asarray(b).any()
    assert np.allclose(a, b, rtol=1e-4, atol=1e-4) == agree
    if not agree:  # heat only where some channel has its maximum
      peaks = (image == image.max((1, 2), keepdims=True)).any(-1)
      assert not np.any(np.asarray(b)[~np.asarray(peaks)])


class Located(TinyNet):
  """With the geometry of its map: stride 2 on even sides, 'SAME'."""

  def grid_geometry(self, size_hw):
    assert not any(n % 2 for n in size_hw)
    return ((2, 1.5), (2, 1.5))


@pytest.mark.parametrize('target', ['window', 'probability'])
def test_mirrored_film_gives_the_mirrored_map(target):
  net = evaluated(Located())
  image = draw.normal((3, 12, 12, 1), 2)
  sex = jnp.array([-1.0, 1.0, 0.0])
  look = lambda image, mirror: np.asarray(
    gradcam.input_maps(
      net, {'image': image, 'sex': sex}, target, 'hires_cam', mirror
    )
  )
  maps = look(image, True)
  np.testing.assert_allclose(
    look(image[:, :, ::-1], True), maps[:, :, ::-1], rtol=1e-5, atol=1e-8
  )
  # It is the mean of two one-sided maps, which differ.
  ways = np.stack([look(image, False), look(image[:, :, ::-1], False)])
  ways[1] = ways[1, :, :, ::-1]
  assert not np.allclose(*ways, rtol=1e-2)
  ways /= ways.sum((2, 3), keepdims=True)
  np.testing.assert_allclose(maps, ways.mean(0), rtol=1e-5)


def test_mirrored_map_without_heat_stays_empty():
  net = evaluated(Located(pool=lambda x, axis: 0 * jnp.mean(x, axis)))
  maps = gradcam.input_maps(
    net, films(jnp.ones((2, 12, 12, 1))), 'window', 'grad_cam', True
  )
  assert np.array_equal(maps, np.zeros_like(maps))


@pytest.mark.parametrize('exchange', ['none', 'whole', 'mid'])
def test_streams_have_maps_of_their_own_regions(exchange):
  """What is planted in one region shows in the map of its name alone."""
  tiny = {'name': 'resnet', 'depth': 18, 'width': 0.125, 'endpoint': 'stage2'}
  net = two_stream.TwoStream(
    size=(96, 64),
    carpal=tiny,
    metacarpal=tiny,
    exchange=exchange,
    mid=('stage1', 'stage1'),
    pool='gap',
    output='scalar',
    rngs=nnx.Rngs(0),
  )
  net.eval()
  grid = net.grid_geometry((96, 64))
  regions = np.zeros((1, 2, 96, 64, 1), np.uint8)
  regions[0, 1, 60:76, 10:26] = 255
  batch = {'sex': jnp.zeros(1)}
  features = nnx.jit(lambda net, x: net.features(batch | {'regions': x}))
  empty, seen = (features(net, x) for x in (0 * regions, regions))
  np.testing.assert_array_equal(empty['carpal'], seen['carpal'])
  moved = np.abs(np.asarray(seen['metacarpal'] - empty['metacarpal']))[0].sum(
    -1
  )
  for axis, centre in ((0, 68), (1, 18)):
    step, first = grid['metacarpal'][axis]
    along = first + step * np.arange(moved.shape[axis])
    found = moved.sum(1 - axis) @ along / moved.sum()
    assert abs(found - centre) < step
  maps = nnx.jit(
    lambda net, x: gradcam.input_maps(
      net, batch | {'regions': x}, 'age', 'grad_cam', True
    )
  )(net, regions)
  assert {name: m.shape for name, m in maps.items()} == {
    'carpal': (1, 24, 16),
    'metacarpal': (1, 24, 16),
  }
