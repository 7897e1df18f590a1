"""Ages of new films by regressors on what frozen nets see (Pan 2020)."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.inference import net
from boneage_jax.models import regressors
from boneage_jax.training import forward


class Regression:
  """Used like a `net.Net`, of a stage with the job `fit_regressors`.

  Attributes:
    arrays: of the regressors, by name.
    nets: that say what these read.
  """

  places = None  # it gives one age of all of a film
  inputs = ('sex',)

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load the nets and the arrays.

    Raises:
      ValueError: the stage has not run.
    """
    path = stages.path(workdir, stage, stages.REGRESSORS)
    if not storage.exists(path):
      raise ValueError(
        f'Expected {path}, found none: run the stage {stage!r} first.'
      )
    with np.load(storage.reading(path, 'rb')) as file:
      self.arrays = {name: file[name] for name in file.files}
    self.nets = [
      net.Net(config, name, workdir, batch_size, forward.make_features)
      for name in config[stage].features_from
    ]

  def __call__(
    self, records: Sequence[Mapping[str, Any]]
  ) -> dict[str, np.ndarray]:
    """Return `age` [N], months, of at most `batch_size` records."""
    seen = [one(records)['features'] for one in self.nets]
    sex = np.array([record['sex'] for record in records])
    joined = regressors.join(seen, sex)
    return {'age': regressors.predict(self.arrays, joined)[regressors.MEAN]}
