"""Bone age assessment from hand radiographs in JAX.

  import boneage_jax as ba

  run = ba.load('runs/cascade_phantom')
  run.predict(['film.png'], sex='F')

docs/how-to/python.md says what else there is.
"""

import importlib

__version__ = '0.1.0'

_OF_API = ('Run', 'contact_sheet', 'load')


def __getattr__(name: str) -> object:
  # As late as this: processes that decode films need no JAX.
  if name in _OF_API:
    return getattr(importlib.import_module('boneage_jax.api'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return [*globals(), *_OF_API]
