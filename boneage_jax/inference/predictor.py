"""Nets of a run, ready for one film after the other."""

from collections.abc import Mapping
from collections.abc import Sequence
import copy
from typing import Any

import jax
import numpy as np

from boneage_jax.core import stages
from boneage_jax.data import groups
from boneage_jax.data import preprocess
from boneage_jax.imaging import overlay
from boneage_jax.imaging import png as png_lib
from boneage_jax.imaging import polarity
from boneage_jax.imaging import sharpness
from boneage_jax.inference import orientation
from boneage_jax.regions import gradcam
from boneage_jax.regions import localize
from boneage_jax.runs import run as run_lib
from boneage_jax.training import forward
from boneage_jax.training import restore
from tfds_rsna import films as films_lib
from tfds_rsna import tfds_rsna_dataset_builder as rsna


class Predictor:
  """The best nets of a run, ready for one film after the other.

  A film of the run's test split gets the age in the run's predictions.csv.
  `inverted` says that films have dark bones, as those the run was trained on;
  `builder_config` names the prepared films that it reads.
  """

  def __init__(self, workdir: str, stage: str, batch_size: int = 1):
    """Load the nets of `stage`."""
    config = run_lib.read_config(workdir)
    if stage not in config or config[stage].job != 'train':
      raise ValueError(
        f'Expected a stage that trains or combines nets, got {stage!r}.'
      )
    self.batch_size = batch_size
    self._input = config[stage].input
    if self._input.erase_from:
      raise ValueError(
        f'{stage} reads films with regions painted over, so it has no age of a '
        f'film as it is; predict with {config.report.stage}.'
      )
    self._looks = self._input  # of the net that sees the whole film
    device = jax.local_devices()[0]  # few films: copies would only compete
    self.builder_config = self._input.builder_config
    self._finders = []  # of stages: maps, input of the net, options
    stages_before = (
      stages.chain(config, self._input.crops_from)
      if self._input.crops_from
      else ()
    )
    for name in stages_before:
      options = copy.deepcopy(config[name])
      options.batch_size = batch_size
      if name == self._input.crops_from and self._input.regions:
        options.crops = self._input.regions
      self.builder_config = options.input.builder_config
      self._looks = config[options.localizer].input
      graph, variables = restore.load_net(config, options.localizer, workdir)
      maps = gradcam.make_maps(
        graph, jax.device_put(variables, device), options
      )
      self._finders.append((maps, self._looks, options))
    self.inverted = self._looks.polarity == 'invert'
    self._cut_frames = config.data.crop_borders
    before = self._looks.orientation_from
    self._upright = (
      orientation.OrientationCorrector(config, before, workdir, batch_size)
      if before
      else list
    )
    sides = {c.name: c.long_side for c in rsna.Builder.BUILDER_CONFIGS}
    self._long_side = sides[self.builder_config]
    graph, variables = restore.load_net(config, stage, workdir)
    self._variables = jax.device_put(variables, device)
    self._age = forward.make_predict(graph)
    self._views = forward.views(config[stage])

  def predict(self, image: np.ndarray, sex: str) -> dict[str, Any]:
    """Predict the bone age of one film; the first call compiles the nets.

    Args:
      image: uint8 [H, W], grey as the films of the run (see `inverted`).
      sex: 'M', 'F' or 'unknown'.

    Returns:
      `age` in months, `doubts`, why not to trust it (see `localize.Film`; often
      none), `probability` float32 [240] or None for a net without bins,
      `regions` {name: boxes.Region}, `overlay` uint8 RGB, `frame`, the box of
      the film within its frame where that was cut off, and `turned`, the
      degrees by which the film lay, counter-clockwise: regions and overlay are
      of the film without frame, turned back.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
      raise ValueError(f'Not uint8 [H, W]: {image.dtype} {image.shape}.')
    if sex not in groups.SEX:
      raise ValueError(f'Expected sex {", ".join(groups.SEX)}; got {sex!r}.')
    # Encoded, because training reads encoded films: one code path for both.
    record = {
      'id': 0,
      'sex': groups.SEX[sex],
      'age': 0.0,
      'image': png_lib.png(image),
    }
    outputs, (film,) = self.outputs([self.encode(record)])
    heat = None
    if film.maps:
      heat = overlay.film_heat(
        np.stack(film.maps), film.image.shape, self._looks.resize
      )
    return {
      'age': float(outputs['age'][0]),
      'probability': outputs.get('probability', [None])[0],
      'regions': film.regions,
      'doubts': film.doubts,
      'frame': film.frame,
      'turned': film.turned,
      'overlay': overlay.overlay(film.image, heat, film.regions),
    }

  def encode(self, record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a film of any size to that of the prepared films."""
    return {
      **record,
      'image': films_lib.encode(record['image'], self._long_side)[0],
    }

  def outputs(
    self, records: Sequence[Mapping[str, Any]]
  ) -> tuple[dict[str, np.ndarray], list[localize.Film]]:
    """Predict at most `batch_size` films as the data set keeps them.

    Args:
      records: id, sex, age and image (encoded), as of
        `sources.film_source`.

    Returns:
      `age` [N] months and, with bins, `probability` [N, 240]; and the films,
      upright, with their regions and doubts.
    """
    if self._cut_frames:
      records = [preprocess.without_border(record) for record in records]
    records = self._upright(records)
    films = [localize.load_film(record, self._looks) for record in records]
    for film in films:
      if polarity.looks_inverted(film.image):
        film.doubts.append('polarity')
      if sharpness.lacks_detail(film.image, self._looks.size):
        film.doubts.append('detail')
    for maps, looks, options in self._finders:
      for film in films:
        film.maps.clear()  # the last are shown: sizes differ from net to net
      localize.find_regions(maps, films, looks, options)
    if self._finders:
      crops = [localize.cut_crops(f, looks, options) for f in films]
      records = [
        {**record, 'regions': [png_lib.encode(crop) for crop in of_film]}
        for record, of_film in zip(records, crops, strict=True)
      ]
    each = []
    for view in self._views:
      rows = [
        preprocess.make_example(record, self._input, view=view)
        for record in records
      ]
      rows += rows[-1:] * (self.batch_size - len(films))
      batch = jax.tree.map(lambda *values: np.stack(values), *rows)
      each.append(jax.device_get(self._age(self._variables, batch)))
    mean = lambda name: np.mean([one[name] for one in each], axis=0)
    return {name: mean(name)[: len(films)] for name in each[0]}, films
