"""Films of a run turned back, as its orientation stage tells."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from boneage_jax.data import preprocess
from boneage_jax.training import forward
from boneage_jax.training import restore


class OrientationCorrector:
  """Turns films of a run upright, as its stage `stage` tells."""

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load the net; at most `batch_size` films are looked at together."""
    self._input, self._batch_size = config[stage].input, batch_size
    graph, variables = restore.load_net(config, stage, workdir)
    self._variables = jax.device_put(variables, jax.local_devices()[0])
    self._predict = forward.make_predict(graph)
    self._views = forward.views(config[stage])

  def __call__(
    self, records: Sequence[Mapping[str, Any]]
  ) -> list[dict[str, Any]]:
    """Return records as of `sources.film_source`, films upright."""
    probability = np.mean(
      [self._look(records, view) for view in self._views], axis=0
    )
    turns = preprocess.quarter_turns(probability[: len(records)]).tolist()
    return list(map(preprocess.rotate_back, records, turns))

  def _look(
    self, records: Sequence[Mapping[str, Any]], view: np.ndarray
  ) -> np.ndarray:
    as_it_lies = {'label': 0}
    rows = [
      preprocess.make_example({**record, **as_it_lies}, self._input, view=view)
      for record in records
    ]
    rows += rows[-1:] * (self._batch_size - len(rows))
    batch = jax.tree.map(lambda *values: np.stack(values), *rows)
    return jax.device_get(self._predict(self._variables, batch)['probability'])
