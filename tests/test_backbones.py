"""Shapes, sizes and stages of the backbones; layers against plain JAX."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import inception_v3
from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models import resnet
from boneage_jax.models import xception

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
    (ResNet, {'stride_in': '3x3'}, 23_508_032, 53_120),
    (ResNet, {}, 23_587_712 - 53_120, 53_120),
    (ResNet, {'depth': 18}, 11_176_512, 9_600),
    (ResNet, {'depth': 34}, 21_284_672, 17_024),
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
    (InceptionV3, {'tap': 'mixed7'}, {300: 17, 299: 17}, 768),
    (Xception, {}, {300: 10, 560: 18}, 2048),
    (Xception, {'tap': 'block12'}, {300: 19}, 728),
    (ResNet, {}, {300: 10, 560: 18}, 2048),
    (ResNet, {'tap': 'stage3'}, {300: 19}, 1024),
    (ResNet, {'depth': 18, 'stride_in': '3x3'}, {300: 10}, 512),
  ],
)
def test_map_shapes(backbone, arguments, sides, channels):
  net, *_ = abstract(backbone, **arguments)
  assert net.channels == net.channels_at(net.stages[-1]) == channels
  for image, side in sides.items():
    assert map_shape(net, image, image, 3) == (2, side, side, channels)


def test_nothing_is_built_behind_the_tap():
  net, params, _ = abstract(Xception, tap='block3')
  assert net.stages == ('block1', 'block2', 'block3') == tuple(params)
  with pytest.raises(ValueError, match="'block4' is not one of them"):
    net.channels_at('block4')
  with pytest.raises(ValueError, match="no tap 'mixed11'"):
    abstract(InceptionV3, tap='mixed11')


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
  tap = {'mixed1': 'mixed3', 'block3': 'block5', 'stage2': 'stage3'}[middle]
  net = backbone(width=0.125, tap=tap, rngs=nnx.Rngs(0))
  net.eval()
  cut = net.stages.index(middle) + 1
  graph, *state = nnx.split(net, nnx.Param, nnx.BatchStat)

  @jax.jit
  def run(state, x):
    net = nnx.merge(graph, *state)
    half = net.run(x, stop=cut)
    return net.features(x), half, net.run(half, start=cut)

  x = jax.random.normal(jax.random.key(0), (2, 75, 75, 3))
  whole, half, joined = run(state, x)
  assert half.shape[-1] == net.channels_at(middle)
  assert float(jnp.abs(whole).max()) > 0
  np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('arguments', [{'depth': 18}, {'depth': 50}])
def test_remat_changes_no_gradient_and_no_statistic(arguments):
  arguments |= {'width': 0.125, 'tap': 'stage2'}
  x = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
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


def both_forms(monkeypatch, function, *args):
  """Return value and gradients of the two forms of an operation."""
  out = []
  for form in ('shifted', 'native'):
    monkeypatch.setattr(ops, 'FORM', form)
    weight = lambda y: jnp.cos(jnp.arange(y.size, dtype=y.dtype))

    def loss(*args, weight=weight):
      y = function(*args)
      return (y.ravel() * weight(y)).sum(), y

    grad = jax.value_and_grad(loss, tuple(range(len(args))), has_aux=True)
    (_, value), gradients = jax.jit(grad)(*args)
    out.append((value, gradients))
  return out


def outer(kernel):
  """Return a [1, 1, 6, 6] kernel that depends on all of a [3, 3, 1, 6]."""
  rows = kernel.reshape(9, 6)
  return (rows.T @ rows)[None, None]


@pytest.mark.parametrize('hw', [(7, 10), (8, 5)])
@pytest.mark.parametrize(
  'operation',
  [
    lambda x, k: ops.convolve(x, outer(k), 1),
    lambda x, k: ops.convolve(x, outer(k), 2),
    ops.depthwise,
    lambda x, k: ops.max_pool(x, 3, 2) * k[:1, :1],
    lambda x, k: ops.max_pool(x, 3, 2, 'SAME') * k[:1, :1],
    lambda x, k: ops.max_pool(x, 3, 2, 1) * k[:1, :1],
    lambda x, k: ops.avg_pool(x, 3, 1, 'SAME') * k[:1, :1],
    lambda x, k: ops.avg_pool(x, 3, 2, 'VALID') * k[:1, :1],
  ],
)
def test_forms_agree(monkeypatch, operation, hw):
  x = jax.random.normal(jax.random.key(0), (2, *hw, 6))
  kernel = jax.random.normal(jax.random.key(1), (3, 3, 1, 6))
  ours, native = both_forms(monkeypatch, operation, x, kernel)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    ours,
    native,
  )


def test_same_average_leaves_the_padding_out():
  ones = jnp.ones((1, 4, 5, 1))
  np.testing.assert_allclose(ops.avg_pool(ones, 3, 1, 'SAME'), 1, atol=1e-6)
  x = jnp.arange(20.0).reshape(1, 4, 5, 1)
  corner = ops.avg_pool(x, 3, 1, 'SAME')[0, 0, 0, 0]
  np.testing.assert_allclose(corner, (0 + 1 + 5 + 6) / 4)


def test_unknown_form_is_refused(monkeypatch):
  monkeypatch.setattr(ops, 'FORM', 'fast')
  with pytest.raises(ValueError, match="not 'fast'"):
    ops.use_shifted()


def test_depthwise_gradient_under_a_sharded_batch():
  x = jax.random.normal(jax.random.key(0), (jax.device_count() * 2, 6, 6, 4))
  kernel = jax.random.normal(jax.random.key(1), (3, 3, 1, 4))
  loss = lambda k, x: jnp.square(ops.depthwise(x, k)).mean()
  whole = jax.jit(jax.grad(loss))(kernel, x)
  mesh = jax.make_mesh(
    (jax.device_count(),), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  spec = jax.sharding.PartitionSpec('data')
  x = jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
  sharded = jax.jit(jax.grad(loss))(kernel, x)
  np.testing.assert_allclose(sharded, whole, rtol=1e-5, atol=1e-6)


def test_batch_norm_statistics_stay_float32():
  norm = layers.BatchNorm(3, eps=1e-3, momentum=0.9, dtype=jnp.bfloat16)
  x = 100 + jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
  norm.train()
  y = norm(x.astype(jnp.bfloat16))
  assert y.dtype == jnp.bfloat16
  assert norm.mean[...].dtype == norm.scale[...].dtype == jnp.float32
  values = np.asarray(x.astype(jnp.bfloat16), np.float64)
  mean, var = values.mean((0, 1, 2)), values.var((0, 1, 2))
  np.testing.assert_allclose(norm.mean[...], 0.1 * mean, rtol=1e-5)
  np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * var, rtol=1e-4)
  norm.eval()
  before = norm.mean[...]
  before, var = np.asarray(before), np.asarray(norm.var[...])
  wanted = (values - before) / np.sqrt(var + 1e-3)
  np.testing.assert_allclose(norm(x.astype(jnp.bfloat16)), wanted, rtol=1e-2)
  np.testing.assert_array_equal(norm.mean[...], before)


def test_bfloat16_backbone_keeps_float32_parameters():
  net, params, stats = abstract(
    ResNet, depth=18, width=0.125, dtype=jnp.bfloat16
  )
  leaves = jax.tree.leaves((params, stats))
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype('float32')}
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  out = nnx.eval_shape(lambda net, x: net(x), net, image)
  assert out.dtype == jnp.bfloat16


def test_preprocess():
  grey = jnp.asarray([0, 255], jnp.uint8).reshape(1, 1, 2, 1)
  tf = layers.preprocess(grey, 'tf')
  assert tf.shape == (1, 1, 2, 3) and tf.dtype == jnp.float32
  np.testing.assert_array_equal(tf[0, 0, :, 0], [-1, 1])
  colour = jnp.asarray([10, 20, 30], jnp.uint8).reshape(1, 1, 1, 3)
  np.testing.assert_allclose(
    layers.preprocess(colour, 'caffe')[0, 0, 0],
    [30 - 103.939, 20 - 116.779, 10 - 123.68],
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    layers.preprocess(colour, 'torch')[0, 0, 0, 0],
    (10 / 255 - 0.485) / 0.229,
    rtol=1e-5,
  )
  assert layers.preprocess(grey, 'caffe', channels=1).shape == (1, 1, 2, 1)
  with pytest.raises(ValueError, match='in_channels=3'):
    layers.preprocess(colour, 'tf', channels=1)
  with pytest.raises(ValueError, match="not 'keras'"):
    layers.preprocess(grey, 'keras')


def test_wrong_arguments_are_named():
  with pytest.raises(ValueError, match='depth is one of'):
    abstract(ResNet, depth=101)
  with pytest.raises(ValueError, match='stride_in'):
    abstract(ResNet, stride_in='2x2')
  with pytest.raises(ValueError, match='middle_blocks is 0 to 8'):
    abstract(Xception, middle_blocks=9)
  with pytest.raises(ValueError, match="cbam is 'none' or 'blocks'"):
    abstract(ResNet, cbam='all')


def test_torch_form_strides_in_the_3x3():
  """A Keras-form and a torch-form net of equal kernels are not equal."""
  out = []
  x = jax.random.normal(jax.random.key(0), (1, 40, 40, 3))
  for stride_in in ('1x1', '3x3'):
    net = ResNet(
      width=0.125,
      tap='stage2',
      stride_in=stride_in,
      conv_bias=False,
      rngs=nnx.Rngs(0),
    )
    net.eval()
    out.append(nnx.jit(lambda net, x: net(x))(net, x))
    block = net.stage2.block1
    assert block.conv1.conv.stride * block.conv2.conv.stride == 2
  assert out[0].shape == out[1].shape
  assert float(jnp.abs(out[0] - out[1]).max()) > 1e-3


def test_max_pool_matches_flax():
  x = jax.random.normal(jax.random.key(0), (1, 9, 9, 2))
  wanted = nnx.max_pool(x, (3, 3), (2, 2))
  np.testing.assert_array_equal(ops.max_pool(x, 3, 2), wanted)


@pytest.mark.parametrize(
  'make, size',
  [
    (lambda r: inception_v3.InceptionV3(width=0.1, tap='mixed0', rngs=r), 130),
    (lambda r: resnet.ResNet(depth=18, width=0.2, tap='stage2', rngs=r), 130),
    (lambda r: xception.Xception(width=0.1, tap='block3', rngs=r), 120),
    (lambda r: xception.Xception(width=0.1, tap='block3', rngs=r), 135),
  ],
)
def test_cells_look_where_their_receptive_fields_are(make, size):
  net = make(nnx.Rngs(0))
  net.eval()
  image = jax.random.normal(jax.random.key(0), (1, size, size, 3))
  rows = net.features(image).shape[1]
  step, first = net.cells(size)
  for row in (rows // 2 - 1, rows // 2):
    reach = jax.grad(
      lambda x, row=row: jnp.sum(jnp.square(net.features(x)[0, row, rows // 2]))
    )(image)
    seen = np.flatnonzero(np.abs(np.asarray(reach)).sum((0, 2, 3)))
    assert seen[0] > 0 and seen[-1] < size - 1  # a field inside the image
    centre = (seen[0] + seen[-1] + 1) / 2
    np.testing.assert_allclose(centre, first + step * row, atol=0.51)
