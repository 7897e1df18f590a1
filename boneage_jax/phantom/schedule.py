"""When ossification centres change, in words: what a reader looks for."""

from collections.abc import Iterator
from typing import NamedTuple

from boneage_jax.phantom import anatomy

# What happens at the months of `anatomy.CARPALS` and `anatomy.EPIPHYSES`.
OF_CARPALS = ('appears', 'adult shape')
OF_EPIPHYSES = (
  'epiphysis appears',
  'epiphysis as wide as the shaft',
  'fusion begins',
  'fused',
)
_DIGITS = ('thumb', 'index finger', 'middle finger', 'ring finger')
DIGITS = (*_DIGITS, 'little finger')
BONES = {
  'mc': 'metacarpal',
  'pp': 'proximal phalanx',
  'mp': 'middle phalanx',
  'dp': 'distal phalanx',
}
NAMES = {
  'radius': 'distal radius',
  'ulna': 'distal ulna',
  'sesamoid': 'sesamoid of the thumb',
}


class Change(NamedTuple):
  """A change of a centre.

  Attributes:
    month: bone age at which half of the hands show it.
    centre: of `anatomy`.
    what: happens.
  """

  month: int
  centre: str
  what: str


def name(centre: str) -> str:
  """Name a centre in words, such as 'middle phalanx of the ring finger'."""
  if centre in anatomy.CARPALS or centre in NAMES:
    return NAMES.get(centre, centre)
  return f'{BONES[centre[:2]]} of the {DIGITS[int(centre[2]) - 1]}'


def changes(low: float, high: float, male: bool) -> list[Change]:
  """Return the changes from one bone age to another, months, in their order."""
  found = [one for one in _all(male) if low <= one.month <= high]
  return sorted(found, key=lambda one: one.month)


def _all(male: bool) -> Iterator[Change]:
  tables = (anatomy.CARPALS, OF_CARPALS), (anatomy.EPIPHYSES, OF_EPIPHYSES)
  for table, words in tables:
    for centre, of_sexes in table.items():
      for month, what in zip(of_sexes[0 if male else 1], words, strict=True):
        yield Change(month, centre, what)
