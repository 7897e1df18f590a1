"""Nets of a run, ready for one film after the other."""

from collections.abc import Mapping
from collections.abc import Sequence
import copy
import os
from typing import Any

import cv2
import jax
import ml_collections
import numpy as np

from boneage_jax import config_flag
from boneage_jax import detail
from boneage_jax import evaluate
from boneage_jax import examples
from boneage_jax import files
from boneage_jax import folds
from boneage_jax import gallery
from boneage_jax import polarity
from boneage_jax import regions
from boneage_jax import stages
from boneage_jax import trained
from boneage_jax import upright
from tfds_rsna import films as film_files
from tfds_rsna import tfds_rsna_dataset_builder as rsna

MALE = {'M': 1.0, 'F': 0.0, 'unknown': 0.5}


class Predictor:
  """The best nets of a run, ready for one film after the other.

  A film of the run's test split gets the age in the run's predictions.csv.
  `inverted` says that films have dark bones, as those the run was trained on;
  `builder_config` names the prepared films that it reads.
  """

  def __init__(self, workdir: str, stage: str, batch_size: int = 1):
    """Load the nets of `stage`."""
    config = read_config(workdir)
    if stage not in config or config[stage].job != 'train':
      raise ValueError(
        f'Expected a stage that trains or combines nets, got {stage!r}.'
      )
    self.batch_size = batch_size
    self._input = config[stage].input
    if self._input.erase:
      raise ValueError(
        f'{stage} reads films with regions painted over, so it has no age of a '
        f'film as it is; predict with {config.report.stage}.'
      )
    self._looks = self._input  # of the net that sees the whole film
    device = jax.local_devices()[0]  # few films: copies would only compete
    self.builder_config = self._input.builder_config
    self._finders = []  # of stages: maps, input of the net, options
    stages_before = (
      stages.chain(config, self._input.crops) if self._input.crops else ()
    )
    for name in stages_before:
      options = copy.deepcopy(config[name])
      options.batch_size = batch_size
      if name == self._input.crops and self._input.regions:
        options.crops = self._input.regions
      self.builder_config = options.input.builder_config
      self._looks = config[options.localizer].input
      graph, variables = trained.load_net(config, options.localizer, workdir)
      maps = stages.make_maps(graph, jax.device_put(variables, device), options)
      self._finders.append((maps, self._looks, options))
    self.inverted = self._looks.polarity == 'invert'
    self._cut_frames = config.data.cut_frames
    before = self._looks.upright
    self._upright = (
      upright.Upright(config, before, workdir, batch_size) if before else list
    )
    sides = {c.name: c.long_side for c in rsna.Builder.BUILDER_CONFIGS}
    self._long_side = sides[self.builder_config]
    graph, variables = trained.load_net(config, stage, workdir)
    self._variables = jax.device_put(variables, device)
    self._age = evaluate.make_predict(graph)
    self._views = evaluate.views(config[stage])

  def predict(self, image: np.ndarray, sex: str) -> dict[str, Any]:
    """Predict the bone age of one film; the first call compiles the nets.

    Args:
      image: uint8 [H, W], grey as the films of the run (see `inverted`).
      sex: 'M', 'F' or 'unknown'.

    Returns:
      `age` in months, `doubts`, why not to trust it (see `regions.Film`; often
      none), `probability` float32 [240] or None for a net without bins,
      `regions` {name: boxes.Region}, `overlay` uint8 RGB, `frame`, the box of
      the film within its frame where that was cut off, and `turned`, the
      degrees by which the film lay, counter-clockwise: regions and overlay are
      of the film without frame, turned back.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
      raise ValueError(f'Not uint8 [H, W]: {image.dtype} {image.shape}.')
    if sex not in MALE:
      raise ValueError(f'Expected sex {", ".join(MALE)}; got {sex!r}.')
    # Encoded, because training reads encoded films: one code path for both.
    record = {'id': 0, 'male': MALE[sex], 'age': 0.0, 'image': png(image)}
    outputs, (film,) = self.outputs([self.encode(record)])
    heat = None
    if film.maps:
      heat = gallery.film_heat(
        np.stack(film.maps), film.image.shape, self._looks.resize
      )
    return {
      'age': float(outputs['age'][0]),
      'probability': outputs.get('probability', [None])[0],
      'regions': film.regions,
      'doubts': film.doubts,
      'frame': film.frame,
      'turned': film.turned,
      'overlay': gallery.overlay(film.image, heat, film.regions),
    }

  def encode(self, record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a film of any size to that of the prepared films."""
    return {
      **record,
      'image': film_files.encode(record['image'], self._long_side)[0],
    }

  def outputs(
    self, records: Sequence[Mapping[str, Any]]
  ) -> tuple[dict[str, np.ndarray], list[regions.Film]]:
    """Predict at most `batch_size` films as the data set keeps them.

    Args:
      records: id, male, age and image (encoded), as of
        `input_pipeline.film_source`.

    Returns:
      `age` [N] months and, with bins, `probability` [N, 240]; and the films,
      upright, with their regions and doubts.
    """
    if self._cut_frames:
      records = [examples.without_frame(record) for record in records]
    records = self._upright(records)
    films = [regions.load_film(record, self._looks) for record in records]
    for film in films:
      if polarity.looks_inverted(film.image):
        film.doubts.append('polarity')
      if detail.is_little(film.image, self._looks.size):
        film.doubts.append('detail')
    for maps, looks, options in self._finders:
      for film in films:
        film.maps.clear()  # the last are shown: sizes differ from net to net
      regions.find_regions(maps, films, looks, options)
    if self._finders:
      crops = [regions.cut_crops(f, looks, options) for f in films]
      records = [
        {**record, 'regions': png(crop.reshape(-1, crop.shape[-1]))}
        for record, crop in zip(records, crops, strict=True)
      ]
    each = []
    for view in self._views:
      rows = [
        examples.make_example(record, self._input, view=view)
        for record in records
      ]
      rows += rows[-1:] * (self.batch_size - len(films))
      batch = jax.tree.map(lambda *values: np.stack(values), *rows)
      each.append(jax.device_get(self._age(self._variables, batch)))
    mean = lambda name: np.mean([one[name] for one in each], axis=0)
    return {name: mean(name)[: len(films)] for name in each[0]}, films


class Ensemble:
  """Nets with weights, used like a `Predictor`.

  Regions and pictures are those of the first member that has regions.
  """

  def __init__(
    self, members: Sequence['Either'], weights: Sequence[float] | None = None
  ):
    """Combine members, by default in equal parts."""
    self.members = members
    self.weights = weights or [1 / len(members)] * len(members)
    self.batch_size = members[0].batch_size
    configs = {member.builder_config for member in members}
    self.builder_config = configs.pop() if len(configs) == 1 else 'original'
    self.inverted = members[0].inverted
    if any(member.inverted != self.inverted for member in members):
      raise ValueError('The nets to combine read films of opposite polarity.')

  def predict(self, image: np.ndarray, sex: str) -> dict[str, Any]:
    """Predict one film, as `Predictor.predict` does."""
    each = [member.predict(image, sex) for member in self.members]
    shown = next((one for one in each if one['regions']), each[0])
    return shown | {
      'age': float(self._combine([one['age'] for one in each])),
      'doubts': _any_of([one['doubts'] for one in each]),
      'probability': self._combine([one['probability'] for one in each]),
    }

  def outputs(
    self, records: Sequence[Mapping[str, Any]]
  ) -> tuple[dict[str, np.ndarray], list[regions.Film]]:
    """Predict films of `builder_config`, as `Predictor.outputs` does."""
    each = [
      member.outputs(
        records
        if member.builder_config == self.builder_config
        else [member.encode(record) for record in records]
      )
      for member in self.members
    ]
    films = next((films for _, films in each if films[0].regions), each[0][1])
    for film, *same in zip(films, *(seen for _, seen in each), strict=True):
      film.doubts = _any_of([one.doubts for one in same])
    combined = {
      name: self._combine([outputs.get(name) for outputs, _ in each])
      for name in each[0][0]
    }
    return {k: v for k, v in combined.items() if v is not None}, films

  def _combine(self, values: Sequence[Any]) -> Any:
    """Average what the members say; None where one of them says nothing."""
    if any(value is None for value in values):
      return None
    return np.tensordot(self.weights, np.stack(values), 1)

  def encode(self, record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a film of any size to that of the members' prepared films."""
    return self.members[0].encode(record)


Either = Predictor | Ensemble


def load(workdir: str, stage: str = '', batch_size: int = 1) -> Either:
  """Load the nets of a stage, by default of the one that the run reports.

  Of a cross-validated run these are the nets of all folds, averaged.

  Raises:
    ValueError: no such stage, or it is not finished.
  """
  config = read_config(workdir)
  stage = stage or config.report.stage
  if stage in config and config[stage].job == 'ensemble':
    weights = _weights(config[stage].members, os.path.join(workdir, stage))
    members = [load(workdir, member, batch_size) for member in weights]
    return Ensemble(members, list(weights.values()))
  if config.data.folds and config.data.fold < 0:
    every = [folds.folder(workdir, k) for k in range(config.data.folds)]
    return Ensemble([Predictor(fold, stage, batch_size) for fold in every])
  return Predictor(workdir, stage, batch_size)


def _weights(members: Sequence[str], folder: str) -> dict[str, float]:
  """Return the weights, but zeros, that an `ensemble` stage has found."""
  path = os.path.join(folder, 'ensemble.json')
  if not files.exists(path):
    raise ValueError(
      f'{path} is missing: run the stage {os.path.basename(folder)!r} first.'
    )
  result = files.read_json(path)
  rows = zip(members, result['members'], strict=True)
  weights = {name: row[result['weights']] for name, row in rows}
  return {name: weight for name, weight in weights.items() if weight > 0}


def read_config(workdir: str) -> ml_collections.ConfigDict:
  """Read the config of the run in `workdir`."""
  path = os.path.join(workdir, 'config.json')
  if not files.exists(path):
    raise ValueError(f'No run in {workdir}: there is no config.json.')
  return config_flag.read(path)


def _any_of(doubts: Sequence[Sequence[str]]) -> list[str]:
  """Name what any net of several doubts."""
  return sorted({name for one in doubts for name in one})


def png(image: np.ndarray) -> bytes:
  return cv2.imencode('.png', image)[1].tobytes()
