"""Nets of a few layers, and what they take."""

from flax import nnx
from ml_collections import ConfigDict
import numpy as np

from boneage_jax import models

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


def output(net, batch):
  net.eval()
  return np.asarray(nnx.jit(lambda n, b: n(b)['age'])(net, batch))
