"""Augmentations of a user, drawn behind all others, by name.

One is `augment(image, rng, **parameters) -> image`: uint8 [H, W], a film or a
crop as the net reads it, and a NumPy generator. It may change greys; what moves
pixels would leave masks and points behind.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import extend
from boneage_jax.core import sizes


def unchanged(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Return the image."""
  del rng
  return image


AUGMENTATIONS: dict[str, Callable[..., np.ndarray]] = {'': unchanged}
# add(name, augment): one of your own.
add = extend.table('augment', AUGMENTATIONS, given=('image', 'rng'))


def augment(
  example: Mapping[str, Any], section: Any, rng: np.random.Generator
) -> dict[str, np.ndarray]:
  """Return the pixels of an example, augmented.

  Args:
    example: with `image` [H, W, 1] or `regions` [R, H, W, 1], uint8.
    section: `name` and the parameters of an augmentation.
    rng: the film's own generator.

  Raises:
    ValueError: it is unknown, or gives something else than such an image.
  """
  own = dict(section)
  name = own.pop('name')
  if name not in AUGMENTATIONS:
    raise ValueError(
      f'Expected an augmentation among {sorted(filter(None, AUGMENTATIONS))}, '
      f'got augment.name={name!r}.'
    )
  key = 'image' if 'image' in example else 'regions'
  pixels = example[key].reshape(-1, *example[key].shape[-3:])[..., 0]
  made = [AUGMENTATIONS[name](one.copy(), rng, **own) for one in pixels]
  for one in made:
    if getattr(one, 'dtype', None) != np.uint8 or one.shape != pixels[0].shape:
      raise ValueError(
        f'Expected uint8 {list(pixels[0].shape)} of augment.name={name!r}, got '
        f'{getattr(one, "dtype", type(one).__name__)} '
        f'{list(np.shape(one))}.'
      )
  return {key: np.stack(made).reshape(example[key].shape)}


def check(options: Any, name: str) -> None:
  """Try the augmentation of an input on an image of noise.

  Args:
    options: of the input.
    name: of the section.

  Raises:
    ValueError: it cannot be used; says why, in one line.
  """
  section = options.augment
  for field in ('device_augment', 'features_from'):
    if section.name and options.get(field):
      raise ValueError(
        f'Expected no {name}.{field} with an augmentation of your own, which '
        f'reads the pixels on the host, got {options[field]!r}: change '
        f'--config.{name}.{field} or --config.{name}.augment.name.'
      )
  rng = np.random.default_rng(0)
  shape = (*sizes.training_hw(options), 1)
  noise = rng.integers(256, size=shape, dtype=np.uint8)
  try:
    augment({'image': noise}, section, rng)
  except Exception as error:  # whatever a user's code may raise
    raise ValueError(
      f'{name}.augment.name={section.name!r}: {extend.place(error)}'
      f'{door.reason(error)}'
    ) from error
