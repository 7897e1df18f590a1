"""Bone age of films, as PNG, JPEG or DICOM.

  python -m boneage_jax.predict --workdir=RUN FILM ... --sex=F [--out=DIR]

Sex is M, F or unknown and never guessed: without --sex it must stand in the
DICOM header.
"""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import copy
import csv
import os
import sys
from typing import Any

import cv2
import jax
import ml_collections
import numpy as np

from boneage_jax import boxes
from boneage_jax import config_flag
from boneage_jax import dicom
from boneage_jax import evaluate
from boneage_jax import examples
from boneage_jax import files
from boneage_jax import gallery
from boneage_jax import polarity
from boneage_jax import regions
from boneage_jax import stages
from boneage_jax import start_up
from tfds_rsna import films as film_files
from tfds_rsna import tfds_rsna_dataset_builder as rsna

MALE = {'M': 1.0, 'F': 0.0, 'unknown': 0.5}
NOTICE = 'For research, not for diagnosis.'


class Predictor:
  """The best nets of a run, ready for one film after the other.

  A film of the run's test split gets the age in the run's predictions.csv.
  `inverted` says that films have dark bones, as those the run was trained on;
  `builder_config` names the prepared films that it reads.
  """

  def __init__(self, workdir: str, stage: str = '', batch_size: int = 1):
    """Load the nets of `stage`, by default of the one that the run reports."""
    config = read_config(workdir)
    stage = stage or config.report.stage
    if stage not in config or config[stage].job != 'train':
      raise ValueError(f'Expected a net as report.stage, got {stage!r}.')
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
      graph, variables = stages.load_net(config, options.localizer, workdir)
      maps = stages.make_maps(graph, jax.device_put(variables, device), options)
      self._finders.append((maps, self._looks, options))
    self.inverted = self._looks.polarity == 'invert'
    sides = {c.name: c.long_side for c in rsna.Builder.BUILDER_CONFIGS}
    self._long_side = sides[self.builder_config]
    graph, variables = stages.load_net(config, stage, workdir)
    self._variables = jax.device_put(variables, device)
    self._age = evaluate.make_predict(graph)
    self._views = evaluate.views(config[stage])

  def predict(self, image: np.ndarray, sex: str) -> dict[str, Any]:
    """Predict the bone age of one film; the first call compiles the nets.

    Args:
      image: uint8 [H, W], grey as the films of the run (see `inverted`).
      sex: 'M', 'F' or 'unknown'.

    Returns:
      `age` in months, `probability` float32 [240] or None for a net without
      bins, `regions` {name: boxes.Region} and `overlay` uint8 RGB.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
      raise ValueError(f'Not uint8 [H, W]: {image.dtype} {image.shape}.')
    if sex not in MALE:
      raise ValueError(f'Expected sex {", ".join(MALE)}; got {sex!r}.')
    # Encoded, because training reads encoded films: one code path for both.
    data = film_files.encode(_png(image), self._long_side)[0]
    record = {'id': 0, 'male': MALE[sex], 'age': 0.0, 'image': data}
    outputs, (film,) = self.outputs([record])
    heat = None
    if film.maps:
      heat = gallery.film_heat(
        np.stack(film.maps), film.image.shape, self._looks.resize
      )
    return {
      'age': float(outputs['age'][0]),
      'probability': outputs.get('probability', [None])[0],
      'regions': film.regions,
      'overlay': gallery.overlay(film.image, heat, film.regions),
    }

  def outputs(
    self, records: Sequence[Mapping[str, Any]]
  ) -> tuple[dict[str, np.ndarray], list[regions.Film]]:
    """Predict at most `batch_size` films as the data set keeps them.

    Args:
      records: id, male, age and image (encoded), as of
        `input_pipeline.film_source`.

    Returns:
      `age` [N] months and, with bins, `probability` [N, 240]; and the films
      with their regions.
    """
    films = [regions.load_film(record, self._looks) for record in records]
    for maps, looks, options in self._finders:
      for film in films:
        film.maps.clear()  # the last are shown: sizes differ from net to net
      regions.find_regions(maps, films, looks, options)
    if self._finders:
      crops = [regions.cut_crops(f, looks, options) for f in films]
      records = [
        {**record, 'regions': _png(crop.reshape(-1, crop.shape[-1]))}
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


def read_config(workdir: str) -> ml_collections.ConfigDict:
  """Read the config of the run in `workdir`."""
  path = os.path.join(workdir, 'config.json')
  if not files.exists(path):
    raise ValueError(f'No run in {workdir}: there is no config.json.')
  return config_flag.read(path)


def read_film(path: str) -> tuple[np.ndarray, str, bool]:
  """Return uint8 [H, W], the header's sex or 'unknown', whether it is DICOM."""
  try:
    with open(path, 'rb') as f:
      data = f.read()
    if data[128:132] != b'DICM':
      return film_files.decode(data)[0], 'unknown', False
    film = dicom.read(data)
  except ValueError:
    raise
  except Exception as e:  # decoders raise their own kinds on odd files
    reason = getattr(e, 'strerror', None) or f'{type(e).__name__}: {e}'
    raise ValueError(f'cannot be read: {reason}') from e
  sex = next(name for name, male in MALE.items() if male == film['male'])
  return film['image'], sex, True


def predict_films(
  predictor: Predictor, films: Sequence[str], sex: str | None, out: str | None
) -> list[str]:
  """Predict and print films; return `FILM: reason` of those that were bad.

  The folder `out` gets predictions.csv (months; boxes in fractions of the
  film) and a picture of every row.
  """
  bad, rows = [], []
  if out:
    os.makedirs(out, exist_ok=True)
  for path in films:
    try:
      image, header_sex, is_dicom = read_film(path)
      if not sex and header_sex == 'unknown':
        raise ValueError('sex is not known; give --sex=M, F or unknown')
      used = sex or header_sex
      if header_sex not in ('unknown', used):
        _warn(f'{path}: the header says sex {header_sex}; --sex={used} is used')
      if is_dicom and predictor.inverted:  # dicom.read makes bones bright
        image = 255 - image
      if polarity.looks_inverted(image) != predictor.inverted:
        _warn(f'{path}: {_other_polarity(predictor.inverted)}')
      result = predictor.predict(image, used)
    except ValueError as e:
      bad.append(f'{path}: {e}')
      continue
    age = result['age']
    found = [name for name, r in result['regions'].items() if r.found]
    line = f'{path}: {gallery.years(max(age, 0))} ({age:.1f} months)'
    if result['regions']:
      line += f', regions found: {", ".join(found) or "none"}'
    print(line, flush=True)
    row = {'film': path, 'sex': used, 'age': f'{age:.4f}'}
    row['regions'] = ' '.join(found)
    for name, region in result['regions'].items():
      for side, value in zip(boxes.COLUMNS[2:6], region.box, strict=True):
        row[f'{name}_{side}'] = f'{value:.6f}'
      if not region.found:
        _warn(f'{path}: {name} was not found; the whole film stands in for it')
    rows.append(row)
    if out:  # numbered, as films in two folders may share a name
      name, _ = os.path.splitext(os.path.basename(path))
      with open(os.path.join(out, f'{len(rows):03d}_{name}.png'), 'wb') as f:
        f.write(_png(result['overlay'][..., ::-1]))
  if out and rows:
    path = os.path.join(out, 'predictions.csv')
    with open(path, 'w', newline='', encoding='utf-8') as f:
      writer = csv.DictWriter(f, list(rows[0]), lineterminator='\n')
      writer.writeheader()
      writer.writerows(rows)
  return bad


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command; exits 1 when a film could not be predicted."""
  parser = argparse.ArgumentParser(description=f'Bone age of films. {NOTICE}')
  parser.add_argument('films', nargs='+', metavar='FILM', help='png, jpg, dcm')
  parser.add_argument('--workdir', required=True, help='folder of a run')
  parser.add_argument('--sex', choices=list(MALE), help='of all these films')
  parser.add_argument('--out', help='folder for predictions.csv and overlays')
  args = parser.parse_args(argv)
  start_up.set_up()
  try:
    predictor = Predictor(files.absolute(args.workdir))
    bad = predict_films(predictor, args.films, args.sex, args.out)
  except (ValueError, OSError) as error:
    sys.exit(f'Error: {error}')
  if bad:
    head = f'{len(bad)} of {len(args.films)} films not predicted:'
    print(head, *bad, sep='\n  ', file=sys.stderr)
  print(NOTICE)
  sys.exit(1 if bad else 0)


def _other_polarity(inverted: bool) -> str:
  """Say that a film is not as those of a run; nothing is flipped unasked."""
  own, film = ('dark', 'bright') if inverted else ('bright', 'dark')
  setting = 'keep' if inverted else 'invert'
  return (
    f'the bones look {film}, but those of the films of this run are {own}: do '
    'not trust this age. Invert the film (255 - grey) and read it again; a run '
    f'for such films is trained with --config.STAGE.input.polarity={setting}'
  )


def _png(image: np.ndarray) -> bytes:
  return cv2.imencode('.png', image)[1].tobytes()


def _warn(text: str) -> None:
  print(f'warning: {text}', file=sys.stderr, flush=True)


if __name__ == '__main__':
  main()
