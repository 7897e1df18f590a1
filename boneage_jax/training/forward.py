"""The net in evaluation: the compiled forward pass and its views."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
from jax import numpy as jnp
import numpy as np

from boneage_jax import models
from boneage_jax.core import sizes
from boneage_jax.imaging import age_maps
from boneage_jax.imaging import geometry
from boneage_jax.imaging import masks as masks_lib
from boneage_jax.models import ops
from boneage_jax.models.heads import age_map
from boneage_jax.training import restore

Reduce = Callable[[dict, dict], dict[str, jax.Array]]
KEPT = ('age', *age_maps.NAMES)
EXTRA = 'extra/'  # begins the names of numbers that a net tells beside the age


def age_or_classes(outputs: dict, batch: dict) -> dict[str, jax.Array]:
  """Return `age` [B] and `probability` [B, K] as far as a net has them.

  A scalar net has no probability, and a net of classes no age. Of a net that
  gives ages at places also `age_map` [B, h, w], and of one that deforms its map
  `deformation` [B, 2, 3]; of one that tells further numbers these, [B] each,
  see `extra`.
  """
  del batch
  result = {key: outputs[key] for key in KEPT if key in outputs}
  result |= {f'{EXTRA}{n}': x for n, x in outputs.get('extra', {}).items()}
  if 'logits' in outputs:
    result['probability'] = jax.nn.softmax(outputs['logits'])
  return result


def extra(kept: Mapping[str, Any]) -> dict[str, Any]:
  """Return the further numbers among what `age_or_classes` kept, by name."""
  return {
    name.removeprefix(EXTRA): value
    for name, value in kept.items()
    if name.startswith(EXTRA)
  }


def age_and_embedding(outputs: dict, batch: dict) -> dict[str, jax.Array]:
  """Return `age_or_classes`, and the `embedding` [B, C] if a net has one."""
  found = {key: outputs[key] for key in ('embedding',) if key in outputs}
  return age_or_classes(outputs, batch) | found


def points_of_film(outputs: dict, batch: dict) -> dict[str, jax.Array]:
  """Return points of the film instead of the input, and what judges them.

  Returns:
    `points` and `points_true` [B, K, 2], x and y in pixels of the film, NaN
    where nobody said; `film_hw` [B, 2] and `hand_length` [B], such pixels.
  """
  linear, offset = jnp.split(batch['to_film'], [2], -1)
  offset = offset[:, None, :, 0]
  # Not a product of matrices: those are rounded to few bits on accelerators.
  back = lambda p: jnp.sum(linear[:, None] * p[:, :, None], -1) + offset
  return {
    'points': back(outputs['points']),
    'points_true': back(batch['points']),
    'film_hw': batch['film_hw'],
    'hand_length': batch['hand_length'],
  }


def make_mask_views(
  graph: Any,
) -> Callable[[dict, dict], dict[str, jax.Array]]:
  """Compile `predict(variables, batch)` of a net of masks, in two views.

  It returns `found` and `mirrored`, uint8 [B, H, W], 255 times the probability
  that a pixel is inside, of the film and of its mirror image, mirrored back;
  and `drawn` [B], the share of the input that readers marked.
  """

  @jax.jit
  def predict(variables, batch):
    net = restore.merge(graph, variables)
    image = batch['image']
    found = jax.nn.sigmoid(net(batch)['mask'])
    turned = net({**batch, 'image': image[:, :, ::-1]})['mask']
    mirrored = jax.nn.sigmoid(turned)[:, :, ::-1]
    to_8_bit = lambda x: jnp.rint(255 * x).astype(jnp.uint8)
    inside = batch['region_mask'] == masks_lib.INSIDE
    area = jnp.mean(inside.astype(jnp.float32), (1, 2))
    return {
      'found': to_8_bit(found),
      'mirrored': to_8_bit(mirrored),
      'drawn': area,
    }

  return predict


def make_predict(
  graph: Any, reduce: Reduce = age_or_classes
) -> Callable[[dict, dict], dict[str, jax.Array]]:
  """Compile `predict(variables, batch)`, what `reduce` keeps of each film.

  It runs within the jitted step, so that maps never leave the device.
  """

  def predict(variables, batch):
    return reduce(restore.merge(graph, variables)(batch), batch)

  return jax.jit(predict, compiler_options=ops.compiler_options())


def make_answers(graph: Any) -> Callable[[dict, dict], dict[str, jax.Array]]:
  """Compile `predict(variables, batch)`, what is said of new films."""
  return make_predict(graph, age_and_embedding)


def make_features(graph: Any) -> Callable[[dict, dict], dict[str, jax.Array]]:
  """Compile `predict(variables, batch)`, the `features` of a batch of films."""

  @jax.jit
  def predict(variables, batch):
    net = restore.merge(graph, variables)
    found = age_map.moving_mean(net.features(batch), net.pool.window_hw)
    return {'features': found.astype(jnp.float16)}

  return predict


def places(section: Any) -> age_maps.Places | None:
  """Return where the ages of a stage's map lie on its input.

  Returns:
    None of a net that gives no map of ages, and where the map is not one of
    whole films as they are: of crops, or in other views.
  """
  net, tta = section.net, section.tta
  if net.name != 'age_net' or net.get('pool') not in age_map.POOLS:
    return None
  if tta.flip or tuple(tta.rotate) != (0.0,) or section.input.crops_from:
    return None
  size = sizes.training_hw(section.input)
  made = nnx.eval_shape(lambda: models.create(net, size=size))
  film_hw = sizes.size_hw(section.input.size)
  return age_maps.Places(
    film_hw, *made.age_places(film_hw), section.input.resize
  )


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
