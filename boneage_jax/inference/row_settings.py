"""What the rows of a folder rest on, so that those of others are not mixed."""

from collections.abc import Sequence
import hashlib
import json
from typing import Any

import numpy as np

from boneage_jax.core import scalars
from boneage_jax.inference import one_film
from boneage_jax.inference import reference as reference_lib
from boneage_jax.phantom import render


def of(
  nets: Any,
  sex: str | None,
  norm: reference_lib.Norm,
  force: bool,
  sides: Sequence[str],
) -> dict[str, Any]:
  """Return settings for `row_file.RowFile.check`.

  Nets, and a site's correction, show in the ages that they give one phantom.
  `sides` are those of the films' pictures, of `film_list.Film`.
  """
  return {
    'format': 1,
    'batch_size': nets.batch_size,
    'sex': sex or '',
    'two_hands': ' '.join(sides),
    **of_answers(nets, norm, force),
    'ages': _ages_of_phantom(nets),
  }


def of_answers(
  nets: Any, norm: reference_lib.Norm, force: bool = False
) -> dict[str, Any]:
  """Return what is made of the ages that nets say, in words and hashes."""
  calibration = json.dumps(dict(nets.calibration), sort_keys=True)
  given = norm.reference is not None or norm.chronological_age is not None
  return {
    'calibration': _short(calibration),
    'checks': _short(repr(_plain(nets.checks))) if nets.checks else '',
    'force': force,
    'norm': _short(repr(norm)) if given else '',
  }


def _plain(value: Any) -> Any:
  """Return nested tuples and dicts of arrays as lists, all of their numbers."""
  if isinstance(value, dict):
    value = sorted(value.items())
  if isinstance(value, np.ndarray):
    return value.tolist()
  return list(map(_plain, value)) if isinstance(value, tuple | list) else value


def _short(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def _ages_of_phantom(nets: Any) -> dict[str, float]:
  """Return the age of one phantom as of each sex, months."""
  image = render.make_film(0, 0, {'long_side': 256})['image']
  dump, nets.dump = nets.dump, None
  known = scalars.typical(nets.inputs)
  records = [one_film.record(nets, image, sex, known) for sex in nets.sexes]
  found = one_film.predict_records(nets, records)
  if dump:
    dump.forget()
    nets.dump = dump
  return {one.sex: one.age_predicted for one in found}
