"""ConvNeXt: sizes, a block in NumPy, dropped paths, where positions lie."""

import math

import draw
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import age_net
from boneage_jax.models import ops
from boneage_jax.models import two_stream
from boneage_jax.models.backbones import convnext

ConvNeXt = convnext.ConvNeXt


def abstract(**arguments):
  """Build without memory; return the net and its parameters."""
  net = nnx.eval_shape(lambda: ConvNeXt(rngs=nnx.Rngs(0), **arguments))
  _, params = nnx.split(net, nnx.Param)
  return net, nnx.to_pure_dict(params)


def size(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  'arguments, parameters',  # as Keras counts them, without the top
  [
    ({}, 27_820_128),
    ({'variant': 'small'}, 49_454_688),
    ({'variant': 'base'}, 87_566_464),
    ({'endpoint': 'stage4'}, 27_820_128 - 2 * 768),
  ],
)
def test_parameter_counts(arguments, parameters):
  net, params = abstract(**arguments)
  assert size(params) == parameters
  last = params.get('norm') or params['stage4']['block1']['norm']
  assert net.channels == last['scale'].size


def test_map_shapes():
  for endpoint, hwc, shape in [
    (None, (224, 224, 3), (2, 7, 7, 768)),
    ('stage3', (300, 100, 3), (2, 18, 6, 384)),
    ('stem', (32, 32, 3), (2, 8, 8, 96)),
  ]:
    net, params = abstract(endpoint=endpoint)
    image = jax.ShapeDtypeStruct((2, *hwc), jnp.float32)
    assert nnx.eval_shape(lambda net, x: net(x), net, image).shape == shape
    assert tuple(net.stages) == tuple(sorted(params, key=net.stages.index))
  net, params = abstract(width=0.25, in_channels=1, dtype=jnp.bfloat16)
  assert net.channels == 192 and net.channels_at('stage1') == 24
  image = jax.ShapeDtypeStruct((1, 64, 64, 1), jnp.float32)
  out = nnx.eval_shape(lambda net, x: net(x), net, image)
  assert out.shape == (1, 2, 2, 192) and out.dtype == jnp.bfloat16
  assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype('float32')}


def normalise(x, scale, bias):
  mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
  return (x - mean) / np.sqrt(var + 1e-6) * scale + bias


def test_block_is_the_papers():
  """Equal to NumPy in float64, loop by loop."""
  block = convnext.Block(4, 0.5, 0.0, jnp.float32, nnx.Rngs(0))
  rng = np.random.default_rng(0)
  draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32)
  graph, params = nnx.split(block, nnx.Param)
  params = jax.tree.map(draw, nnx.to_pure_dict(params))
  x = rng.normal(size=(2, 5, 6, 4))
  ours = nnx.merge(graph, params)(jnp.asarray(x, jnp.float32))

  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
  y = np.zeros_like(x)
  for i in range(7):
    for j in range(7):
      tap = p['depthwise']['kernel'][i, j, 0]
      y += padded[:, i : i + 5, j : j + 6] * tap
  y = normalise(y + p['depthwise']['bias'], **p['norm'])
  y = y @ p['expand']['kernel'] + p['expand']['bias']
  y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
  y = y @ p['contract']['kernel'] + p['contract']['bias']
  wanted = x + p['layer_scale'] * y
  np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4)


def test_last_stage_normalises_every_position():
  net = ConvNeXt(width=0.05, rngs=nnx.Rngs(0))
  raw = np.random.default_rng(0).normal(size=(1, 2, 3, net.channels))
  ours = net.run(jnp.asarray(raw, jnp.float32), start=net.stages.index('norm'))
  np.testing.assert_allclose(ours, normalise(raw, 1, 0), atol=1e-4)


def test_paths_are_dropped_film_by_film():
  block = convnext.Block(8, 1.0, 0.25, jnp.float32, nnx.Rngs(0))
  x = draw.normal((64, 3, 3, 8))
  block.eval()
  path = np.asarray(block(x) - x)
  block.train()
  dropped = np.asarray(block(x, nnx.Rngs(1)) - x)
  kept = np.abs(dropped).max((1, 2, 3)) > 0
  assert 0.5 < kept.mean() < 0.95
  wanted = np.where(kept[:, None, None, None], path / 0.75, 0)
  np.testing.assert_allclose(dropped, wanted, rtol=1e-4, atol=1e-5)
  other = np.asarray(block(x, nnx.Rngs(2)) - x)
  assert (kept != (np.abs(other).max((1, 2, 3)) > 0)).any()


def test_rates_grow_to_the_last_block():
  net, _ = abstract(drop_path=0.34)
  rates = [
    getattr(getattr(net, f'stage{s}'), f'block{b}').drop.rate
    for s, count in enumerate((3, 3, 9, 3), 1)
    for b in range(1, count + 1)
  ]
  np.testing.assert_allclose(rates, 0.02 * np.arange(18), atol=1e-12)


def test_remat_drops_the_same_paths(monkeypatch):
  monkeypatch.setattr(ops, 'FORM', 'native')  # compiles faster
  x = draw.normal((8, 16, 16, 3))
  gradients = []
  for remat in (False, True):
    net = ConvNeXt(
      width=0.05,
      endpoint='stage1',
      layer_scale=1.0,
      remat=remat,
      rngs=nnx.Rngs(0),
    )
    net.stage1.block3.drop.rate = 0.5
    graph, params = nnx.split(net, nnx.Param)

    def loss(params, graph=graph):
      net = nnx.merge(graph, params)
      net.train()
      return jnp.square(net(x, nnx.Rngs(3))).mean()

    gradients.append(jax.jit(jax.grad(loss))(nnx.to_pure_dict(params)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    *gradients,
  )


@pytest.mark.parametrize('size', [130, 133])
def test_positions_lie_where_their_receptive_fields_are(size):
  net = ConvNeXt(
    width=0.05, endpoint='stage1', layer_scale=1.0, rngs=nnx.Rngs(0)
  )
  hw = (size, size - 9)
  image = draw.normal((1, *hw, 3))
  grid = net.grid_geometry(hw)
  response = lambda x, row: jnp.sum(jnp.square(net(x)[0, row, 16]))
  gradient = jax.jit(jax.grad(response))
  for row in (12, 17):
    reach = np.abs(np.asarray(gradient(image, row)))
    for axis, position in ((1, row), (2, 16)):
      seen = np.flatnonzero(reach.sum((0, 3 - axis, 3)))
      assert seen[0] > 0 and seen[-1] < hw[axis - 1] - 1  # inside the image
      centre, (step, first) = (seen[0] + seen[-1] + 1) / 2, grid[axis - 1]
      np.testing.assert_allclose(centre, first + step * position, atol=0.01)
  net, _ = abstract()
  assert net.grid_geometry(hw) == ((32, 16.0), (32, 16.0))


def test_nets_hand_over_what_drops_paths():
  films = draw.greys((32, 2, 32, 32, 1))
  films, sex = films.astype(jnp.uint8), jnp.ones(32)
  stream = {'name': 'convnext', 'width': 0.1, 'endpoint': 'stage1'}
  stream |= {'layer_scale': 1.0, 'drop_path': 0.99}  # 0, 0.06, 0.12
  options = {'size': 32, 'pool': 'gap', 'rngs': nnx.Rngs(0)}
  single = age_net.AgeNet(backbone=stream, **options)
  options |= {'exchange': 'mid', 'mid': ('stem', 'stem')}
  double = two_stream.TwoStream(carpal=stream, metacarpal=stream, **options)
  batch = {'image': films[:, 0], 'regions': films, 'sex': sex}
  for net in (single, double):
    net.train()
    age = nnx.jit(lambda net, rngs: net(batch, rngs)['age'])
    one, same, other = (np.asarray(age(net, nnx.Rngs(i))) for i in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    with pytest.raises(ValueError, match='rngs'):
      nnx.eval_shape(lambda net: net(batch), net)
    net.eval()
    nnx.eval_shape(lambda net: net(batch), net)


def test_wrong_arguments_are_named():
  with pytest.raises(ValueError, match=r"one of tiny, .*, not 'nano'"):
    abstract(variant='nano')
  with pytest.raises(ValueError, match="no endpoint 'stage5'"):
    abstract(endpoint='stage5')
