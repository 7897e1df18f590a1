"""What a net costs, from shapes alone: parameters, memory, operations."""

from collections.abc import Iterator
import dataclasses
import functools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from boneage_jax.data import device_augment
from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.training import losses
from boneage_jax.training import optimizers
from boneage_jax.training import shapes
from boneage_jax.training import step as train_step

ROWS = 2  # films of the batch that is looked at
# Of what the backward pass asks for, XLA keeps this share: it computes again
# what is cheap, and keeps once what several operations ask for. Measured with
# `train_compile` for TPU v5p, see docs/how-to/dry_run.md.
KEPT = 0.6


@dataclasses.dataclass(frozen=True)
class Footprint:
  """What training a net costs.

  Attributes:
    parameters: how many the net has.
    variables: bytes of parameters and statistics, which predict.
    state: bytes of the train state, which a checkpoint holds.
    gradients: bytes of the gradients.
    film: bytes that a film of the batch holds until the backward pass; an
      estimate.
    flops: operations of one film forward; a product and a sum are two.
  """

  parameters: int
  variables: int
  state: int
  gradients: int
  film: int
  flops: float

  def memory(self, films: int) -> int:
    """Bytes that a device needs for a step of so many films; an estimate."""
    return self.state + self.gradients + films * self.film


def measure(config: Any, stage: str) -> Footprint:
  """Follow one film through the net, the loss and back, as shapes.

  Raises:
    ValueError: net, loss and batch do not fit.
  """
  section = config[stage]
  net, size = train_step.net_of(section)
  fields = ('loss', 'guidance', 'freeze_statistics')
  batch = shapes.batch(config, stage, ROWS, np.random.default_rng(0))
  leaves, tree = jax.tree.flatten(batch)
  given = ml_collections.FrozenConfigDict({k: section[k] for k in fields})
  net = ml_collections.FrozenConfigDict(net)
  film, flops = _trace(net, size, given, tuple(leaves), tree)
  rule = ml_collections.FrozenConfigDict(section.optimizer)
  parameters, gradients, statistics, averages = _sizes(net, size, rule)
  variables = gradients + statistics
  return Footprint(
    parameters=parameters,
    variables=variables,
    state=variables + averages + (gradients if section.ema else 0),
    gradients=gradients,
    film=film,
    flops=flops,
  )


@functools.lru_cache(256)  # as of `_trace`
def _sizes(
  net: Any, size: tuple[int, int], rule: Any
) -> tuple[int, int, int, int]:
  """Return how many parameters, and bytes of these, statistics, and averages.

  Averages are the state of the update rule.
  """
  _, params, stats = train_step.abstract_net(net, size)
  created, _ = optimizers.create(rule, params, 1000)
  averages = jax.eval_shape(created.init, params)
  count = lambda tree: sum(_bytes(x) for x in jax.tree.leaves(tree))
  number = sum(x.size for x in jax.tree.leaves(params))
  return number, count(params), count(stats), count(averages)


@functools.lru_cache(256)  # stages and presets share nets
def _trace(
  net: Any, size: tuple[int, int], given: Any, leaves: tuple, tree: Any
) -> tuple[int, float]:
  """Return bytes that a film holds, and its operations forward."""
  graph, params, stats = train_step.abstract_net(net, size)
  guided = bool(shapes.masks(given))

  def backward(params, stats, batch):
    loss = functools.partial(_loss, graph, given, guided, stats, batch)
    return jax.vjp(loss, params)[1]

  form, ops.FORM = ops.FORM, 'native'  # operations of the method, not of a CPU
  try:
    batch = jax.tree.unflatten(tree, leaves)
    traced = jax.jit(backward).trace(params, stats, batch)
    flops = traced.lower().cost_analysis()['flops']
  finally:
    ops.FORM = form
  kept = round(KEPT * sum(_kept(traced.jaxpr.jaxpr)) / ROWS)
  return kept, flops / ROWS


def _loss(graph, section, guided, stats, batch, params):
  """Return the loss of a batch, as a training step has it."""
  batch = device_augment.finish(batch)
  net = nnx.merge(graph, params, stats, copy=True)
  net.train()
  if section.freeze_statistics:
    layers.set_batch_norms(net, use_running_average=True)
  outputs = net(batch, rngs=nnx.Rngs(0))
  loss, _ = losses.create(section, guided)(outputs, batch)
  return jnp.sum(loss) + outputs.get('penalty', 0.0)


def _kept(jaxpr: Any) -> Iterator[int]:
  """Yield the bytes of each array that a program returns and computed."""
  given = set(map(id, (*jaxpr.invars, *jaxpr.constvars)))
  made = {id(one): one for one in jaxpr.outvars if not hasattr(one, 'val')}
  return (_bytes(one.aval) for i, one in made.items() if i not in given)


def _bytes(array: Any) -> int:
  return array.size * array.dtype.itemsize
