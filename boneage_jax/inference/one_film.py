"""Films that somebody has at hand, read by nets of a run."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.data import groups
from boneage_jax.imaging import age_maps
from boneage_jax.imaging import codec
from boneage_jax.imaging import overlay
from boneage_jax.imaging import registration
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.phantom import render
from boneage_jax.regions import localize
from boneage_jax.regions import placement


def predict(
  nets: Any, image: np.ndarray, sex: str
) -> prediction_lib.Prediction:
  """Predict the bone age of one film.

  Args:
    nets: a Predictor or an Ensemble.
    image: uint8 [H, W], grey as the films of the run (see `inverted`).
    sex: 'M', 'F' or 'unknown'.

  Raises:
    ValueError: no such image or sex, or a sex that the nets are not of.
  """
  return predict_records(nets, [record(nets, image, sex)])[0]


def record(nets: Any, image: np.ndarray, sex: str) -> dict[str, Any]:
  """Prepare a film for `predict_records`; arguments as of `predict`.

  Raises:
    ValueError: as `predict`.
  """
  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
    raise ValueError(
      'Expected a grey image, uint8 [H, W], got '
      f'{image.dtype} {list(image.shape)}.'
    )
  if image.min() == image.max():
    raise ValueError('Blank image: every pixel has the same value.')
  if sex not in groups.SEX:
    raise ValueError(f'Expected a sex of {", ".join(groups.SEX)}, got {sex!r}.')
  nets.check_sex(sex)
  # Encoded, because training reads encoded films: one code path for both.
  return nets.encode(
    {'sex': groups.SEX[sex], 'age': 0.0, 'image': codec.bitmap(image)}
  )


def predict_records(
  nets: Any, records: Sequence[Mapping[str, Any]]
) -> list[prediction_lib.Prediction]:
  """Predict films of `record`, at most `nets.batch_size` of them."""
  # Ids are those of places in the batch: films have none that is known.
  numbered = [{**one, 'id': str(k), 'row': k} for k, one in enumerate(records)]
  outputs, films = nets.outputs(numbered)
  return [
    _prediction(nets, {name: rows[k] for name, rows in outputs.items()}, film)
    for k, film in enumerate(films)
  ]


def ages_of_phantom(nets: Any) -> dict[str, float]:
  """Return the age of one phantom as of each sex, months: nets show in it."""
  image = render.make_film(0, 0, {'long_side': 256})['image']
  records = [record(nets, image, sex) for sex in nets.sexes]
  each = [
    one
    for k in range(0, len(records), nets.batch_size)
    for one in predict_records(nets, records[k : k + nets.batch_size])
  ]
  return {one.sex: one.age_predicted for one in each}


def _prediction(
  nets: Any, outputs: Mapping[str, Any], film: localize.Film
) -> prediction_lib.Prediction:
  (sex,) = groups.sex_text(np.array([film.sex])).tolist()
  matrix = outputs.get('deformation')
  found = prediction_lib.Prediction(
    age_predicted=float(outputs['age']),
    sex=sex,
    probability=outputs.get('probability'),
    regions=film.regions,
    rotation_deg=film.rotation_deg,
    film_box=film.film_box,
    quality_flags=film.quality_flags,
    overlay=picture(film, nets.places, outputs),
    hand=film.hand,
    age_map=outputs.get('age_map'),
    deformation=None if matrix is None else age_maps.pose(matrix, nets.places),
  )
  return prediction_lib.with_intervals(found, nets.calibration)


def picture(
  film: localize.Film,
  places: age_maps.Places | None,
  outputs: Mapping[str, np.ndarray],
) -> np.ndarray:
  """Draw a film with what was found on it, uint8 RGB [440, W, 3].

  Args:
    film: as the nets saw it.
    places: of the nets.
    outputs: of the film; a map of ages is drawn, and what a layer sampled.
  """
  if 'age_map' in outputs:
    return age_maps.picture(
      film.image, places, *map(outputs.get, age_maps.NAMES)
    )
  heat = None
  if film.maps:
    heat = overlay.film_heat(np.stack(film.maps), film.image.shape, film.resize)
  drawn = overlay.overlay(film.image, heat, film.regions)
  if film.hand is None:
    return drawn
  placed, frames = film.hand.placed.registration, {}
  if placed is not None:
    matrix = registration.to_fractions(placed.matrix, film.image.shape)
    frames = placement.frames(matrix, film.hand.regions)
  return overlay.draw_hand(drawn, film.hand.mask, film.hand.points, frames)
