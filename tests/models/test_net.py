"""The age net and the two streams."""

import copy

from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax import models
from boneage_jax.models import layers
from boneage_jax.models import two_stream
from boneage_jax.training import step as train_step

SIZE = 32
TINY = {'name': 'resnet', 'depth': 18, 'width': 0.125, 'endpoint': 'stage2'}


def age_net(size=SIZE, seed=0, momentum=0.9, **changes):
  fields = {'name': 'age_net', 'backbone': TINY, 'bn_momentum': momentum}
  return models.create(ConfigDict(fields | changes), size=size, seed=seed)


def streams(size=SIZE, seed=0, **changes):
  fields = {
    'name': 'two_stream',
    'carpal': TINY,
    'metacarpal': TINY,
    'pool': 'gap',
    'output': 'scalar',
    'bn_momentum': 0.9,
  }
  return models.create(ConfigDict(fields | changes), size=size, seed=seed)


def regions(films=3, size=SIZE, seed=0):
  rng = np.random.default_rng(seed)
  return {
    'regions': rng.integers(0, 256, (films, 2, size, size, 1), dtype=np.uint8),
    'sex': np.array([-1, 1, 0], np.float32)[:films],
  }


def maps(seed=0, shape=(2, 3, 3, 5)):
  keys = jax.random.split(jax.random.key(seed), 4)
  scales = [jax.random.uniform(k, shape[-1:], minval=-1) for k in keys[2:]]
  return [jax.random.normal(k, shape) for k in keys[:2]] + scales


def output(net, batch):
  net.eval()
  return np.asarray(nnx.jit(lambda n, b: n(b)['age'])(net, batch))


@pytest.mark.parametrize('name', ['age_net', 'two_stream'])
def test_a_grey_backbone_is_one_whose_channels_add_up(name):
  nets = []
  for channels in (1, 3):
    backbone = {
      'name': 'xception',
      'width': 0.25,
      'endpoint': 'block1',
      'in_channels': channels,
    }
    if name == 'age_net':
      nets.append(age_net(backbone=backbone))
      stems = [nets[-1].backbone.block1.conv1.conv]
    else:
      nets.append(
        streams(carpal=backbone, metacarpal=backbone, exchange='none')
      )
      stems = [
        net.block1.conv1.conv for net in (nets[-1].carpal, nets[-1].metacarpal)
      ]
    if channels == 1:
      grey = stems
    for stem, one in zip(stems, grey, strict=True):
      stem.kernel[...] = jnp.repeat(one.kernel[...], channels, 2) / channels
  batch = regions()
  batch['image'] = batch['regions'][:, 0]
  one, three = (output(net, batch) for net in nets)
  np.testing.assert_allclose(one, three, rtol=1e-5)
  assert np.ptp(one) > 0


# Exchange.


def test_exchange_at_the_ends_of_the_threshold():
  a, b, scale_a, scale_b = maps()
  none = two_stream.exchange_channels(a, b, scale_a, scale_b, 0.0)
  whole = two_stream.exchange_channels(a, b, scale_a, scale_b, np.inf)
  np.testing.assert_array_equal(none, (a, b))
  np.testing.assert_array_equal(whole, (b, a))


def test_exchanging_the_whole_twice_is_the_identity():
  a, b, scale_a, scale_b = maps()
  once = two_stream.exchange_channels(a, b, scale_a, scale_b, np.inf)
  twice = two_stream.exchange_channels(*once, scale_b, scale_a, np.inf)
  np.testing.assert_array_equal(twice, (a, b))


def test_only_dead_channels_are_replaced():
  a, b, *_ = maps()
  scale_a = jnp.array([0.0, 1.0, -0.01, -1.0, 0.03])
  scale_b = jnp.array([1.0, 1.0, 1.0, 0.01, 1.0])
  new_a, new_b = two_stream.exchange_channels(a, b, scale_a, scale_b, 0.02)
  for c, (from_b, from_a) in enumerate(
    zip([1, 0, 1, 0, 0], [0, 0, 0, 1, 0], strict=True)
  ):
    np.testing.assert_array_equal(new_a[..., c], (b if from_b else a)[..., c])
    np.testing.assert_array_equal(new_b[..., c], (a if from_a else b)[..., c])


@pytest.mark.parametrize('threshold', [0.0, np.inf])
def test_the_net_at_the_ends_of_the_threshold(threshold):
  batch = regions()
  net = streams(exchange='channel', threshold=threshold)
  plain = streams(exchange='whole' if threshold else 'none')
  for name in ('carpal', 'metacarpal', 'age_head'):
    nnx.update(getattr(plain, name), nnx.state(getattr(net, name)))
  # In evaluation the fresh BatchNorm of 'channel' divides by sqrt(1 + eps).
  np.testing.assert_allclose(output(net, batch), output(plain, batch), 1e-3)
  assert np.ptp(output(net, batch)) > 0


def test_swapped_heads_undo_the_whole_exchange():
  none = streams(exchange='none', pool='conv_pool', size=40)
  whole = streams(exchange='whole', pool='conv_pool', size=40)
  batch = regions(2, 40)
  nnx.update(whole, nnx.state(none))
  assert not np.allclose(output(whole, batch), output(none, batch), 1e-3)
  swapped = [nnx.state(p) for p in none.pools]
  for pool, state in zip(whole.pools, swapped[::-1], strict=True):
    nnx.update(pool, state)
  kernel = none.age_head.fc.kernel[...]
  n = none.pools[0].out_features
  whole.age_head.fc.kernel[...] = jnp.concatenate(
    [kernel[n : 2 * n], kernel[:n], kernel[2 * n :]]
  )
  np.testing.assert_allclose(output(whole, batch), output(none, batch), 1e-4)


@pytest.mark.parametrize('exchange', two_stream.EXCHANGES)
def test_gradients_reach_both_backbones(exchange):
  wide = TINY | {'width': 0.25 if exchange == 'mid' else 0.125}
  net = streams(exchange=exchange, mid=('stage1', 'stage1'), metacarpal=wide)
  graph, params, stats = train_step.split(net)

  def loss(params):
    net = nnx.merge(graph, params, stats, copy=True)
    net.train()
    return jnp.sum(net(regions())['age'])

  grads = jax.jit(jax.grad(loss))(params)
  for name in ('carpal', 'metacarpal'):
    first = jax.tree.leaves(grads[name]['stem'])
    assert all(np.isfinite(g).all() for g in first)
    assert max(np.abs(g).max() for g in first) > 0
  if exchange == 'mid':
    leaves = jax.tree.leaves(grads['projections'])
    assert len(leaves) == 4 and all(np.abs(g).max() > 0 for g in leaves)


def test_penalty_is_the_sum_of_the_scales():
  net = streams(exchange='channel', penalty=0.5)
  net.norms[0].scale[...] *= -3
  channels = net.carpal.channels
  maps = dict.fromkeys(two_stream.STREAMS, jnp.zeros((1, 4, 4, channels)))
  inputs = {'sex': jnp.zeros(1)}
  outputs = net.head(maps, inputs)
  assert float(outputs['penalty']) == pytest.approx(0.5 * (3 + 1) * channels)
  assert 'penalty' not in streams(exchange='whole').head(maps, inputs)


def test_streams_see_their_own_region():
  net = streams(exchange='none')
  batch = regions()
  other = copy.deepcopy(batch)
  other['regions'][:, 1] = 0
  net.eval()
  features = nnx.jit(lambda net, x: net.features(x))
  before, after = (features(net, x) for x in (batch, other))
  np.testing.assert_array_equal(before['carpal'], after['carpal'])
  assert not np.allclose(before['metacarpal'], after['metacarpal'])


# Whole nets.


def test_shapes_at_300():
  kinds = {'carpal': {'name': 'xception'}, 'metacarpal': {'name': 'resnet'}}
  mid = ('block12', 'stage3')
  net = nnx.eval_shape(
    lambda: streams(
      300, exchange='mid', mid=mid, pool='conv_pool', output='bins', **kinds
    )
  )
  assert [p.out_features for p in net.pools] == [1024, 1024]
  assert net.age_head.fc.kernel.shape == (2048 + 32, 240)
  assert net.projections[0].kernel.shape == (1024, 728)

  def run(net, image, sex):
    halves, ends = [], []
    for stream, name in zip((net.carpal, net.metacarpal), mid, strict=True):
      cut = stream.stages.index(name) + 1
      halves.append(stream.run(image, stop=cut))
      ends.append(stream.run(halves[-1], start=cut))
    maps = dict(zip(two_stream.STREAMS, ends[::-1], strict=True))
    return halves, ends, net.head(maps, {'sex': sex})

  image = jax.ShapeDtypeStruct((2, 300, 300, 3), jnp.float32)
  sex = jax.ShapeDtypeStruct((2,), jnp.float32)
  halves, ends, outputs = nnx.eval_shape(run, net, image, sex)
  assert [x.shape for x in halves] == [(2, 19, 19, 728), (2, 19, 19, 1024)]
  assert [x.shape for x in ends] == [(2, 10, 10, 2048)] * 2
  assert outputs['age'].shape == (2,) and outputs['logits'].shape == (2, 240)


def test_head_of_features_is_the_net():
  batch = {'image': regions()['regions'][:, 0], 'sex': regions()['sex']}
  net = age_net(attention='cbam')
  net.eval()

  @nnx.jit
  def two(net, batch):
    outputs = net.head(net.features(batch), net.scalars(batch))
    return outputs['age'], net(batch)['age']

  np.testing.assert_array_equal(*two(net, batch))


@pytest.mark.parametrize('sex_features', [0, 4])
def test_a_net_declares_the_scalars_that_its_head_takes(sex_features):
  batch = {'image': regions()['regions'][:, 0], 'age': np.zeros(3)}
  for pool in ('gap', 'cam'):
    net = age_net(pool=pool, sex_features=sex_features)
    if sex_features:
      with pytest.raises(KeyError, match='sex'):
        net.scalars(batch)
    else:
      assert net.scalars(batch) == {}
      assert nnx.eval_shape(lambda n, b: n(b)['age'], net, batch).shape == (3,)


@pytest.mark.parametrize('pool', ['gap', 'conv_pool', 'cam'])
def test_films_need_not_be_square(pool):
  """Mapped on 96 x 128, a net sees what lies where on both axes."""
  net = age_net(size=(96, 128), pool=pool)
  batch = {
    'image': np.zeros((1, 96, 128, 1), np.uint8),
    'sex': np.zeros(1, np.float32),
  }
  features, outputs = nnx.eval_shape(
    lambda n, b: (n.features(b), n(b)), net, batch
  )
  assert features.shape[1:3] == (12, 16)
  if pool != 'conv_pool':
    assert outputs['maps'].shape[1:3] == (12, 16)
    np.testing.assert_array_equal(
      age_net(size=(96, 128), pool=pool)(batch)['grid'],
      net.grid_geometry((96, 128)),
    )
  else:
    channels = net.pool.conv.kernel.shape[-1]
    assert net.pool.out_features == 3 * 4 * channels


def test_bfloat16_computes_in_it_and_gives_float32():
  net = streams(exchange='channel', dtype='bfloat16', output='bins')
  features, outputs = nnx.eval_shape(
    lambda n, b: (n.features(b), n(b)), net, regions()
  )
  assert {x.dtype for x in features.values()} == {jnp.dtype('bfloat16')}
  assert {x.dtype for x in outputs.values()} == {jnp.dtype('float32')}
  leaves = jax.tree.leaves(train_step.split(net)[1:])
  assert {x.dtype for x in leaves} == {jnp.dtype('float32')}


@pytest.mark.parametrize('momentum', [0.9, 0.5])
def test_momentum_is_that_of_every_batch_norm(momentum):
  net = age_net(momentum=momentum)
  norms = [
    m for _, m in nnx.iter_modules(net) if isinstance(m, layers.BatchNorm)
  ]
  assert len(norms) == 10 and {n.momentum for n in norms} == {momentum}
  before = np.asarray(norms[0].mean[...])
  net.train()
  x = jnp.ones((2, 3, 3, len(before)))
  norms[0](x)
  np.testing.assert_allclose(
    norms[0].mean[...], momentum * before + 1 - momentum, 1e-5
  )


def test_momentum_zero_keeps_the_backbones_own():
  norms = [
    m
    for _, m in nnx.iter_modules(age_net(momentum=0.0))
    if isinstance(m, layers.BatchNorm)
  ]
  assert {n.momentum for n in norms} == {0.99}


def test_the_seed_gives_the_net():
  same, again, other = (
    jax.tree.leaves(train_step.split(age_net(seed=s))[1]) for s in (1, 1, 2)
  )
  for a, b in zip(same, again, strict=True):
    np.testing.assert_array_equal(a, b)
  assert any((a != b).any() for a, b in zip(same, other, strict=True))


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: age_net(name='agenet'), r"net.name='agenet' .*'age_net'"),
    (lambda: age_net(backbone={'name': 'vgg'}), r"'vgg' .*'xception'"),
    (lambda: age_net(attention='se'), "'none' or 'cbam'"),
    (lambda: age_net(pool='mean'), "'gap', 'gmp' or 'conv_pool'"),
    (lambda: age_net(pool='conv_pool'), r'needs 5 x 5; enlarge input.size'),
    (lambda: age_net(output='months'), "'bins', 'scalar', 'standardized'"),
    (lambda: age_net(readout='median'), "'expectation' or 'argmax'"),
    (lambda: streams(exchange='all'), r"'all' is unknown.*'whole'"),
    (
      lambda: streams(carpal=TINY | {'width': 0.25}),
      "exchange='whole' needs equal maps",
    ),
    (
      lambda: streams(exchange='mid', mid=('block12', 'stage3')),
      "'block12' is not one of them",
    ),
    (
      lambda: nnx.eval_shape(
        lambda: streams(exchange='mid', mid=('stage1', 'stage2'))(regions())
      ),
      'needs maps of one size',
    ),
  ],
)
def test_wrong_settings_are_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
