"""How films were registered, and how far off, against marked points."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.data import splits
from boneage_jax.imaging import points as points_lib
from boneage_jax.imaging import registration
from boneage_jax.regions import placement
from boneage_jax.regions import registration_table

NEAR = 3.0  # percent of the canvas' height


def errors(matrix: np.ndarray, marked: np.ndarray) -> np.ndarray:
  """Return how far tip and capitate lie from their targets, [2].

  Args:
    matrix: [2, 3], film fraction -> canvas pixel.
    marked: [3, 2], registration.POINTS in fractions of the film.

  Returns:
    percent of the canvas' height, NaN where a point is not marked.
  """
  targets = np.array([registration.TIP, registration.CAPITATE])
  away = points_lib.move(marked[:2], matrix) - targets
  return 100 * np.hypot(*away.T) / registration.CANVAS_HW[0]


def figures(
  hands: placement.Hands,
  table: Mapping[str, registration_table.Entry],
  known: placement.Known,
) -> dict[str, Any]:
  """Count how films were registered, and measure those that are annotated.

  Args:
    hands: their points; tip and capitate are marked on films that are measured.
    table: what registration.csv says, by film id.
    known: what they were registered by.

  Returns:
    `side`, `limits` and `rule` of `known`, and `splits`: by split, and of all,
    `films`, `status` (how many of each), `reasons` (how many films each word
    is said of) and what `_measured` says of annotated films.
  """
  found = {}
  for split in ('all', *splits.SPLITS):
    inside = (hands.split == split) | (split == 'all')
    of_split = [table[film] for film in hands.id[inside].tolist()]
    said = [one.status for one in of_split]
    words = [word for one in of_split for word in one.reason.split()]
    found[split] = {
      'films': len(of_split),
      'status': {name: said.count(name) for name in placement.STATUS},
      'reasons': {word: words.count(word) for word in sorted(set(words))},
      'annotated': _measured(hands, inside, table, known.side),
    }
  return {
    'side': known.side,
    'limits': known.limits,
    'rule': known.rule._asdict() if known.rule else None,
    'splits': found,
  }


def _measured(
  hands: placement.Hands,
  inside: np.ndarray,
  table: Mapping[str, registration_table.Entry],
  side: int,
) -> dict[str, Any]:
  """Return what is known of annotated films among those `inside`.

  Returns:
    `films`; where there are any, `within`, the share whose tip and capitate
    both lie within NEAR of their targets, a film that is kept as it is counted
    as one that does not; of those that are registered, `median_percent` of tip
    and capitate, see `errors`, and `thumb_side`, the share that has its thumb
    on the side of the canvas, of those whose thumb is marked.
  """
  rows = np.flatnonzero(inside & np.isfinite(hands.marked[:, :2]).all((1, 2)))
  if not len(rows):
    return {'films': 0}
  away, sides = [], []
  for row in rows:
    matrix = table[str(hands.id[row])].matrix
    if matrix is not None:
      away.append(errors(matrix, hands.marked[row]))
      moved = points_lib.move(hands.marked[row], matrix)
      sides.append(registration.thumb_side(moved))
  measured = {'films': len(rows), 'within': 0.0}
  if away:
    near = np.max(away, axis=1) <= NEAR
    tip, capitate = np.median(away, axis=0).tolist()
    measured['within'] = float(near.sum() / len(rows))
    measured['median_percent'] = {'tip': tip, 'capitate': capitate}
  sides = [one for one in sides if np.isfinite(one)]
  if sides:
    measured['thumb_side'] = float(np.mean(np.array(sides) == side))
  return measured


def summary(found: Mapping[str, Any]) -> str:
  """Say in two lines how films were registered."""
  every = found['splits']['all']
  counts = every['status']
  why = ', '.join(f'{word} {n}' for word, n in every['reasons'].items())
  text = (
    f'registered {every["films"]} films: {counts["points"]} by points, '
    f'{counts["mask"]} by mask, {counts["failed"]} kept as they are'
    + (f' ({why})' if why else '')
  )
  for split in splits.SPLITS:
    one = found['splits'][split]['annotated']
    if one['films']:
      text += (
        f'\n{split}: tip and capitate of {one["within"]:.1%} of '
        f'{one["films"]} annotated films within {NEAR:g} % of the canvas'
      )
  return text
