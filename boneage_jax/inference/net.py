"""The net of a stage on one device, for a few films at a time."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from boneage_jax.core import stages
from boneage_jax.data import preprocess
from boneage_jax.imaging import age_maps
from boneage_jax.training import forward
from boneage_jax.training import restore
from boneage_jax.training import step as train_step

Batch = dict[str, np.ndarray]


class Loaded(NamedTuple):
  """A net of a stage: the stage's folder, its graph and its arrays."""

  folder: str
  graph: Any
  variables: dict


class Net:
  """Predicts records as the stage's own evaluation does.

  Attributes:
    loaded: the net.
    make_predict: compiles it, given its graph.
    watch: called with each batch that the net reads, the number of its view,
      and how many films of it are no padding.
    places: where the ages of its map lie, see `forward.places`.
    inputs: scalars that the net reads.
  """

  def __init__(
    self,
    config: Any,
    stage: str,
    workdir: str,
    batch_size: int,
    make_predict: Callable[[Any], Callable] = forward.make_answers,
  ):
    """Load the best net of `stage`; it sees `batch_size` films at a time.

    `make_predict` compiles what is kept of its graph's outputs.
    """
    self._input, self._batch_size = config[stage].input, batch_size
    self.loaded, self.make_predict = load(config, stage, workdir), make_predict
    self._predict = make_predict(self.loaded.graph)
    self._views = forward.views(config[stage])
    self.places = forward.places(config[stage])
    self.inputs = train_step.inputs_of(config[stage])
    self.watch: Callable[[Batch, int, int], None] | None = None

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
    each = [self._outputs(records, k) for k in range(len(self._views))]
    mean = lambda name: np.mean([one[name] for one in each], axis=0)
    left_out = age_maps.NAMES if self.places is None else ()
    return {
      name: mean(name)[: len(records)]
      for name in each[0]
      if name not in left_out
    }

  def batch(
    self, records: Sequence[Mapping[str, Any]], number: int = 0
  ) -> Batch:
    """Return what the net reads of records on one of its views, [N, ...]."""
    view = self._views[number]
    rows = [
      preprocess.make_example(record, self._input, view=view)
      for record in records
    ]
    return jax.tree.map(lambda *values: np.stack(values), *rows)

  def _outputs(
    self, records: Sequence[Mapping[str, Any]], number: int
  ) -> dict[str, np.ndarray]:
    """Return the outputs on one view, padded to the batch size."""
    missing = self._batch_size - len(records)
    batch = jax.tree.map(
      lambda x: np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]),
      self.batch(records, number),
    )
    if self.watch:
      self.watch(batch, number, len(records))
    return jax.device_get(self._predict(self.loaded.variables, batch))


def load(config: Any, stage: str, workdir: str) -> Loaded:
  """Load a net to one device: for few films, copies would only compete."""
  graph, variables = restore.load_net(config, stage, workdir)
  variables = jax.device_put(variables, jax.local_devices()[0])
  return Loaded(stages.path(workdir, stage), graph, variables)
