"""Regions that heat maps show on new films, as `locate` stages find them."""

from collections.abc import Mapping
from collections.abc import Sequence
import copy
from typing import Any
from typing import NamedTuple

from boneage_jax.core import stages
from boneage_jax.imaging import codec
from boneage_jax.inference import net
from boneage_jax.regions import gradcam
from boneage_jax.regions import localize
from boneage_jax.training import step as train_step


class Locator(NamedTuple):
  """A locate stage: its net's maps, that net's input, the stage's options."""

  maps: Any
  film_input: Any
  options: Any
  loaded: net.Loaded


class Locating:
  """Finds and cuts the regions of a locate stage, and of those before it."""

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load the nets of `stage` and of the stages that it goes on from."""
    self.locators = []
    self.inputs: tuple[str, ...] = ()  # scalars that the nets read
    for one in stages.Stage(config, stage, workdir).locate_chain():
      options = copy.deepcopy(config[one.name])
      options.batch_size = batch_size
      loaded = net.load(config, options.localizer, workdir)
      maps = gradcam.make_maps(loaded.graph, loaded.variables, options)
      film_input = config[options.localizer].input
      self.locators.append(Locator(maps, film_input, options, loaded))
      self.inputs += train_step.inputs_of(config[options.localizer])
    _, self.film_input, options, _ = self.locators[-1]
    self.builder_config = options.input.builder_config
    self.crops = localize.crop_names(options)

  def __call__(
    self,
    films: Sequence[localize.Film],
    records: Sequence[Mapping[str, Any]],
  ) -> list[dict[str, Any]]:
    """Fill `regions` and `maps` of films; return records with their crops."""
    for locator in self.locators:
      for film in films:
        film.maps.clear()  # the last are shown: sizes differ from net to net
      localize.find_regions(
        locator.maps, films, locator.film_input, locator.options
      )
    _, film_input, options, _ = self.locators[-1]
    made = []
    for film, record in zip(films, records, strict=True):
      crops = localize.cut_crops(film, film_input, options)
      cut = {
        'regions': list(map(codec.bitmap, crops)),
        'film_in_crops': localize.film_in_crops(film, options),
      }
      made.append({**record, **cut})
    return made
