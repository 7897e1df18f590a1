"""One film that somebody has at hand, read by nets of a run."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from boneage_jax.data import groups
from boneage_jax.imaging import age_maps
from boneage_jax.imaging import overlay
from boneage_jax.imaging import png
from boneage_jax.imaging import registration
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import quality_checks
from boneage_jax.inference import site as site_lib
from boneage_jax.regions import localize
from boneage_jax.regions import placement

SEXES = ('M', 'F')


def predict(
  nets: Any, image: np.ndarray, sex: str
) -> prediction_lib.Prediction:
  """Predict the bone age of one film.

  Of an unknown sex it is read as a boy's and as a girl's, see
  `prediction.mixture`.

  Args:
    nets: a Predictor or an Ensemble.
    image: uint8 [H, W], grey as the films of the run (see `inverted`).
    sex: 'M', 'F' or 'unknown'.

  Raises:
    ValueError: no such image or sex, or a sex that the nets are not of.
  """
  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
    raise ValueError(
      'Expected a grey image, uint8 [H, W], got '
      f'{image.dtype} {list(image.shape)}.'
    )
  if sex not in groups.SEX:
    raise ValueError(f'Expected a sex of {", ".join(groups.SEX)}, got {sex!r}.')
  wanted = SEXES if sex == 'unknown' else (sex,)
  if not set(wanted) <= set(nets.sexes):
    nets.check_sex(sex)
  # Encoded, because training reads encoded films: one code path for both.
  record = nets.encode(
    {'id': '0', 'row': 0, 'age': 0.0, 'image': png.encode(image)}
  )
  found = [_as_of_sex(nets, record, one) for one in wanted]
  return found[0] if len(found) == 1 else prediction_lib.mixture(*found)


def _as_of_sex(
  nets: Any, record: Mapping[str, Any], sex: str
) -> prediction_lib.Prediction:
  """Predict an encoded film as one of a boy or of a girl."""
  outputs, (film,) = nets.outputs([{**record, 'sex': groups.SEX[sex]}])
  of_film = {name: rows[0] for name, rows in outputs.items()}
  matrix = of_film.get('deformation')
  age = float(of_film['age'])
  if nets.dump:
    nets.dump(sex, age)
  probability = of_film.get('probability')
  flags, evidence = judged(nets, film, probability)
  found = prediction_lib.Prediction(
    age_predicted=age,
    sex=sex,
    probability=probability,
    regions=film.regions,
    rotation_deg=film.rotation_deg,
    film_box=film.film_box,
    quality_flags=flags,
    evidence=evidence,
    overlay=picture(film, nets.places, of_film),
    hand=film.hand,
    age_map=of_film.get('age_map'),
    deformation=None if matrix is None else age_maps.pose(matrix, nets.places),
    basis=nets.basis,
  )
  if nets.site and sex in nets.site['sexes']:
    return site_lib.corrected(found, nets.site)
  return prediction_lib.with_intervals(found, nets.calibration)


def judged(
  nets: Any, film: localize.Film, probability: np.ndarray | None
) -> tuple[tuple[str, ...], dict[str, quality_checks.Measure]]:
  """Return all quality flags of a film, and what fitted checks measured.

  Args:
    nets: a Predictor or an Ensemble.
    film: that they returned.
    probability: of its months; None for a net without bins.
  """
  evidence = nets.checks.measure(film.image) if nets.checks else {}
  flags = (
    *film.quality_flags,
    *quality_checks.failed(evidence),
    *quality.flags_of_answer(film.regions, probability),
  )
  return flags, evidence


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
