"""Maps of ages that a stage leaves: age_maps.npz."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import os

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.imaging import age_maps


@dataclasses.dataclass(frozen=True)
class AgeMaps:
  """Maps of ages by film.

  Attributes:
    places: where they lie, the same on all films.
    ages: film id -> [h, w], months; their mean is the age of the film.
    deformation: film id -> [2, 3], see `age_maps.frame`; empty where nothing
      is deformed.
  """

  places: age_maps.Places
  ages: Mapping[str, np.ndarray]
  deformation: Mapping[str, np.ndarray]


def write(
  folder: str, rows: Mapping[str, np.ndarray], places: age_maps.Places
) -> None:
  """Write age_maps.npz: id, `age_map`, `deformation` if any, and `places`.

  Args:
    folder: of a stage.
    rows: `id` [N], `age_map` [N, h, w], months, and perhaps `deformation`
      [N, 2, 3].
    places: where they lie.
  """
  kept = {name: rows[name] for name in ('id', *age_maps.NAMES) if name in rows}
  kept['places'] = json.dumps(places._asdict())
  with storage.replacing(os.path.join(folder, stages.AGE_MAPS), 'wb') as file:
    np.savez(file, **kept)


def read(folders: Sequence[str]) -> AgeMaps | None:
  """Read the maps that a stage left, or that it left in every fold.

  A film that several folds predicted, one for test, has the mean of their maps,
  and no deformation, as each of them has its own.

  Args:
    folders: of the stage.

  Returns:
    None where a folder has none.
  """
  paths = [os.path.join(folder, stages.AGE_MAPS) for folder in folders]
  if not paths or not all(map(storage.exists, paths)):
    return None
  every: dict[str, dict[str, list]] = {name: {} for name in age_maps.NAMES}
  for path in paths:
    with np.load(storage.reading(path, 'rb')) as file:
      places = age_maps.Places(**json.loads(str(file['places'])))
      for name in age_maps.NAMES:
        if name in file:
          for film, row in zip(file['id'].tolist(), file[name], strict=True):
            every[name].setdefault(film, []).append(row)
  ages, deformation = every.values()
  return AgeMaps(
    places,
    {film: np.mean(rows, axis=0) for film, rows in ages.items()},
    {film: rows[0] for film, rows in deformation.items() if len(rows) == 1},
  )
