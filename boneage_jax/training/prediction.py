"""Exact evaluation: every film once, whatever the batch or device count."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from boneage_jax.core import distributed
from boneage_jax.data import input_pipeline
from boneage_jax.data import selection
from boneage_jax.data import splits
from boneage_jax.training import forward


class Split:
  """The films of one split, ready to be predicted again and again.

  `masks` are kinds of masks.KINDS that their batches hold. With `final`,
  outputs are averaged over the views of the stage.
  """

  def __init__(
    self, config, stage, workdir, films, mesh, masks=(), final=False
  ):
    self.films = films
    self._mesh = mesh
    self._count = len(films['id'])
    section = config[stage]
    if not self._count:
      raise ValueError(
        f'{stage}: a split has no film at all; raise '
        '--config.data.validation_fraction or --config.data.test_fraction, '
        'or with folds lower --config.data.folds.'
      )
    source = selection.stage_source(config, stage, workdir, films)
    self._views = [
      input_pipeline.eval_batches(
        source, section.input, section.eval_batch_size, masks=masks, view=view
      )
      for view in (forward.views(section) if final else (None,))
    ]
    self._threads = section.input.threads

  def batches(self, view: int = 0) -> Iterator[dict[str, jax.Array]]:
    """Read the films on one view, and bring them to the devices."""
    found = input_pipeline.iterate(self._views[view], 0, self._threads)
    for batch in found:
      yield input_pipeline.to_device(batch, self._mesh)

  def predict(self, predict, variables) -> dict[str, np.ndarray]:
    """Return what the task keeps of each film, [N, ...], in film order.

    Every process gets all of them.
    """
    each = []
    for view in range(len(self._views)):
      results: dict[str, list] = {}
      for batch in self.batches(view):
        outputs = predict(variables, batch)
        outputs = multihost_utils.process_allgather(outputs, tiled=True)
        for name, value in outputs.items():
          results.setdefault(name, []).append(value)
      each.append({n: np.concatenate(v) for n, v in results.items()})
    mean = lambda values: values[0] if len(values) == 1 else np.mean(values, 0)
    # Padding comes last.
    return {
      name: mean([one[name] for one in each])[: self._count] for name in each[0]
    }


def held_out(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Callable,
  variables: dict[str, Any],
  order: Sequence[str] = splits.HELD_OUT,
) -> Iterator[tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]]:
  """Yield each held-out split that has films, these, and their outputs.

  Outputs are means over the views of the stage.
  """
  mesh = distributed.make_mesh()
  for split in order:
    part = selection.select_split(films, split)
    if len(part['id']):  # a run without test films is lawful
      made = Split(config, stage, workdir, part, mesh, final=True)
      yield split, part, made.predict(predict, variables)
