"""A run from Python: ages, embeddings and heat maps of films.

The package itself offers what is here:

  import boneage_jax as ba

  run = ba.load('runs/cascade_phantom')
  for one in run.predict(['1.png', image], sex=['F', 'M']):
    print(one.status, one.age_predicted, one.lo90, one.hi90)
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
from typing import Any

import jax
import numpy as np

from boneage_jax.core import extend
from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.data import film_table
from boneage_jax.evaluation import errors
from boneage_jax.imaging import overlay
from boneage_jax.imaging import png
from boneage_jax.inference import ensemble
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_list
from boneage_jax.inference import loading
from boneage_jax.inference import model_file
from boneage_jax.inference import one_film
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import regression
from boneage_jax.inference import views
from boneage_jax.regions import gradcam
from boneage_jax.runs import run as run_lib
from boneage_jax.training import restore

Film = str | os.PathLike | np.ndarray
Sex = str | Sequence[str] | None
Known = Mapping[str, float] | Sequence[Mapping[str, float]]
BATCH = 8  # films


class Run:
  """The nets of a run, ready for films; made by `load`.

  A film is the name of a file (PNG, JPEG, DICOM, TIFF, BMP) or an image, uint8
  [H, W], as grey as the films of the run. Its sex is 'M', 'F' or 'unknown', one
  for all films or one each; None takes that of DICOM headers. `known` are
  numbers that the nets read, such as {'chronological_age': 98.0}, months: one
  dict for all films or one each.

  Attributes:
    nets: a Predictor or an Ensemble.
    folder: of the run, or of the model file.
    stage: whose nets these are.
  """

  def __init__(self, nets: loading.Either, folder: str, stage: str):
    """Keep what `load` has read."""
    self.nets, self.folder, self.stage = nets, folder, stage

  def __repr__(self) -> str:
    """Name the run, and say what its ages rest on."""
    sentence = self.nets.basis.sentence if self.nets.basis else ''
    return f'<Run {self.folder}:{self.stage}. {sentence}>'

  def predict(
    self,
    films: Film | Sequence[Film],
    sex: Sex,
    force: bool = False,
    known: Known = one_film.NOTHING,
  ) -> list[prediction_lib.Prediction]:
    """Predict bone ages, as `python -m boneage_jax.predict` does.

    Args:
      films: one or several.
      sex: of the films.
      force: films that are refused keep their age in texts and tables.
      known: numbers of the films that the nets read.

    Returns:
      One for each film, in order. Of a film that cannot be read, `status` is
      'refused', `reason` says why, and `age_predicted` is NaN.

    Raises:
      ValueError: there are as many sexes as films, or it is no image.
    """
    listed = _films(films, sex, known)
    reading = film_batches.Reading(film_list.Archives())
    found = []
    for answer in film_batches.predict(self.nets, listed, reading):
      said = answer.prediction
      if said is None:
        given = answer.film.listed.sex or 'unknown'
        said = prediction_lib.unread(given, answer.reason)
      found.append(dataclasses.replace(said, forced=force))
    return found

  def embed(
    self,
    films: Film | Sequence[Film],
    sex: Sex,
    known: Known = one_film.NOTHING,
  ) -> np.ndarray:
    """Return what the last layer of the nets reads of films.

    Of a film of unknown sex it is the mean of those of both sexes, of an
    ensemble that of all members, joined.

    Returns:
      float32 [N, C].

    Raises:
      ValueError: a film cannot be read, or the nets have no such layer for it.
    """
    records = [one.record for one in self._read(films, sex, known)]
    each = []
    for of_sexes in one_film.seen(self.nets, records):
      rows = [outputs.get('embedding') for _, outputs, _ in of_sexes]
      if any(row is None for row in rows):
        raise ValueError(
          f'{self.stage} has no embedding: its nets have no last layer that '
          'reads numbers, or some read films of one sex alone. Choose a stage '
          'of one net: load(RUN, stage=...).'
        )
      each.append(np.mean(rows, axis=0, dtype=np.float32))
    return np.stack(each)

  def heatmap(
    self,
    film: Film,
    sex: str,
    target: str = 'age',
    method: str = 'grad_cam',
    known: Known = one_film.NOTHING,
  ) -> dict[str, np.ndarray]:
    """Return where the net looks.

    Args:
      film: one.
      sex: 'M', 'F' or None.
      target, method: of `gradcam.grad_cam`.
      known: numbers of the film that the net reads.

    Returns:
      Stream -> float32 [m, n], 0 or more, over what the net reads of the film:
      all of it, or the region of that stream. A net of one stream has 'film'.

    Raises:
      ValueError: the film cannot be read, its sex is unknown, or the stage has
        no net of its own.
    """
    nets = self.nets
    if isinstance(nets, ensemble.Ensemble) or isinstance(
      nets.net, regression.Regression
    ):
      raise ValueError(
        f'{self.stage} joins several nets: choose one with '
        'load(RUN, stage=...), and look at its map.'
      )
    (one,) = self._read([film], sex, known)
    if len(one.record['sexes']) > 1:
      raise ValueError("Expected the sex 'M' or 'F', got 'unknown'.")
    record = one_film.as_of(one.record['record'], one.record['sexes'][0], 0)
    _, read = nets.look([record], {})
    batch = nets.net.batch(read)
    net = restore.merge(*nets.net.loaded[1:])
    maps = gradcam.input_maps(net, batch, target, method, mirror=False)
    maps = maps if isinstance(maps, dict) else {'film': maps}
    return {name: np.asarray(jax.device_get(x))[0] for name, x in maps.items()}

  def evaluate(self) -> dict[str, Any]:
    """Return the errors of the run, as `evaluate errors RUN --out` writes them.

    Raises:
      ValueError: it has no predictions, as a model file.
    """
    return errors.run_summary(run_lib.read_run(f'{self.folder}:{self.stage}'))

  def _read(
    self, films: Film | Sequence[Film], sex: Sex, known: Known
  ) -> list[film_batches.Read]:
    """Read films; raises ValueError that names those that cannot be read."""
    reading = film_batches.Reading(film_list.Archives())
    listed = _films(films, sex, known)
    found = [film_batches.read(self.nets, one, reading) for one in listed]
    bad = [
      f'{one.answer.film.name}: {one.answer.reason}'
      for one in found
      if one.record is None
    ]
    if bad:
      raise ValueError('\n'.join(bad))
    return found


def load(
  path: str | os.PathLike,
  stage: str = '',
  batch_size: int = BATCH,
  site: str = '',
  imports: str | Sequence[str] = (),
  dtype: str = '',
) -> Run:
  """Load a run, or a model file.

  Args:
    path: folder of a run, or what `boneage_jax.export` wrote.
    stage: by default the one that the run reports.
    batch_size: films that nets read at a time.
    site: whose correction ages get, of `evaluate adapt`.
    imports: modules of your own to import, which the run needs.
    dtype: 'float32' or 'bfloat16', in which nets compute; '' as they were
      trained.

  Raises:
    ValueError: there is none, or it is not finished, or it needs modules that
      were not imported.
  """
  startup.set_up()
  startup.check_device()
  extend.load(imports)
  folder = model_file.open_run(os.fspath(path))
  nets = loading.load(folder, stage, batch_size, site, dtype)
  return Run(nets, folder, stages.chosen(run_lib.read_config(folder), stage))


def contact_sheet(
  predictions: Sequence[prediction_lib.Prediction], columns: int = 4
) -> np.ndarray:
  """Lay the pictures of films side by side, each with its age below.

  Returns:
    uint8 RGB [H, W, 3].

  Raises:
    ValueError: there are no films.
  """
  if not predictions or columns < 1:
    raise ValueError('Expected one prediction or more, and columns, got none.')
  pictures = [views.picture(one) for one in predictions]
  return overlay.sheet(pictures, min(columns, len(pictures)))


def _films(
  films: Film | Sequence[Film], sex: Sex, known: Known
) -> list[film_list.Film]:
  """Return films as `film_batches` reads them."""
  if isinstance(films, (str, os.PathLike)) or getattr(films, 'ndim', 0) == 2:
    films = [films]
  sexes = [sex] * len(films) if sex is None or isinstance(sex, str) else sex
  if len(sexes) != len(films):
    raise ValueError(
      f'Expected one sex for all films or one each, got {len(sexes)} for '
      f'{len(films)} films.'
    )
  numbers = [known] * len(films) if isinstance(known, Mapping) else known
  if len(numbers) != len(films):
    raise ValueError(
      f'Expected known={{...}} for all films or one dict each, got '
      f'{len(numbers)} for {len(films)} films.'
    )
  found = []
  for k, (film, own, more) in enumerate(
    zip(films, sexes, numbers, strict=True)
  ):
    name, data = f'image {k}', b''
    if isinstance(film, (str, os.PathLike)):
      name = os.fspath(film)
    else:
      image = np.asarray(film)
      if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
        raise ValueError(
          f'{name}: expected a grey image, uint8 [H, W], got {image.dtype} '
          f'{list(image.shape)}.'
        )
      data = png.encode(image)
    listed = film_table.Listed(name, own or '', None, more, '')
    found.append(film_list.Film(name, name, listed=listed, data=data))
  return found
