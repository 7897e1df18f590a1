"""What age nets read of a film: all of it, or regions that are found on it.

Nets that read the same regions share a finder, so that an ensemble looks for
them once.
"""

from collections.abc import Mapping
from collections.abc import MutableMapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.data import preprocess
from boneage_jax.inference import locating
from boneage_jax.inference import orientation
from boneage_jax.inference import patching
from boneage_jax.inference import quality
from boneage_jax.inference import registering
from boneage_jax.regions import localize

JOBS = {
  'locate': locating.Locating,
  'register': registering.Registering,
  'patches': patching.Patching,
}
Found = tuple[localize.Film, dict[str, Any]]
Memo = MutableMapping[tuple[str, str, str], Found]


class Finder:
  """Turns films into what age nets read.

  Attributes:
    film_input: of the net that sees whole films.
    builder_config: of the films that it takes.
    crops: names of the regions; () where nets read whole films.
    inputs: scalars that nets read which find regions.
  """

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load what `stage` finds regions with, or what its whole films need."""
    self._key = workdir, stage
    section = config[stage]
    self.cut = None
    if section.job in JOBS:
      self.cut = JOBS[section.job](config, stage, workdir, batch_size)
    source = self.cut or section.input
    self.film_input = self.cut.film_input if self.cut else section.input
    self.builder_config = source.builder_config
    self.crops = self.cut.crops if self.cut else ()
    self.inputs = getattr(self.cut, 'inputs', ())
    self._crop_borders = config.data.crop_borders
    before = self.film_input.orientation_from
    self.upright = (
      orientation.OrientationCorrector(config, before, workdir, batch_size)
      if before
      else list
    )

  def __call__(
    self, records: Sequence[Mapping[str, Any]], memo: Memo
  ) -> list[Found]:
    """Find what is to be found on films, those in the memo excepted.

    Args:
      records: of films of `builder_config`, as of `sources.film_source`.
      memo: what finders found on films of these ids; gets what is new.

    Returns:
      Each film, upright, and the record that age nets read.
    """
    new = [one for one in records if (*self._key, one['id']) not in memo]
    if new:
      for film, record in self._find(new):
        memo[*self._key, record['id']] = film, record
    return [memo[*self._key, one['id']] for one in records]

  def _find(self, records: Sequence[Mapping[str, Any]]) -> list[Found]:
    if self._crop_borders:
      records = [preprocess.without_border(record) for record in records]
    records = self.upright(records)
    films = [localize.load_film(one, self.film_input) for one in records]
    for film in films:
      film.resize = self.film_input.resize
      film.quality_flags = quality.flags(film.image, self.film_input.size)
    if self.cut:
      records = self.cut(films, records)
    for film in films:
      film.quality_flags += quality.flags_of_hand(film.hand)
    return list(zip(films, records, strict=True))


def load(
  config: Any,
  stage: str,
  workdir: str,
  batch_size: int,
  loaded: MutableMapping[tuple[str, str], Finder],
) -> Finder:
  """Return the finder of an age stage, from among those that are loaded."""
  source = config[stage].input.crops_from or stage
  if (workdir, source) not in loaded:
    loaded[workdir, source] = Finder(config, source, workdir, batch_size)
  return loaded[workdir, source]


def take(record: Mapping[str, Any], positions: Sequence[int]) -> dict[str, Any]:
  """Return a record of fewer of its crops, as `sources.crop_source` does."""
  lists = ('regions', 'film_in_crops')
  some = {n: [record[n][i] for i in positions] for n in lists if n in record}
  return {**record, **some}
