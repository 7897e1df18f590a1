"""New films brought to one place, size and turn, as `register` stages do it."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.core import sizes
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_masks
from boneage_jax.imaging import codec
from boneage_jax.imaging import mask_quality
from boneage_jax.inference import net
from boneage_jax.regions import localize
from boneage_jax.regions import placement
from boneage_jax.training import forward
from tfds_rsna import films as films_lib
from tfds_rsna import layout

Record = Mapping[str, Any]


class Registering:
  """Registers films by their points or masks, and cuts their regions.

  What is plausible, and where a mask's palm lies, is what the stage learned
  from training films. Masks are judged as those of test films: by the limits of
  the stage that mined them.
  """

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load the nets of points and of masks that `stage` names.

    Raises:
      ValueError: one of these stages has not run.
    """
    self._options = options = config[stage]
    read = lambda name, file, make: _read(
      stages.path(workdir, name, file), name, make
    )
    self._known = read(stage, stages.REGISTRATION_JSON, placement.recall)
    self.points = net.Net(
      *(config, options.keypoints, workdir, batch_size),
      lambda graph: forward.make_predict(graph, forward.points_of_film),
    )
    self.masks = None
    if options.masks_from:
      self._limits = read(
        *(options.masks_from, stages.LIMITS),
        lambda limits: mask_quality.Limits(**limits),
      )
      self.masks = net.Net(
        *(config, options.masks_from, workdir, batch_size),
        forward.make_mask_views,
      )
      self._mask_input = config[options.masks_from].input
    self.film_input = config[options.keypoints].input
    seen = [options.input.builder_config, self.film_input.builder_config]
    seen += [self._mask_input.builder_config] if self.masks else []
    self.builder_config = seen[0] if len(set(seen)) == 1 else 'original'
    self.crops = tuple(options.regions)

  def __call__(
    self, films: Sequence[localize.Film], records: Sequence[Record]
  ) -> list[dict[str, Any]]:
    """Fill `hand` of films; return records with their regions."""
    rows = self.points(self._shrunk(records, self.film_input))
    names = tuple(self.film_input.points)
    found = placement.of_net(rows, 'points', names)
    masks = self._find_masks(records)
    inverted, made = self.film_input.polarity == 'invert', []
    for film, record, points, (mask, why) in zip(
      films, records, found, masks, strict=True
    ):
      on_film = mask.on_film(film.image.shape) if mask else None
      usable = on_film if mask and mask_quality.usable(why) else None
      placed, cuts = placement.place_and_cut(
        film.image, points, usable, self._known, self._options
      )
      film.hand = placement.Hand(placed, self.crops, points, on_film, why)
      # As grey as the archive: the net's polarity turns them again.
      cuts = [255 - cut if inverted else cut for cut in cuts]
      regions = list(map(codec.bitmap, cuts))
      made.append({**record, 'regions': regions, 'black_outside': True})
    return made

  def _find_masks(
    self, records: Sequence[Record]
  ) -> list[tuple[film_masks.FilmMask | None, str]]:
    """Return the mask of each film, and why it is refused; '' if not."""
    if not self.masks:
      return [(None, '')] * len(records)
    rows = self.masks(self._shrunk(records, self._mask_input))
    size, masks = sizes.size_hw(self._mask_input.size), []
    for found, mirrored in zip(rows['found'], rows['mirrored'], strict=True):
      measures = mask_quality.measure(found / 255.0, mirrored / 255.0)
      mean = mask_quality.mean(found, mirrored)
      masks.append(
        (
          film_masks.FilmMask(
            codec.bitmap(mean), size, self._mask_input.resize
          ),
          mask_quality.reason(measures, self._limits),
        )
      )
    return masks

  def _shrunk(
    self, records: Sequence[Record], input_config: Any
  ) -> list[Record]:
    """Return films as a net's stage reads them."""
    if input_config.builder_config == self.builder_config:
      return list(records)
    side = layout.LONG_SIDES[input_config.builder_config]
    return [
      {**record, 'image': films_lib.shrink(record['image'], side)}
      for record in records
    ]


def _read(path: str, stage: str, make: Callable[[Any], Any]) -> Any:
  """Return what `make` makes of a JSON file of a stage."""
  if not storage.exists(path):
    raise ValueError(
      f'Expected {path}, found none: run the stage {stage!r} first.'
    )
  with storage.naming(path):
    return make(storage.read_json(path))
