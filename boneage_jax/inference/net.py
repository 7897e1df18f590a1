"""The net of a stage on one device, for a few films at a time."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from boneage_jax.data import preprocess
from boneage_jax.imaging import age_maps
from boneage_jax.training import forward
from boneage_jax.training import restore


class Net:
  """Predicts records as the stage's own evaluation does.

  `places` says where the ages of its map lie, see `forward.places`.
  """

  def __init__(
    self,
    config: Any,
    stage: str,
    workdir: str,
    batch_size: int,
    make_predict: Callable[[Any], Callable] = forward.make_predict,
  ):
    """Load the best net of `stage`; it sees `batch_size` films at a time.

    `make_predict` compiles what is kept of its graph's outputs.
    """
    self._input, self._batch_size = config[stage].input, batch_size
    graph, self._variables = load(config, stage, workdir)
    self._predict = make_predict(graph)
    self._views = forward.views(config[stage])
    self.places = forward.places(config[stage])

  def __call__(
    self, records: Sequence[Mapping[str, Any]]
  ) -> dict[str, np.ndarray]:
    """Return the outputs of at most `batch_size` records, mean over views.

    Args:
      records: as of `sources.film_source` or `sources.crop_source`.

    Returns:
      What the compiled function gives, [N, ...]; no map of ages that does not
      lie on films, see `forward.places`.
    """
    each = [self._outputs(records, view) for view in self._views]
    mean = lambda name: np.mean([one[name] for one in each], axis=0)
    left_out = age_maps.NAMES if self.places is None else ()
    return {
      name: mean(name)[: len(records)]
      for name in each[0]
      if name not in left_out
    }

  def _outputs(
    self, records: Sequence[Mapping[str, Any]], view: np.ndarray
  ) -> dict[str, np.ndarray]:
    """Return the outputs on one view, padded to the batch size."""
    rows = [
      preprocess.make_example(record, self._input, view=view)
      for record in records
    ]
    rows += rows[-1:] * (self._batch_size - len(rows))
    batch = jax.tree.map(lambda *values: np.stack(values), *rows)
    return jax.device_get(self._predict(self._variables, batch))


def load(config: Any, stage: str, workdir: str) -> tuple[Any, dict]:
  """Load a net to one device: for few films, copies would only compete."""
  graph, variables = restore.load_net(config, stage, workdir)
  return graph, jax.device_put(variables, jax.local_devices()[0])
