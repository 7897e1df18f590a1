"""Nets of masks that look at films, some at once."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np
import tqdm

from boneage_jax.core import distributed
from boneage_jax.data import film_table
from boneage_jax.runs import lineage
from boneage_jax.training import forward
from boneage_jax.training import prediction
from boneage_jax.training import restore

CHUNK = 256  # films whose maps are in memory at once


class Net:
  """A net that masks films, and their mirror images."""

  def __init__(self, config: Any, stage: str, name: str, workdir: str):
    """Load the net that the round `name` starts from, for films of `stage`."""
    self._place = config, stage, workdir
    parent = lineage.parent_run(config, name, workdir)
    graph, self._variables = restore.load_net(*parent)
    self._look = forward.make_mask_views(graph)

  def __call__(
    self, films: film_table.Films
  ) -> Iterator[tuple[str, str, np.ndarray, np.ndarray, float]]:
    """Yield id, split, mask, mask of the mirror image, and the drawn area."""
    for part, rows in look(*self._place, films, self._look, self._variables):
      yield from zip(
        part['id'].tolist(),
        part['split'].tolist(),
        rows['found'],
        rows['mirrored'],
        rows['drawn'].tolist(),
        strict=True,
      )


def look(
  config: Any,
  stage: str,
  workdir: str,
  films: film_table.Films,
  predict: Callable,
  variables: Any,
) -> Iterator[tuple[film_table.Films, dict[str, np.ndarray]]]:
  """Yield some films, and what a net tells of each, until all are told.

  Args:
    config, stage, workdir: of the films' input.
    films: rows of the film table.
    predict: `predict(variables, batch)`, jitted.
    variables: of the net, or of several.
  """
  mesh, count = distributed.make_mesh(), len(films['id'])
  bar = tqdm.tqdm(
    total=count,
    desc='masks',
    unit='film',
    disable=not distributed.is_main_process() or None,
  )
  with bar:
    for start in range(0, count, CHUNK):
      keep = np.arange(start, min(start + CHUNK, count))
      part = film_table.select(films, keep)
      made = prediction.Split(config, stage, workdir, part, mesh)
      yield part, made.predict(predict, variables)
      bar.update(len(keep))
