"""Patches about landmarks of new films, as `patches` stages cut them."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.imaging import codec
from boneage_jax.regions import localize
from boneage_jax.regions import patch
from boneage_jax.training import landmarks as landmarks_lib


class Patching:
  """Finds landmarks with a forest and cuts the patches about them."""

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load the forest that `stage` names; films come one after the other.

    Raises:
      ValueError: the stage that fits it has not run.
    """
    del batch_size
    self._section = config[stage]
    self._forest = config[self._section.forest]
    self._finder = landmarks_lib.load(config, self._section.forest, workdir)
    self.film_input = self._forest.input
    self.builder_config = self._section.input.builder_config
    self.crops = localize.crop_names(self._section)

  def __call__(
    self,
    films: Sequence[localize.Film],
    records: Sequence[Mapping[str, Any]],
  ) -> list[dict[str, Any]]:
    """Fill `regions` of films; return records with their patches."""
    made = []
    for film, record in zip(films, records, strict=True):
      patch.find(film, self._finder, self._forest, self._section)
      crops = localize.cut_crops(film, self.film_input, self._section)
      cut = {
        'regions': list(map(codec.bitmap, crops)),
        'film_in_crops': localize.film_in_crops(film, self._section),
      }
      made.append({**record, **cut})
    return made
