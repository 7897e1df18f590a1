"""What nets read of films, kept for programs that have nets alone."""

import os
from typing import Any

import numpy as np

from boneage_jax.inference import contents


class Dump:
  """Writes an .npz for each time that a model reads a film: 0001.npz, ...

  `NET:VIEW:KEY` is an array that an age net reads in one of its views, and
  `NET:views` their number; `sex` is that of the film, and `age` what the model
  says, months.
  """

  def __init__(self, model: contents.Model, root: str, folder: str):
    """Dump the inputs of a model, loaded from `root`, to a new folder."""
    self._folder, self._count, self._seen = folder, 0, {}
    os.makedirs(folder, exist_ok=True)
    self._names = {
      id(one.net): contents.name(one.net.loaded, root)
      for one in contents.predictors(model)
    }
    contents.watch(model, self._see)

  def __call__(self, sex: str, age: float) -> None:
    """Write what was read since the last film."""
    self._count += 1
    path = os.path.join(self._folder, f'{self._count:04d}.npz')
    np.savez(path, **self._seen, sex=sex, age=age)
    self._seen = {}

  def forget(self) -> None:
    """Leave out what was read since the last film."""
    self._seen = {}

  def _see(self, net: Any, batch: dict, view: int, films: int) -> None:
    name = self._names.get(id(net))  # none of a net that finds regions
    if name is None:
      return
    for key, values in batch.items():
      self._seen[f'{name}:{view}:{key}'] = values
    self._seen[f'{name}:views'] = view + 1
