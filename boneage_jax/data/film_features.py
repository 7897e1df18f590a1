"""Features of films that a frozen net gave once, and their records."""

from collections.abc import Mapping
import json
from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_table
from boneage_jax.data import sources


def write(
  path: str,
  ids: np.ndarray,
  features: np.ndarray,
  net: Mapping[str, Any],
  weights_hash: str,
) -> None:
  """Write features.npz.

  Args:
    path: of the file.
    ids: of films, [N].
    features: [N, h, w, C]; kept as float16.
    net: the config of the net that gave them.
    weights_hash: SHA-256 of its weights.
  """
  with storage.replacing(path, 'wb') as file:
    np.savez(
      file,
      id=ids.astype(np.str_),
      features=features.astype(np.float16),
      net=json.dumps(dict(net), sort_keys=True),
      weights_hash=weights_hash,
    )


def source(stage_folder: str, films: film_table.Films) -> sources.Source:
  """Open the features of films: `features` [h, w, C] float16, id, age, sex.

  Args:
    stage_folder: of the stage that wrote them.
    films: rows of a film table.

  Raises:
    ValueError: the stage has not run, or lacks a film.
  """
  path = stages.path(stage_folder, stages.FEATURES)
  if not storage.exists(path):
    raise ValueError(f'{path} is missing: run the stage that writes it first.')
  with storage.naming(path), np.load(storage.local(path)) as file:
    stored, features = file['id'].tolist(), file['features']
  where = {film: row for row, film in enumerate(stored)}
  missing = [film for film in films['id'].tolist() if film not in where]
  if missing:
    raise ValueError(
      f'Expected features of {len(films["id"])} films in {path}, got none of '
      f'{len(missing)}, such as {", ".join(missing[:5])}: remove '
      f'{stages.DONE} beside it and run again.'
    )
  rows = [where[film] for film in films['id'].tolist()]
  return sources.Source(
    films, lambda index: {'features': features[rows[index]]}
  )
