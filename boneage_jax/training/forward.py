"""The net in evaluation: the compiled forward pass and its views."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from boneage_jax.core import sizes
from boneage_jax.imaging import geometry
from boneage_jax.models import ops
from boneage_jax.training import restore

Reduce = Callable[[dict, dict], dict[str, jax.Array]]


def age_or_classes(outputs: dict, batch: dict) -> dict[str, jax.Array]:
  """Return `age` [B] and `probability` [B, K] as far as a net has them.

  A scalar net has no probability, and a net of classes no age.
  """
  del batch
  result = {'age': outputs['age']} if 'age' in outputs else {}
  if 'logits' in outputs:
    result['probability'] = jax.nn.softmax(outputs['logits'])
  return result


def make_predict(
  graph: Any, reduce: Reduce = age_or_classes
) -> Callable[[dict, dict], dict[str, jax.Array]]:
  """Compile `predict(variables, batch)`, what `reduce` keeps of each film.

  It runs within the jitted step, so that maps never leave the device.
  """

  def predict(variables, batch):
    return reduce(restore.merge(graph, variables)(batch), batch)

  return jax.jit(predict, compiler_options=ops.compiler_options())


def views(section: Any) -> list[np.ndarray]:
  """Return the matrices, over the net's input, that `tta` asks for."""
  chosen, size = section.tta, sizes.size_hw(section.input.size)
  if not chosen.rotate:
    raise ValueError(
      'Expected tta.rotate to hold one angle or more, got none: '
      '(0.0,) is the film as it is'
    )
  return [
    geometry.view_matrix(size, degrees, mirror)
    for mirror in ((False, True) if chosen.flip else (False,))
    for degrees in chosen.rotate
  ]
