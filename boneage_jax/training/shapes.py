"""Shapes of what a net is trained on, without films."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from boneage_jax.core import scalars
from boneage_jax.data import preprocess
from boneage_jax.imaging import png
from boneage_jax.training import features
from boneage_jax.training import step as train_step


def like(
  tree: Any, sharding: jax.sharding.Sharding | None, rows: int = 0
) -> Any:
  """Shapes of a tree's arrays, of `rows` examples each unless 0."""
  lead = (rows,) if rows else ()
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      lead + np.shape(x), x.dtype, sharding=sharding
    ),
    tree,
  )


def batch(
  config: Any,
  stage: str,
  rows: int,
  rng: np.random.Generator | None = None,
  sharding: jax.sharding.Sharding | None = None,
  numbers: Iterable[str] = (),
) -> dict[str, Any]:
  """Shapes of a batch of a stage, those that a film of noise takes.

  Args:
    config, stage: whose net reads the batch.
    rows: films of the batch.
    rng: augments the film, as training does.
    sharding: of the arrays.
    numbers: of `scalars.SCALARS` that films have, besides those that the net
      reads.
  """
  section = config[stage].input
  noise = np.random.default_rng(0).integers(256, size=(8, 8), dtype=np.uint8)
  pixels = {'image': png.encode(noise)}
  if section.crops_from:
    writer = config[section.crops_from]
    chosen = section.regions or writer.get('crops') or writer.regions
    pixels = {'regions': [png.encode(noise)] * len(chosen)}
  if section.get('features_from'):
    pixels = {'features': np.zeros(features.shape(config[stage]), np.float16)}
  inputs = scalars.inputs(train_step.inputs_of(config[stage]))
  record = {
    **pixels,
    **dict.fromkeys(('row', 'sex', 'age', *inputs, *numbers), 0),
  }
  if config[stage].net.get('output') == 'classes':
    record['label'] = 0
  kinds = masks(config[stage]) if rng is not None else ()
  example = preprocess.make_example(record, section, rng, kinds)
  return like(example, sharding, rows)


def masks(section: Any) -> tuple[str, ...]:
  """Return the kinds of masks that guide a stage, () where nothing does."""
  return tuple(section.guidance.mask) if section.guidance.weight else ()
