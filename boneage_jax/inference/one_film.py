"""Films that somebody has at hand, read by nets of a run."""

from collections.abc import Mapping
from collections.abc import Sequence
import types
from typing import Any

import numpy as np

from boneage_jax.core import scalars
from boneage_jax.data import groups
from boneage_jax.imaging import age_maps
from boneage_jax.imaging import codec
from boneage_jax.imaging import overlay
from boneage_jax.imaging import registration
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import quality_checks
from boneage_jax.inference import site as site_lib
from boneage_jax.regions import localize
from boneage_jax.regions import placement
from boneage_jax.training import forward

SEXES = ('M', 'F')
NOTHING: Mapping[str, float] = types.MappingProxyType({})  # is known
LEAST, LONGEST = 4, 32  # pixels of a side; how long, in widths
HEIGHTS = (440, 1200)  # of layers, pixels: those of the film between these


def predict(
  nets: Any,
  image: np.ndarray,
  sex: str,
  known: Mapping[str, float] = NOTHING,
) -> prediction_lib.Prediction:
  """Predict the bone age of one film.

  Of an unknown sex it is read as a boy's and as a girl's, see
  `prediction.mixture`.

  Args:
    nets: a Predictor or an Ensemble.
    image: uint8 [H, W], grey as the films of the run (see `inverted`).
    sex: 'M', 'F' or 'unknown'.
    known: numbers of `scalars.SCALARS` that are known of the film.

  Raises:
    ValueError: no such image or sex, a sex that the nets are not of, or a
      number that they read is not known.
  """
  return predict_records(nets, [record(nets, image, sex, known)])[0]


def record(
  nets: Any,
  image: np.ndarray,
  sex: str,
  known: Mapping[str, float] = NOTHING,
) -> dict[str, Any]:
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
  least, most = sorted(image.shape)
  if least < LEAST or most > LONGEST * least:
    raise ValueError(
      f'Expected a film of {LEAST} pixels a side or more and at most {LONGEST} '
      f'times as long as it is wide, got {image.shape[1]} x {image.shape[0]} '
      'pixels.'
    )
  if image.min() == image.max():
    raise ValueError('Blank image: every pixel has the same value.')
  if sex not in groups.SEX:
    raise ValueError(f'Expected a sex of {", ".join(groups.SEX)}, got {sex!r}.')
  wanted = SEXES if sex == 'unknown' else (sex,)
  if not set(wanted) <= set(nets.sexes):
    nets.check_sex(sex)
  for name in nets.inputs:
    if known.get(name) is None:
      one = scalars.SCALARS[name]
      raise ValueError(
        f'The {name} ({one.unit}) is not known, and these nets read it: give '
        f'it in the column {name} of a --table{one.remedy}; to the server as '
        'a field of that name, to Run.predict as `known`.'
      )
  for name, value in known.items():
    one = scalars.SCALARS.get(name)
    if one and value is not None and not 0 <= value <= one.most:
      raise ValueError(
        f'Expected the {name} to be from 0 to {one.most:g} {one.unit}, got '
        f'{value:g}.'
      )
  # Encoded, because training reads encoded films: one code path for both.
  made = nets.encode({'age': 0.0, 'image': codec.bitmap(image)})
  made |= {name: known[name] for name in nets.inputs}
  return {'record': made, 'sexes': wanted}


def predict_records(
  nets: Any, records: Sequence[Mapping[str, Any]], layers: bool = False
) -> list[prediction_lib.Prediction]:
  """Predict films of `record`, `nets.batch_size` at a time.

  Args:
    nets: a Predictor or an Ensemble.
    records: of films.
    layers: whether predictions get theirs.
  """
  found = [
    [_prediction(nets, *one, layers) for one in views]
    for views in seen(nets, records)
  ]
  return [
    one[0] if len(one) == 1 else prediction_lib.mixture(*one) for one in found
  ]


def seen(
  nets: Any, records: Sequence[Mapping[str, Any]]
) -> list[list[tuple[str, dict[str, Any], localize.Film]]]:
  """Return what nets say of films of `record`, `nets.batch_size` at a time.

  Returns:
    For each film and each sex that it is read as: the sex, the outputs, and the
    film with what was found on it.
  """
  views = [(one['record'], sex) for one in records for sex in one['sexes']]
  found = iter(
    [
      one
      for k in range(0, len(views), nets.batch_size)
      for one in _as_of_sexes(nets, views[k : k + nets.batch_size])
    ]
  )
  return [[next(found) for _ in one['sexes']] for one in records]


def as_of(record: Mapping[str, Any], sex: str, place: int) -> dict[str, Any]:
  """Return an encoded film as one of 'M' or 'F', at a place of a batch."""
  # Its id is that of its place: films have none that is known.
  return {**record, 'sex': groups.SEX[sex], 'id': str(place), 'row': place}


def _as_of_sexes(
  nets: Any, views: Sequence[tuple[Mapping[str, Any], str]]
) -> list[tuple[str, dict[str, Any], localize.Film]]:
  """Read encoded films as ones of a boy or of a girl."""
  numbered = [as_of(one, sex, k) for k, (one, sex) in enumerate(views)]
  outputs, films = nets.outputs(numbered)
  return [
    (sex, {name: x[k] for name, x in outputs.items()}, film)
    for k, ((_, sex), film) in enumerate(zip(views, films, strict=True))
  ]


def _prediction(
  nets: Any,
  sex: str,
  outputs: Mapping[str, Any],
  film: localize.Film,
  layers: bool,
) -> prediction_lib.Prediction:
  matrix, age = outputs.get('deformation'), float(outputs['age'])
  if nets.dump:
    nets.dump(sex, age)
  probability = outputs.get('probability')
  flags, evidence = judged(nets, film, outputs)
  marks = _marks(film, nets.places, outputs)
  found = prediction_lib.Prediction(
    age_predicted=age,
    sex=sex,
    probability=probability,
    regions=film.regions,
    rotation_deg=film.rotation_deg,
    film_box=film.film_box,
    quality_flags=flags,
    evidence=evidence,
    overlay=overlay.drawn(film.image, marks),
    layers=_layers(film.image, marks) if layers else None,
    hand=film.hand,
    age_map=outputs.get('age_map'),
    deformation=None if matrix is None else age_maps.pose(matrix, nets.places),
    extra={n: float(x) for n, x in forward.extra(outputs).items()},
    basis=nets.basis,
  )
  if nets.site and sex in nets.site['sexes']:
    return site_lib.corrected(found, nets.site)
  return prediction_lib.with_intervals(found, nets.calibration)


def judged(
  nets: Any, film: localize.Film, outputs: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, quality_checks.Measure]]:
  """Return all quality flags of a film, and what fitted checks measured.

  Args:
    nets: a Predictor or an Ensemble.
    film: that they returned.
    outputs: what they said of it.
  """
  evidence = nets.checks.measure(film.image, outputs) if nets.checks else {}
  flags = (
    *film.quality_flags,
    *quality_checks.failed(evidence),
    *quality.flags_of_answer(film.regions, outputs.get('probability')),
  )
  return flags, evidence


def _layers(image: np.ndarray, marks: overlay.Marks) -> overlay.Layers:
  least, most = HEIGHTS
  return overlay.layers(image, marks, min(max(image.shape[0], least), most))


def _marks(
  film: localize.Film,
  places: age_maps.Places | None,
  outputs: Mapping[str, np.ndarray],
) -> overlay.Marks:
  """Return what is drawn on a film.

  Args:
    film: as the nets saw it.
    places: of the nets.
    outputs: of the film; a map of ages is drawn, and what a layer sampled.
  """
  if 'age_map' in outputs:
    return age_maps.marks(film.image, places, *map(outputs.get, age_maps.NAMES))
  heat = None
  if film.maps:
    heat = overlay.film_heat(np.stack(film.maps), film.image.shape, film.resize)
  if film.hand is None:
    return overlay.Marks(heat, film.regions)
  placed, frames = film.hand.placed.registration, {}
  if placed is not None:
    matrix = registration.to_fractions(placed.matrix, film.image.shape)
    frames = placement.frames(matrix, film.hand.regions)
  hand = film.hand
  return overlay.Marks(heat, film.regions, hand.mask, hand.points, frames)
