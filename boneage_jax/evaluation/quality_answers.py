"""What the nets of a run answer of its own films, for its quality checks."""

from collections.abc import Iterable
from collections.abc import Sequence
import itertools

import numpy as np
import tqdm

from boneage_jax.data import groups
from boneage_jax.inference import loading
from boneage_jax.inference import one_film

KEPT = ('embedding', 'spread')
BATCH = 8  # films


def answers(
  nets: loading.Either, films: Iterable[np.ndarray], sexes: Sequence[str]
) -> dict[str, np.ndarray]:
  """Return those of KEPT that nets answer of all films, [N, ...] each.

  Args:
    nets: of the run, for BATCH films at a time.
    films: uint8 [H, W], upright, bones bright.
    sexes: of the films, 'M', 'F' or 'unknown'.
  """
  found: dict[str, list] = {name: [] for name in KEPT}
  bar = tqdm.tqdm(total=len(sexes), desc='nets', unit='film', disable=None)
  pairs = zip(films, sexes, strict=True)
  with bar:
    while batch := list(itertools.islice(pairs, BATCH)):
      rows = [_record(nets, *pair, row) for row, pair in enumerate(batch)]
      outputs, _ = nets.outputs(rows)
      for name in KEPT:
        found[name].append(outputs.get(name))
      bar.update(len(batch))
  return {
    name: np.concatenate(parts)
    for name, parts in found.items()
    if parts and all(part is not None for part in parts)
  }


def _record(nets: loading.Either, film: np.ndarray, sex: str, row: int) -> dict:
  """Return a film as `outputs` takes it, as of a sex that nets read."""
  made = one_film.record(nets, 255 - film if nets.inverted else film, sex)
  number = groups.SEX[made['sexes'][0]]
  return {**made['record'], 'sex': number, 'id': str(row), 'row': row}
