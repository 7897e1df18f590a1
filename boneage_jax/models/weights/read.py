"""Weight files of Keras (.h5) and PyTorch (.safetensors), read as arrays."""

import os
from typing import Any

import numpy as np

from boneage_jax.core import door
from boneage_jax.models.weights import keras as keras_names
from boneage_jax.models.weights import torch as torch_names


def names_of(path: str) -> Any:
  """Return the module of names that a file's suffix asks for."""
  return torch_names if path.endswith('.safetensors') else keras_names


def _read_h5(path: str, hint: str) -> dict[str, np.ndarray]:
  import h5py

  if not h5py.is_hdf5(path):
    raise ValueError(f'{path!r} is not an HDF5 file; {hint}.')
  weights = {}

  def visit(name, item):
    if isinstance(item, h5py.Dataset):
      weights[name] = item[()]

  try:
    with h5py.File(path, 'r') as file:
      # A whole model saved as .h5 keeps its weights one level down.
      file.get('model_weights', file).visititems(visit)
  except (OSError, RuntimeError, LookupError) as error:
    raise ValueError(
      f'{path!r} is cut or damaged ({door.reason(error)}): fetch it again; '
      f'{hint}.'
    ) from error
  if not weights or any(name.startswith('layers/') for name in weights):
    raise ValueError(
      f'{path!r} holds no weights by layer name (a .weights.h5 of Keras 3 does '
      f"not; save the model as '.h5'); {hint}."
    )
  return dict(keras_names.clean(*item) for item in weights.items())


def _read_safetensors(path: str, hint: str) -> dict[str, np.ndarray]:
  import safetensors.numpy

  try:
    weights = safetensors.numpy.load_file(path)
  except safetensors.SafetensorError as error:
    raise ValueError(
      f'{path!r} is not a safetensors file ({error}); {hint}.'
    ) from error
  except (LookupError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{path!r} has numbers of a kind that NumPy has not ({error}), such as '
      f'float8: save it as float32 or float16; {hint}.'
    ) from error
  return dict(
    torch_names.clean(*item)
    for item in weights.items()
    if not item[0].endswith('.num_batches_tracked')
  )


def read(path: str, architecture: str) -> dict[str, np.ndarray]:
  """Return every weight of a file as `layer/weight` -> array in our layout."""
  names = names_of(path)
  hint = f'it must be {names.SOURCE} file of {architecture}, such as '
  hint += names.FILES[architecture]
  if not os.path.isfile(path):
    raise ValueError(f'There is no weight file {path!r}; {hint}.')
  if names is torch_names:
    return _read_safetensors(path, hint)
  return _read_h5(path, hint)
