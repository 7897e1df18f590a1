"""Shapes, sizes and stages of the backbones."""

import draw
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.backbones import inception_v3
from boneage_jax.models.backbones import resnet
from boneage_jax.models.backbones import xception

InceptionV3 = inception_v3.InceptionV3
Xception = xception.Xception
ResNet = resnet.ResNet


def abstract(backbone, **arguments):
  """Build without memory; return the net and its two trees."""
  net = nnx.eval_shape(lambda: backbone(rngs=nnx.Rngs(0), **arguments))
  _, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)
  return net, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def size(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def map_shape(net, *image):
  image = jax.ShapeDtypeStruct((2, *image), jnp.float32)
  return nnx.eval_shape(lambda net, x: net(x), net, image).shape


@pytest.mark.parametrize(
  'backbone, arguments, trainable, statistics',
  [
    (InceptionV3, {}, 21_768_352, 34_432),
    (Xception, {}, 20_806_952, 54_528),
    (ResNet, {'variant': 'v1.5'}, 23_508_032, 53_120),
    (ResNet, {}, 23_587_712 - 53_120, 53_120),
    (ResNet, {'depth': 18}, 11_176_512, 9_600),
    (ResNet, {'depth': 34}, 21_284_672, 17_024),
    (  # 7 x 7 x 3 weights of each of 64 kernels give way to 5 x 5
      ResNet,
      {'depth': 18, 'stem_kernel': 5, 'stem_pool': False, 'in_channels': 1},
      11_176_512 - 64 * 147 + 64 * 25,
      9_600,
    ),
  ],
)
def test_parameter_counts(backbone, arguments, trainable, statistics):
  _, params, stats = abstract(backbone, **arguments)
  assert size(params) == trainable
  assert size(stats) == statistics


@pytest.mark.parametrize(
  'backbone, arguments, sides, channels',
  [
    (InceptionV3, {}, {300: 8, 480: 13}, 2048),
    (InceptionV3, {'endpoint': 'mixed7'}, {300: 17, 299: 17}, 768),
    (Xception, {}, {300: 10, 560: 18}, 2048),
    (Xception, {'endpoint': 'block12'}, {300: 19}, 728),
    (ResNet, {}, {300: 10, 560: 18}, 2048),
    (ResNet, {'endpoint': 'stage3'}, {300: 19}, 1024),
    (ResNet, {'depth': 18, 'variant': 'v1.5'}, {300: 10}, 512),
    (ResNet, {'depth': 18, 'stem_pool': False}, {100: 7, 101: 7, 300: 19}, 512),
  ],
)
def test_map_shapes(backbone, arguments, sides, channels):
  net, *_ = abstract(backbone, **arguments)
  assert net.channels == net.channels_at(net.stages[-1]) == channels
  for image, side in sides.items():
    assert map_shape(net, image, image, 3) == (2, side, side, channels)


def test_nothing_is_built_behind_the_tap():
  net, params, _ = abstract(Xception, endpoint='block3')
  assert net.stages == ('block1', 'block2', 'block3') == tuple(params)
  with pytest.raises(ValueError, match="'block4' is not one of them"):
    net.channels_at('block4')
  with pytest.raises(ValueError, match="no endpoint 'mixed11'"):
    abstract(InceptionV3, endpoint='mixed11')


def test_width_middle_blocks_and_grey_input():
  net, params, _ = abstract(
    Xception, width=0.25, middle_blocks=2, in_channels=1
  )
  assert net.stages[4:] == ('block5', 'block6', 'block13', 'block14')
  assert net.channels_at('block6') == 184  # 182 to a multiple of 8
  assert params['block1']['conv1']['conv']['kernel'].shape == (3, 3, 1, 8)
  assert map_shape(net, 96, 80, 1) == (2, 3, 3, 512)


@pytest.mark.parametrize(
  'backbone, middle',
  [(InceptionV3, 'mixed1'), (Xception, 'block3'), (ResNet, 'stage2')],
)
def test_halves_make_the_whole(backbone, middle):
  endpoint = {'mixed1': 'mixed3', 'block3': 'block5', 'stage2': 'stage3'}[
    middle
  ]
  net = backbone(width=0.125, endpoint=endpoint, rngs=nnx.Rngs(0))
  net.eval()
  cut = net.stages.index(middle) + 1
  graph, *state = nnx.split(net, nnx.Param, nnx.BatchStat)

  @jax.jit
  def run(state, x):
    net = nnx.merge(graph, *state)
    half = net.run(x, stop=cut)
    return net.features(x), half, net.run(half, start=cut)

  x = draw.normal((2, 75, 75, 3))
  whole, half, joined = run(state, x)
  assert half.shape[-1] == net.channels_at(middle)
  assert float(jnp.abs(whole).max()) > 0
  np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('arguments', [{'depth': 18}, {'depth': 50}])
def test_remat_changes_no_gradient_and_no_statistic(arguments, monkeypatch):
  monkeypatch.setattr(ops, 'FORM', 'native')  # compiles faster
  arguments |= {'width': 0.125, 'endpoint': 'stage1'}
  x = draw.normal((2, 32, 32, 3))
  results = []
  for remat in (False, True):
    net = ResNet(remat=remat, rngs=nnx.Rngs(0), **arguments)
    graph, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)

    def loss(params, stats, graph=graph):
      net = nnx.merge(graph, params, stats, copy=True)
      net.train()
      out = jnp.square(net(x)).mean()
      return out, nnx.to_pure_dict(nnx.state(net, nnx.BatchStat))

    step = jax.jit(jax.grad(loss, has_aux=True))
    results.append(step(nnx.to_pure_dict(params), nnx.to_pure_dict(stats)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    *results,
  )
  start = jax.tree.leaves(nnx.to_pure_dict(stats))
  moved = jax.tree.leaves(results[1][1])
  assert all((a != b).any() for a, b in zip(start, moved, strict=True))


def test_net_built_inside_jit_is_nan():
  make = lambda: layers.Conv(3, 8, 3, rngs=nnx.Rngs(0)).kernel[...]
  assert jnp.isnan(jax.jit(make)()).all()
  limit = np.sqrt(6 / 27)
  assert limit * 0.8 < float(jnp.abs(make()).max()) <= limit


def test_bfloat16_backbone_keeps_float32_parameters():
  net, params, stats = abstract(
    ResNet, depth=18, width=0.125, dtype=jnp.bfloat16
  )
  leaves = jax.tree.leaves((params, stats))
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype('float32')}
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  out = nnx.eval_shape(lambda net, x: net(x), net, image)
  assert out.dtype == jnp.bfloat16


def test_wrong_arguments_are_named():
  with pytest.raises(ValueError, match='depth is one of'):
    abstract(ResNet, depth=101)
  with pytest.raises(ValueError, match='variant'):
    abstract(ResNet, variant='2x2')
  with pytest.raises(ValueError, match='middle_blocks is 0 to 8'):
    abstract(Xception, middle_blocks=9)
  with pytest.raises(ValueError, match="cbam is 'none' or 'blocks'"):
    abstract(ResNet, cbam='all')
  with pytest.raises(ValueError, match='odd stem_kernel of 1 or more, got 4'):
    abstract(ResNet, stem_kernel=4)


def test_torch_form_strides_in_the_3x3():
  """A Keras-form and a torch-form net of equal kernels are not equal."""
  out = []
  x = draw.normal((1, 40, 40, 3))
  for variant in ('v1', 'v1.5'):
    net = ResNet(
      width=0.125,
      endpoint='stage2',
      variant=variant,
      conv_bias=False,
      rngs=nnx.Rngs(0),
    )
    net.eval()
    out.append(nnx.jit(lambda net, x: net(x))(net, x))
    block = net.stage2.block1
    assert block.conv1.conv.stride * block.conv2.conv.stride == 2
  assert out[0].shape == out[1].shape
  assert float(jnp.abs(out[0] - out[1]).max()) > 1e-3


@pytest.mark.parametrize(
  'make, size',
  [
    (
      lambda r: inception_v3.InceptionV3(width=0.1, endpoint='mixed0', rngs=r),
      130,
    ),
    (
      lambda r: resnet.ResNet(depth=18, width=0.2, endpoint='stage2', rngs=r),
      130,
    ),
    (
      lambda r: resnet.ResNet(
        depth=18,
        width=0.2,
        endpoint='stage2',
        stem_kernel=5,
        stem_pool=False,
        rngs=r,
      ),
      90,
    ),
    (lambda r: xception.Xception(width=0.1, endpoint='block3', rngs=r), 120),
    (lambda r: xception.Xception(width=0.1, endpoint='block3', rngs=r), 135),
  ],
)
def test_positions_lie_where_their_receptive_fields_are(make, size):
  net = make(nnx.Rngs(0))
  net.eval()
  hw = (size, size + 21)
  image = draw.normal((1, *hw, 3))
  graph, state = nnx.split(net)
  features = lambda state, x: nnx.merge(graph, state).features(x)
  rows, columns = jax.eval_shape(features, state, image).shape[1:3]
  grid = net.grid_geometry(hw)
  look = lambda x, state, row: jnp.sum(
    jnp.square(features(state, x)[0, row, columns // 2])
  )
  look = jax.jit(jax.grad(look))
  for row in (rows // 2 - 1, rows // 2):
    reach = np.abs(np.asarray(look(image, state, row)))
    for axis, position in ((1, row), (2, columns // 2)):
      seen = np.flatnonzero(reach.sum((0, 3 - axis, 3)))
      assert seen[0] > 0 and seen[-1] < hw[axis - 1] - 1  # inside the image
      centre, (step, first) = (seen[0] + seen[-1] + 1) / 2, grid[axis - 1]
      np.testing.assert_allclose(centre, first + step * position, atol=0.51)
