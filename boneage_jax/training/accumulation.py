"""Gradients of a batch that goes through the net in slices, one by one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def check(section: Any, stage: str) -> None:
  """Check the field `accumulate` of a stage against its batch and devices.

  Raises:
    ValueError: slices that cannot be; names the field.
  """
  slices, devices = section.accumulate, jax.device_count()
  if slices == 1:
    return
  if slices < 1 or section.batch_size % (slices * devices):
    raise ValueError(
      f'Expected {stage}.accumulate of 1 (off), or more slices that share out '
      f'{stage}.batch_size={section.batch_size} evenly on {devices} devices, '
      f'got {slices}: change --config.{stage}.accumulate or .batch_size.'
    )


def value_and_grad(loss: Callable, slices: int) -> Callable:
  """Return the value and the gradient of a loss, the mean of those of slices.

  A slice is every `slices`-th film, so that each device works on its own films.
  Where the statistics of BatchNorm are frozen, and the loss judges each film by
  itself, the means are those of the whole batch. Else the statistics go from
  slice to slice: they are of fewer films, and move once for each slice.

  Args:
    loss: `loss(params, stats, batch, key, count)`, a sum over films divided by
      `count`, and as auxiliary output the new statistics and a dict of scalars.
    slices: how many; 1 differentiates the loss as it is.

  Returns:
    function of the same arguments, of ((value, (stats, scalars)), gradient).
  """
  whole = jax.value_and_grad(loss, has_aux=True)
  if slices == 1:
    return whole

  def mean_of_slices(params, stats, batch, key, count):
    def add(carry, part):
      stats, total = carry
      number, films = part
      (value, (stats, scalars)), gradient = whole(
        params, stats, films, jax.random.fold_in(key, number), count / slices
      )
      return (stats, jax.tree.map(jnp.add, total, gradient)), (value, scalars)

    start = (stats, jax.tree.map(jnp.zeros_like, params))
    parts = (jnp.arange(slices), jax.tree.map(lambda x: cut(x, slices), batch))
    (stats, total), seen = jax.lax.scan(add, start, parts)
    value, scalars = jax.tree.map(lambda x: jnp.mean(x, 0), seen)
    gradient = jax.tree.map(lambda x: x / slices, total)
    return (value, (stats, scalars)), gradient

  return mean_of_slices


def cut(x: jax.Array, slices: int) -> jax.Array:
  """Cut an array [B, ...] into its slices: [slices, B / slices, ...].

  Raises:
    ValueError: the films can't be shared out.
  """
  films, rest = divmod(len(x), slices)
  if rest:
    raise ValueError(
      f'Expected a batch that {slices} slices share out evenly, got {len(x)} '
      'films: change batch_size or accumulate.'
    )
  return jnp.moveaxis(x.reshape(films, slices, *x.shape[1:]), 1, 0)
