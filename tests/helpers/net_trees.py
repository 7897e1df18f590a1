"""The trees of a net's parameters and statistics."""

from flax import nnx
import jax
import numpy as np


def split(net):
  graph, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)
  return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def zeros(make):
  """Return a net's trees, filled with zeros: quick, and visibly not loaded."""
  _, params, stats = split(nnx.eval_shape(make))
  fill = lambda tree: jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), tree)
  return fill(params), fill(stats)
