"""Nets that compute their maps again: equal gradients, less that is kept."""

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_nets

from boneage_jax import models
from boneage_jax.models import ops

SIZE, FILMS = 16, 2
NETS = {
  'age_net': dict(backbone=tiny_nets.TINY),
  'region_channels': dict(backbone=tiny_nets.TINY),
  'two_stream': dict(
    carpal=tiny_nets.TINY, metacarpal=tiny_nets.TINY, pool='gap'
  ),
  'unet': dict(width=0.25, levels=2),
  'point_unet': dict(width=0.25, levels=2, points=2),
  'keypoint_net': dict(width=0.25, features=8, points=2),
}
# Two stages of two blocks for each backbone, two levels down and one up.
BLOCKS = dict(zip(NETS, (4, 4, 8, 3, 3, 3), strict=True))
TOLD = {'unet': 'mask', 'point_unet': 'points', 'keypoint_net': 'points'}


def gradient_of(name, remat):
  """Return the gradient as a function, and the variables that it takes."""
  config = ConfigDict(NETS[name] | {'name': name, 'bn_momentum': 0.5})
  config.remat = remat
  net = models.create(config, size=SIZE)
  graph, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.integers(0, 256, (FILMS, *shape), dtype=np.uint8)
  batch = {'image': draw(SIZE, SIZE, 1), 'regions': draw(2, SIZE, SIZE, 1)}
  batch['sex'] = np.ones(FILMS, np.float32)

  def loss(params, stats):
    net = nnx.merge(graph, params, stats, copy=True)
    net.train()
    told = net(batch)[TOLD.get(name, 'age')]
    stats = nnx.to_pure_dict(nnx.state(net, nnx.BatchStat))
    return jnp.mean(jnp.square(told)), stats

  variables = nnx.to_pure_dict(params), nnx.to_pure_dict(stats)
  return jax.grad(loss, has_aux=True), variables


@pytest.mark.parametrize(
  'name',
  [
    name
    if name in ('age_net', 'keypoint_net')
    else pytest.param(name, marks=pytest.mark.ci)
    for name in models.NETS
  ],
)
def test_every_net_keeps_only_what_blocks_take(name):
  counts = {}
  for remat in (False, True):
    gradient, variables = gradient_of(name, remat)
    program = jax.make_jaxpr(gradient)(*variables)
    names = [equation.primitive.name for equation in program.eqns]
    counts[remat] = names.count('checkpoint') + names.count('remat2')
  assert counts == {False: 0, True: BLOCKS[name]}


@pytest.mark.ci
@pytest.mark.parametrize('name', ['keypoint_net', 'unet'])  # others: backbones
def test_gradients_and_statistics_are_equal(name, monkeypatch):
  monkeypatch.setattr(ops, 'FORM', 'native')  # compiles faster
  (kept, statistics), (again, other) = (
    jax.jit(gradient)(*variables)
    for gradient, variables in (gradient_of(name, r) for r in (False, True))
  )
  scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(kept))
  assert scale > 0
  for one, two in ((kept, again), (statistics, other)):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, 1e-3, 1e-5 * scale),
      one,
      two,
    )
