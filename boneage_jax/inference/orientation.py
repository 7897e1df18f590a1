"""Rotated films turned back, by the net of a run's orientation stage."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from boneage_jax.data import preprocess
from boneage_jax.training import forward
from boneage_jax.training import restore


class OrientationCorrector:
  """Turns films upright, by the net of an orientation stage."""

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load the net of `stage`; it sees at most `batch_size` films at a time."""
    self._input, self._batch_size = config[stage].input, batch_size
    graph, variables = restore.load_net(config, stage, workdir)
    self._variables = jax.device_put(variables, jax.local_devices()[0])
    self._predict = forward.make_predict(graph)
    self._views = forward.views(config[stage])

  def __call__(
    self, records: Sequence[Mapping[str, Any]]
  ) -> list[dict[str, Any]]:
    """Return records as of `sources.film_source`, films upright.

    Those that were turned back have `rotation_deg`.
    """
    each = [self._probability(records, view) for view in self._views]
    probability = np.mean(each, axis=0)[: len(records)]
    turns = preprocess.quarter_turns(probability).tolist()
    return list(map(preprocess.rotate_back, records, turns))

  def _probability(
    self, records: Sequence[Mapping[str, Any]], view: np.ndarray
  ) -> np.ndarray:
    """Return [batch_size, 4], that a film is rotated by so many quarters."""
    as_it_is = {'label': 0}  # not rotated before the net sees it
    rows = [
      preprocess.make_example({**record, **as_it_is}, self._input, view=view)
      for record in records
    ]
    rows += rows[-1:] * (self._batch_size - len(rows))
    batch = jax.tree.map(lambda *values: np.stack(values), *rows)
    return jax.device_get(self._predict(self._variables, batch)['probability'])
