"""Losses by name, built from the section of a stage.

A loss is `loss(outputs, batch) -> (per_example [B], scalars)`; the caller takes
the mean over valid examples. See the modules here.
"""

import functools
from typing import Any

import jax

from boneage_jax.core import distributed
from boneage_jax.core import extend
from boneage_jax.training.losses import age
from boneage_jax.training.losses import attention
from boneage_jax.training.losses import keypoints
from boneage_jax.training.losses import segmentation

LOSSES: dict[str, age.Loss] = {
  **age.LOSSES,
  'keypoints': keypoints.keypoints,
  'segmentation': segmentation.segmentation,
}
# add(name, loss): one of your own.
add = extend.table('loss', LOSSES, given=('outputs', 'batch'))

# Of each auxiliary head of a net that has some (Szegedy 2015).
AUXILIARY_WEIGHT = 0.3


def parameters(name: str) -> set[str]:
  """Return the names of the parameters that the loss `name` takes."""
  return set(extend.parameters('loss', name))


def arguments(section: Any) -> dict[str, Any]:
  """Return the parameters in `section.loss` that its loss takes.

  Those of another loss, which a config file may leave behind, are dropped.

  Raises:
    ValueError: an unknown loss, or a parameter that no loss has.
  """
  given = section.loss.to_dict()
  name = given.pop('name')
  if name not in LOSSES:
    raise ValueError(
      f'Expected a loss among {sorted(LOSSES)}, got loss.name={name!r}.'
    )
  own = parameters(name)
  unknown = sorted(set(given).difference(*map(parameters, LOSSES)))
  if unknown:
    raise ValueError(
      f'No loss has the parameter {", ".join(unknown)}; loss.name={name!r} '
      f'takes {", ".join(sorted(own)) or "none"}.'
    )
  return {key: value for key, value in given.items() if key in own}


def create(section: Any, guided: bool = False) -> age.Loss:
  """Build the loss of a stage.

  Args:
    section: of the stage: `loss` (`name` and its parameters) and `guidance`.
    guided: add the guidance of attention; the batch then has `region_mask`.
  """
  name, chosen = section.loss.name, arguments(section)
  left = sorted(set(section.loss.keys()) - {'name', *chosen})
  if left:
    distributed.print_once(
      f'loss.name={name!r} does not take {", ".join(left)}, which '
      f'{"is" if len(left) == 1 else "are"} of another loss and dropped.'
    )
  loss = _with_auxiliaries(functools.partial(LOSSES[name], **chosen))
  if guided:
    options = {k: v for k, v in section.guidance.items() if k != 'mask'}
    loss = attention.guided(loss, **options)
  return loss


def _with_auxiliaries(loss: age.Loss) -> age.Loss:
  """Add the loss of each auxiliary head, `aux` of the outputs by name."""

  def total(outputs, batch):
    per_example, scalars = loss(outputs, batch)
    for name, one in outputs.get('aux', {}).items():
      own = loss(one, batch)[0]
      per_example += AUXILIARY_WEIGHT * own
      scalars |= {f'{name}_loss': own}
    return per_example, scalars

  return total


def check_reads(loss: age.Loss, outputs: Any, batch: Any) -> None:
  """Check that a loss computes, and trains all that its net tells.

  Args:
    loss: with its parameters.
    outputs, batch: that it takes, or their shapes; extra outputs are `extra`
      and `raw`.

  Raises:
    ValueError: it does not look at an extra output.
  """
  jaxpr = jax.make_jaxpr(loss)(outputs, batch).jaxpr
  read = {id(var) for step in jaxpr.eqns for var in step.invars}
  named = jax.tree_util.tree_leaves_with_path((outputs, batch))
  told = [
    (path[-1].key, id(var) in read)
    for (path, _), var in zip(named, jaxpr.invars, strict=True)
    if path[1].key in ('extra', 'raw')
  ]
  unread = sorted({name for name, _ in told} - {n for n, seen in told if seen})
  if unread:
    raise ValueError(
      f'Expected a loss that trains {", ".join(unread)} of net.extra_outputs, '
      "got one that does not look at it: take loss.name='age_and_sex' for "
      'p_male, or set net.extra_outputs=().'
    )
