"""Arrays of a net as a safetensors file: numbers and names, no code."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from boneage_jax.core import storage

FILE = 'net.safetensors'  # of a stage of a model file, for its checkpoints


def names(tree: Any) -> list[str]:
  """Name the leaves of a tree in JAX's order, as 'params/backbone/kernel'."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return [
    jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in leaves
  ]


def write(path: str, tree: Any) -> None:
  """Write the arrays of a tree; equal arrays give equal bytes."""
  import safetensors.numpy

  arrays = (np.asarray(leaf, order='C') for leaf in jax.tree.leaves(tree))
  data = safetensors.numpy.save(dict(zip(names(tree), arrays, strict=True)))
  with storage.replacing(path, 'wb') as file:
    file.write(data)


def read(path: str, like: Any) -> Any:
  """Read a tree of arrays with the names, shapes and dtypes of `like`.

  Raises:
    ValueError: the file holds others; names one.
  """
  import safetensors
  import safetensors.numpy

  try:
    with storage.reading(path, 'rb') as file:
      found = safetensors.numpy.load(file.read())
  except safetensors.SafetensorError as error:
    raise ValueError(
      f'{path}: expected a safetensors file ({error}): export the model again.'
    ) from error
  wanted = dict(zip(names(like), jax.tree.leaves(like), strict=True))
  differ = [
    f'{name}: {_kind(found.get(name))} for {_kind(wanted.get(name))}'
    for name in sorted(found.keys() | wanted.keys())
    if _kind(found.get(name)) != _kind(wanted.get(name))
  ]
  if differ:
    raise ValueError(
      f'{path}: expected the arrays of the net of its config, {len(differ)} '
      f'differ (there for here), such as {"; ".join(differ[:4])}: export the '
      'model again with this version.'
    )
  return _like(like, (found[name] for name in wanted))


def _like(tree: Any, leaves: Iterable[np.ndarray]) -> Any:
  return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _kind(array: Any) -> str:
  if array is None:
    return 'nothing'
  return f'{np.dtype(array.dtype).name} {list(array.shape)}'
