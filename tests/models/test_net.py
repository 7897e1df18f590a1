"""The age net and the two streams."""

from flax import nnx
import jax
from jax import numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_nets

from boneage_jax import models
from boneage_jax.models import layers
from boneage_jax.models import net as net_lib
from boneage_jax.models import two_stream
from boneage_jax.models.backbones import resnet
from boneage_jax.training import step as train_step


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
      nets.append(tiny_nets.age_net(backbone=backbone))
      stems = [nets[-1].backbone.block1.conv1.conv]
    else:
      nets.append(
        tiny_nets.streams(carpal=backbone, metacarpal=backbone, exchange='none')
      )
      stems = [
        net.block1.conv1.conv for net in (nets[-1].carpal, nets[-1].metacarpal)
      ]
    if channels == 1:
      grey = stems
    for stem, one in zip(stems, grey, strict=True):
      stem.kernel[...] = jnp.repeat(one.kernel[...], channels, 2) / channels
  batch = tiny_nets.regions()
  batch['image'] = batch['regions'][:, 0]
  one, three = (tiny_nets.output(net, batch) for net in nets)
  np.testing.assert_allclose(one, three, rtol=1e-5)
  assert np.ptp(one) > 0


# Exchange.


# Whole nets.


def test_shapes_at_300():
  kinds = {'carpal': {'name': 'xception'}, 'metacarpal': {'name': 'resnet'}}
  mid = ('block12', 'stage3')
  net = nnx.eval_shape(
    lambda: tiny_nets.streams(
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
  batch = {
    'image': tiny_nets.regions()['regions'][:, 0],
    'sex': tiny_nets.regions()['sex'],
  }
  net = tiny_nets.age_net(attention='cbam')
  net.eval()

  @nnx.jit
  def two(net, batch):
    outputs = net.head(net.features(batch), net.scalars(batch))
    return outputs['age'], net(batch)['age']

  np.testing.assert_array_equal(*two(net, batch))


@pytest.mark.parametrize('sex_features', [0, 4])
def test_a_net_declares_the_scalars_that_its_head_takes(sex_features):
  batch = {'image': tiny_nets.regions()['regions'][:, 0], 'age': np.zeros(3)}
  for pool in ('gap', 'cam'):
    net = tiny_nets.age_net(pool=pool, sex_features=sex_features)
    if sex_features:
      with pytest.raises(KeyError, match='sex'):
        net.scalars(batch)
    else:
      assert net.scalars(batch) == {}
      assert nnx.eval_shape(lambda n, b: n(b)['age'], net, batch).shape == (3,)


@pytest.mark.parametrize('pool', ['gap', 'conv_pool', 'cam'])
def test_films_need_not_be_square(pool):
  """Mapped on 96 x 128, a net sees what lies where on both axes."""
  net = tiny_nets.age_net(size=(96, 128), pool=pool)
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
      tiny_nets.age_net(size=(96, 128), pool=pool)(batch)['grid'],
      net.grid_geometry((96, 128)),
    )
  else:
    channels = net.pool.conv.kernel.shape[-1]
    assert net.pool.out_features == 3 * 4 * channels


def test_bfloat16_computes_in_it_and_gives_float32():
  net = tiny_nets.streams(exchange='channel', dtype='bfloat16', output='bins')
  features, outputs = nnx.eval_shape(
    lambda n, b: (n.features(b), n(b)), net, tiny_nets.regions()
  )
  assert {x.dtype for x in features.values()} == {jnp.dtype('bfloat16')}
  assert {x.dtype for x in outputs.values()} == {jnp.dtype('float32')}
  leaves = jax.tree.leaves(train_step.split(net)[1:])
  assert {x.dtype for x in leaves} == {jnp.dtype('float32')}


@pytest.mark.parametrize('momentum', [0.9, 0.5])
def test_momentum_is_that_of_every_batch_norm(momentum):
  net = tiny_nets.age_net(momentum=momentum)
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


def test_momentum_reaches_batch_norms_of_flax(monkeypatch):
  class Foreign(nnx.Module):
    def __init__(self, size, rngs):
      self.norms = nnx.List([nnx.BatchNorm(3, rngs=rngs)])

  monkeypatch.setitem(models.NETS, 'foreign', Foreign)
  config = ConfigDict({'name': 'foreign', 'bn_momentum': 0.5})
  assert models.create(config, size=8).norms[0].momentum == 0.5


@pytest.mark.parametrize('dtype', ['float16', 'float64'])
def test_nets_are_not_trained_in_every_dtype(dtype):
  with pytest.raises(ValueError, match=f"net.dtype='{dtype}' is none"):
    tiny_nets.age_net(dtype=dtype)
  assert tiny_nets.age_net(dtype='bfloat16').backbone.stem.conv.bn.dtype


def test_maps_lie_where_the_backbone_says_or_nowhere(monkeypatch):
  monkeypatch.setattr(resnet.ResNet, 'receptive_fields', None)
  with pytest.raises(ValueError, match='ResNet does not say where'):
    tiny_nets.age_net()
  fields = {'stem': ((7, 2, 3),)}  # the pool and a stride are left out
  monkeypatch.setattr(resnet.ResNet, 'receptive_fields', fields)
  batch = tiny_nets.regions() | {'image': np.zeros((3, 32, 32, 1), np.uint8)}
  message = r'of \(32, 32\) pixels gives .* \(16, 16\) .* it has \(4, 4\)'
  for build in (
    tiny_nets.age_net,
    lambda: tiny_nets.age_net(pool='cam'),
    lambda: tiny_nets.streams(exchange='none'),
  ):
    with pytest.raises(ValueError, match=message):
      tiny_nets.output(build(), batch)


def test_momentum_zero_keeps_the_backbones_own():
  norms = [
    m
    for _, m in nnx.iter_modules(tiny_nets.age_net(momentum=0.0))
    if isinstance(m, layers.BatchNorm)
  ]
  assert {n.momentum for n in norms} == {0.99}


def test_the_seed_gives_the_net():
  same, again, other = (
    jax.tree.leaves(train_step.split(tiny_nets.age_net(seed=s))[1])
    for s in (1, 1, 2)
  )
  for a, b in zip(same, again, strict=True):
    np.testing.assert_array_equal(a, b)
  assert any((a != b).any() for a, b in zip(same, other, strict=True))


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (
      lambda: tiny_nets.age_net(name='agenet'),
      r"net.name='agenet' .*'age_net'",
    ),
    (
      lambda: tiny_nets.age_net(backbone={'name': 'vgg'}),
      r"'vgg' .*'xception'",
    ),
    (lambda: tiny_nets.age_net(attention='se'), "'none' or 'cbam'"),
    (
      lambda: tiny_nets.age_net(pool='mean'),
      "'gap', 'gmp', 'conv_pool' or 'mlp'",
    ),
    (
      lambda: tiny_nets.age_net(pool='conv_pool'),
      r'needs 5 x 5; enlarge input.size',
    ),
    (
      lambda: tiny_nets.age_net(output='months'),
      "'bins', 'scalar', 'standardized'",
    ),
    (lambda: tiny_nets.age_net(readout='median'), "'expectation' or 'argmax'"),
    (lambda: tiny_nets.streams(exchange='all'), r"'all' is unknown.*'whole'"),
    (
      lambda: tiny_nets.streams(carpal=tiny_nets.TINY | {'width': 0.25}),
      "exchange='whole' needs equal maps",
    ),
    (
      lambda: tiny_nets.streams(exchange='mid', mid=('block12', 'stage3')),
      "'block12' is not one of them",
    ),
    (
      lambda: nnx.eval_shape(
        lambda: tiny_nets.streams(exchange='mid', mid=('stage1', 'stage2'))(
          tiny_nets.regions()
        )
      ),
      'needs maps of one size',
    ),
  ],
)
def test_wrong_settings_are_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_an_embedding_is_the_mean_over_positions_of_all_maps():
  rng = np.random.default_rng(0)
  one, two = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 6, 2, 7))
  np.testing.assert_allclose(
    net_lib.embedding(one.astype(np.float32)),
    one.reshape(2, 12, 5).mean(1),
    rtol=1e-4,
    atol=1e-6,
  )
  both = net_lib.embedding({'carpal': one, 'metacarpal': two})
  expected = np.hstack([one.mean((1, 2)), two.mean((1, 2))])
  np.testing.assert_allclose(both, expected, rtol=1e-4, atol=1e-6)
  assert both.dtype == np.float32


def test_a_joint_layer_has_no_map_of_ages():
  image = jnp.zeros((1, 64, 64, 1), jnp.uint8)
  batch = {'image': image, 'sex': jnp.ones(1)}
  plain, joint = (
    set(tiny_nets.age_net(joint_features=n)(batch)) for n in (0, 4)
  )
  assert plain - joint == {'maps', 'attention', 'grid'}
  with pytest.raises(ValueError, match='joint_features=4, got'):
    tiny_nets.age_net(joint_features=4, pool='cam', output='scalar')
