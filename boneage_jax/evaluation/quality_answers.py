"""What the nets of a run answer of films, for its quality checks."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
from typing import Any

import numpy as np
import tqdm

from boneage_jax.data import groups
from boneage_jax.inference import loading
from boneage_jax.inference import one_film
from boneage_jax.regions import localize

KEPT = ('embedding', 'spread')
BATCH = 8  # films


def answers(
  nets: loading.Either,
  films: Iterable[np.ndarray],
  known: Sequence[Mapping[str, Any]],
) -> dict[str, np.ndarray]:
  """Return those of KEPT that nets answer of all films, [N, ...] each.

  Args:
    nets: of the run, for BATCH films at a time.
    films: uint8 [H, W], bones bright.
    known: of the films, see `quality_films.Films.known`.
  """
  found: dict[str, list] = {name: [] for name in KEPT}
  shown = zip(films, known, strict=True)
  for outputs, _ in each(nets, shown, len(known)):
    for name in KEPT:
      found[name].append(outputs.get(name))
  return {
    name: np.stack(rows)
    for name, rows in found.items()
    if rows and all(row is not None for row in rows)
  }


def each(
  nets: loading.Either,
  shown: Iterable[tuple[np.ndarray, Mapping[str, Any]]],
  total: int,
) -> Iterator[tuple[dict[str, np.ndarray], localize.Film]]:
  """Yield what nets answer of films, one by one, and how they saw them.

  Args:
    nets: of the run, for BATCH films at a time.
    shown: films as of `answers`, each with what is known of it.
    total: how many these are, for the progress.
  """
  bar = tqdm.tqdm(total=total, desc='nets', unit='film', disable=None)
  shown = iter(shown)
  with bar:
    while batch := list(itertools.islice(shown, BATCH)):
      rows = [_record(nets, *pair, row) for row, pair in enumerate(batch)]
      outputs, seen = nets.outputs(rows)
      for row, film in enumerate(seen):
        yield {name: values[row] for name, values in outputs.items()}, film
      bar.update(len(batch))


def _record(
  nets: loading.Either, film: np.ndarray, known: Mapping[str, Any], row: int
) -> dict:
  """Return a film as `outputs` takes it, as of a sex that nets read."""
  image = 255 - film if nets.inverted else film
  made = one_film.record(nets, image, known['sex'], known)
  number = groups.SEX[made['sexes'][0]]
  return {**made['record'], 'sex': number, 'id': str(row), 'row': row}
