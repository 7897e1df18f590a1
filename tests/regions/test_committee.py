"""How much two nets of masks differ, by hand and under a change of names."""

import functools

import draw
import jax
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax import models
from boneage_jax.regions import committee
from boneage_jax.training import step as train_step


def test_maps_are_compared_as_a_share_of_what_either_has():
  one = np.zeros((3, 4, 4), np.float32)
  other = one.copy()
  one[:, :2], other[0, :2] = 1, 1  # equal
  other[1, 2:] = 1  # apart
  other[2, 1:3] = 0.5  # 4 x 0.5 shared, of 8 + 4 x 0.5
  found = committee.of_maps(one, other)
  np.testing.assert_allclose(found, [0, 1, 1 - 2 / 10], atol=1e-6)


def test_features_are_compared_by_their_cosine():
  one, other = (np.asarray(draw.normal((2, 3, 3, 4), seed)) for seed in (0, 1))
  a, b = one.reshape(2, -1), other.reshape(2, -1)
  cosine = (
    (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
  )
  np.testing.assert_allclose(
    committee.of_features(one, other), 1 - cosine, rtol=1e-5
  )
  equal = committee.of_features(one, one)
  np.testing.assert_allclose(equal, 0, atol=1e-6)  # a cosine of 1


@functools.cache
def nets():
  """Two nets of different seeds, and one with the first's channels shuffled."""
  section = ConfigDict(
    dict(name='unet', width=0.125, levels=2, bn_momentum=0.0)
  )
  graph, one, stats = train_step.split(models.create(section, size=16, seed=0))
  _, other, _ = train_step.split(models.create(section, size=16, seed=1))
  channels = one['mask']['kernel'].shape[2]
  order = np.random.default_rng(0).permutation(channels)

  def shuffled(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    if name == 'mask/kernel':
      return leaf[:, :, order]
    return leaf[..., order] if name.startswith('join/0/1/') else leaf

  rename = lambda tree: jax.tree_util.tree_map_with_path(shuffled, tree)
  pack = lambda params: {'params': params, 'batch_stats': stats}
  renamed = {'params': rename(one), 'batch_stats': rename(stats)}
  return graph, pack(one), pack(other), renamed


@pytest.mark.parametrize('measure', ['maps', 'features'])
def test_only_the_masks_of_nets_tell_whether_they_are_one(measure):
  graph, one, other, renamed = nets()
  predict = committee.make_predict(graph, measure)
  batch = {'image': draw.greys((4, 16, 16, 1))}
  of = lambda *pair: np.asarray(predict(pair, batch)['dissimilarity'])
  np.testing.assert_allclose(of(one, one), 0, atol=1e-5)
  assert (of(one, other) > 1e-3).all()
  if measure == 'maps':  # the same net with its channels in another order
    np.testing.assert_allclose(of(one, renamed), 0, atol=1e-5)
  else:  # it seems to be as another one: the cosine of names, not of masks
    assert (of(one, renamed) > 0.3 * of(one, other)).all()
    assert (of(one, renamed) > 0.01).all()
