"""One net of a run, and those that find its regions, ready for new films."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import copy
from typing import Any
from typing import NamedTuple

import numpy as np

from boneage_jax.core import stages
from boneage_jax.data import groups
from boneage_jax.data import preprocess
from boneage_jax.imaging import codec
from boneage_jax.imaging import overlay
from boneage_jax.imaging import png
from boneage_jax.inference import net
from boneage_jax.inference import orientation
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.regions import gradcam
from boneage_jax.regions import localize
from tfds_rsna import films as films_lib
from tfds_rsna import layout


class Locator(NamedTuple):
  """A locate stage: its net's maps, that net's input, the stage's options."""

  maps: Callable[..., Any]
  film_input: Any
  options: Any


class Predictor:
  """The best net of a stage, ready for one film after the other.

  A film of the run's test split gets the age in the run's predictions.csv.
  `inverted` says that films have dark bones, as those the run was trained on;
  `builder_config` names the prepared films that it reads.
  """

  def __init__(
    self,
    config: Any,
    stage: str,
    workdir: str,
    batch_size: int = 1,
    calibration: Mapping[str, Any] | None = None,
  ):
    """Load the nets of `stage`.

    Args:
      config: of the run.
      stage: that trains a net of task 'age'.
      workdir: of the run.
      batch_size: most films that `outputs` takes.
      calibration: content of calibration.json, for intervals.

    Raises:
      ValueError: no such stage, or one without a checkpoint.
    """
    _check_stage(config, stage)
    self.batch_size = batch_size
    self._calibration = calibration or {}
    self._locators = _load_locators(config, stage, workdir, batch_size)
    own = config[stage].input
    sex = own.get('sex', '')
    self.sexes = (sex,) if sex else tuple(groups.SEX)  # that it can read
    last = self._locators[-1] if self._locators else None
    # Of the net that sees the whole film, and of the films that are read.
    self._film_input = last.film_input if last else own
    self.builder_config = (last.options.input if last else own).builder_config
    self.inverted = self._film_input.polarity == 'invert'
    self._long_side = layout.LONG_SIDES[self.builder_config]
    self._crop_borders = config.data.crop_borders
    before = self._film_input.orientation_from
    self._upright = (
      orientation.OrientationCorrector(config, before, workdir, batch_size)
      if before
      else list
    )
    self._net = net.Net(config, stage, workdir, batch_size)

  def predict(self, image: np.ndarray, sex: str) -> prediction_lib.Prediction:
    """Predict the bone age of one film; the first call compiles the nets.

    Args:
      image: uint8 [H, W], grey as the films of the run (see `inverted`).
      sex: 'M', 'F' or 'unknown'.

    Raises:
      ValueError: no such image or sex, or a sex that the net is not of.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
      raise ValueError(
        'Expected a grey image, uint8 [H, W], got '
        f'{image.dtype} {list(image.shape)}.'
      )
    if sex not in groups.SEX:
      raise ValueError(
        f'Expected a sex of {", ".join(groups.SEX)}, got {sex!r}.'
      )
    if sex not in self.sexes:
      raise ValueError(
        f'Expected a film of the sex {self.sexes[0]}, as the net was trained '
        f'on no other, got {sex!r}: take a net of both sexes.'
      )
    # Encoded, because training reads encoded films: one code path for both.
    record = {
      'id': '0',
      'row': 0,
      'sex': groups.SEX[sex],
      'age': 0.0,
      'image': png.encode(image),
    }
    outputs, (film,) = self.outputs([self.encode(record)])
    heat = None
    if film.maps:
      heat = overlay.film_heat(
        np.stack(film.maps), film.image.shape, self._film_input.resize
      )
    found = prediction_lib.Prediction(
      age_predicted=float(outputs['age'][0]),
      sex=sex,
      probability=outputs.get('probability', [None])[0],
      regions=film.regions,
      rotation_deg=film.rotation_deg,
      film_box=film.film_box,
      quality_flags=film.quality_flags,
      overlay=overlay.overlay(film.image, heat, film.regions),
    )
    return prediction_lib.with_intervals(found, self._calibration)

  def encode(self, record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a film of any size to that of the prepared films."""
    image, *_ = films_lib.encode(record['image'], self._long_side)
    return {**record, 'image': image}

  def outputs(
    self, records: Sequence[Mapping[str, Any]]
  ) -> tuple[dict[str, np.ndarray], list[localize.Film]]:
    """Predict at most `batch_size` films as the data set keeps them.

    Args:
      records: id, row, sex, age and image (encoded), as of
        `sources.film_source`.

    Returns:
      `age` [N] months and, with bins, `probability` [N, 240]; and the films,
      upright, with their regions and quality flags.
    """
    if self._crop_borders:
      records = [preprocess.without_border(record) for record in records]
    records = self._upright(records)
    films = [localize.load_film(r, self._film_input) for r in records]
    for film in films:
      film.quality_flags = quality.flags(film.image, self._film_input.size)
    for locator in self._locators:
      for film in films:
        film.maps.clear()  # the last are shown: sizes differ from net to net
      localize.find_regions(
        locator.maps, films, locator.film_input, locator.options
      )
    if self._locators:
      _, film_input, options = self._locators[-1]
      crops = [localize.cut_crops(f, film_input, options) for f in films]
      records = [
        {
          **record,
          'regions': [codec.bitmap(crop) for crop in of_film],
          'film_in_crops': localize.film_in_crops(film, options),
        }
        for record, film, of_film in zip(records, films, crops, strict=True)
      ]
    return self._net(records), films


def _check_stage(config: Any, stage: str) -> None:
  """Refuse a stage whose net does not say the age of a film as it is."""
  able = [
    name
    for name, section in stages.sections(config).items()
    if section.job == 'ensemble' or section.get('task') == 'age'
  ]
  if stage not in able or config[stage].job == 'ensemble':
    raise ValueError(
      f'Expected a stage that trains or combines age nets, got {stage!r}; '
      f'choose one with --stage: {", ".join(able)}.'
    )
  if config[stage].input.erase_from:
    raise ValueError(
      f'{stage} reads films with regions painted over, so it has no age of a '
      f'film as it is; predict with --stage={config.report.stage}.'
    )


def _load_locators(
  config: Any, stage: str, workdir: str, batch_size: int
) -> list[Locator]:
  """Load what finds the regions that `stage` reads, in order."""
  section = config[stage].input
  locators = []
  if section.crops_from:
    last = stages.Stage(config, section.crops_from, workdir)
    for name in [one.name for one in last.locate_chain()]:
      options = copy.deepcopy(config[name])
      options.batch_size = batch_size
      if name == section.crops_from and section.regions:
        options.crops = section.regions
      graph, variables = net.load(config, options.localizer, workdir)
      maps = gradcam.make_maps(graph, variables, options)
      film_input = config[options.localizer].input
      locators.append(Locator(maps, film_input, options))
  return locators
